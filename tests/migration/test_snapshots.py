import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from bms_iot.database import gate, manifest, snapshot
from bms_iot.errors import DatabaseCorrupt, DatabaseLocked, SchemaError
from bms_iot.schema import commands
from tests.migration.conftest import load_legacy, upgrade, url
from tests.migration.planting import Orchard


def rows(path: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT id, present_value FROM controller_points ORDER BY id").fetchall()


def test_a_rewriting_upgrade_leaves_a_snapshot_of_what_was(path: Path) -> None:
    load_legacy(path, "moved_and_shared")
    before = rows(path)

    upgrade(path)

    (kept,) = snapshot.all_of(path)
    assert "f0a65dd2e313" in kept.name
    assert rows(kept) == before
    assert oct(kept.stat().st_mode & 0o777) == oct(0o600)


def test_an_upgrade_that_only_adds_leaves_none(path: Path, orchard: Orchard) -> None:
    upgrade(path)
    orchard.plant('op.create_table("notes", sa.Column("id", sa.Integer(), primary_key=True), sa.Column("text", sa.String()))')
    orchard.plant('op.add_column("bacnet_config", sa.Column("colour", sa.String()))')
    orchard.plant('op.create_index("ix_notes_text", "notes", ["text"])')

    assert commands.plan(url(path)).is_additive
    upgrade(path)

    assert snapshot.all_of(path) == []


@pytest.mark.parametrize(
    ("body", "declarations"),
    [
        ('op.execute("UPDATE bacnet_config SET bacnet_devices = NULL")', ""),
        ('op.execute("CREATE TABLE copy AS SELECT * FROM bacnet_config")', ""),
        ('op.get_bind().execute(sa.text("SELECT * FROM bacnet_config")).all()', ""),
        ('op.drop_index("ix_deployment_config_site_id", "deployment_config")', ""),
        ("pass", 'row_loss = ("bacnet_config",)'),
        ("pass", "rewrites = True"),
    ],
)
def test_whatever_touches_rows_or_says_so_is_rewriting(path: Path, orchard: Orchard, body: str, declarations: str) -> None:
    upgrade(path)
    orchard.plant(body, declarations=declarations)

    assert not commands.plan(url(path)).is_additive


def test_the_newest_three_snapshots_stay(path: Path) -> None:
    load_legacy(path, "pre_alembic")

    taken = [snapshot.take(path, "f0a65dd2e313") for _ in range(5)]

    assert snapshot.all_of(path) == taken[:1:-1]


WRITER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
number = 0
while True:
    number += 1
    database.execute("BEGIN IMMEDIATE")
    database.execute("UPDATE controller_points SET present_value = ?", [str(number)])
    database.execute("COMMIT")
    print(number, flush=True) if number == 1 else None
"""


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
def test_a_backup_under_write_load_is_one_moment(path: Path, journal: str) -> None:
    load_legacy(path, "at_f0a65dd2e313")
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA journal_mode={journal}")
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout
        writer.stdout.readline()
        try:
            copies = [snapshot.take(path, None, to=path.with_name(f"{number}.copy")) for number in range(3)]
        finally:
            writer.kill()

    for copy in copies:
        assert snapshot.check(copy) is None
        assert len({value for _, value in rows(copy)}) == 1


def test_a_restore_beside_a_stale_wal_has_the_rows_of_the_snapshot(path: Path) -> None:
    load_legacy(path, "at_f0a65dd2e313")
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode=WAL")
    kept = snapshot.take(path, "f0a65dd2e313")
    before = rows(path)
    code = (
        "import os, sqlite3, sys; database = sqlite3.connect(sys.argv[1]); "
        "database.execute(\"UPDATE controller_points SET present_value = 'later'\"); database.commit(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, timeout=30)
    assert Path(f"{path}-wal").stat().st_size > 0

    snapshot.restore(path, kept)

    assert not any(Path(f"{path}{suffix}").exists() for suffix in ("-wal", "-shm", "-journal", ".part"))
    assert rows(path) == before
    assert kept.exists()


def test_a_restore_takes_the_place_of_a_corrupt_file(path: Path) -> None:
    load_legacy(path, "at_f0a65dd2e313")
    kept = snapshot.take(path, "f0a65dd2e313")
    os.truncate(path, 5000)

    snapshot.restore(path, kept)

    upgrade(path)
    assert gate.inspect(path).revision == manifest.head()


def test_a_snapshot_that_is_not_sound_is_not_restored(path: Path) -> None:
    load_legacy(path, "at_f0a65dd2e313")
    bad = snapshot.take(path, "f0a65dd2e313")
    os.truncate(bad, 5000)
    before = path.read_bytes()

    with pytest.raises(DatabaseCorrupt):
        snapshot.restore(path, bad)

    assert path.read_bytes() == before


def test_a_database_in_use_is_not_replaced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_legacy(path, "at_f0a65dd2e313")
    kept = snapshot.take(path, "f0a65dd2e313")
    monkeypatch.setattr(snapshot, "_SECONDS", 0.2)

    with closing(sqlite3.connect(path, isolation_level=None)) as gateway:
        gateway.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseLocked):
            snapshot.restore(path, kept)


def test_a_backup_overwrites_nothing(path: Path) -> None:
    load_legacy(path, "at_f0a65dd2e313")

    with pytest.raises(SchemaError, match="already there"):
        snapshot.take(path, None, to=path)
