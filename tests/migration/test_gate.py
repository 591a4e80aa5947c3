import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from bms_iot.authoring import release
from bms_iot.database import gate, manifest
from bms_iot.errors import DatabaseCorrupt, SchemaBehind, SchemaNewer
from tests.migration.conftest import Alembic, load_legacy, upgrade


def files(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.parent.iterdir()}


def test_a_database_at_head_may_be_used(path: Path) -> None:
    upgrade(path)

    result = gate.check(path)

    assert (result.state, result.revision, result.pending) == (gate.State.HEAD, manifest.head(), ())


def test_an_older_one_is_refused_with_the_command_to_run(path: Path) -> None:
    load_legacy(path, "at_f0a65dd2e313")

    with pytest.raises(SchemaBehind) as caught:
        gate.check(path)

    assert caught.value.hint == "bms-iot db upgrade"
    assert gate.inspect(path).pending == tuple(r.revision for r in manifest.load())[3:]


@pytest.mark.parametrize("name", ["pre_alembic", "create_all", "wedged_empty"])
def test_one_without_a_revision_is_refused_with_the_command_to_run(path: Path, name: str) -> None:
    load_legacy(path, name)

    with pytest.raises(SchemaBehind, match="no schema revision"):
        gate.check(path)


def test_a_missing_one_is_refused_and_not_made(path: Path) -> None:
    with pytest.raises(SchemaBehind, match="no database"):
        gate.check(path)

    assert files(path) == {}


def stamp_newer(path: Path, floor: str | None) -> None:
    upgrade(path)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
        columns = "(at, kind, to_revision, release, detail)"
        query = f"INSERT INTO schema_ledger {columns} VALUES ('2027-01-01', 'upgrade', 'ffffffffffff', '9', ?)"
        database.execute(query, [json.dumps({"compat_floor": floor})])


def test_a_newer_one_is_refused(path: Path) -> None:
    stamp_newer(path, "ffffffffffff")

    with pytest.raises(SchemaNewer):
        gate.check(path)


def test_a_newer_one_whose_floor_is_known_may_be_used(path: Path) -> None:
    stamp_newer(path, manifest.head())

    result = gate.check(path)

    assert (result.state, result.revision, result.pending) == (gate.State.NEWER_COMPATIBLE, "ffffffffffff", ())


def test_what_is_no_database_is_corrupt(path: Path) -> None:
    path.write_bytes(b"no database" * 100)

    with pytest.raises(DatabaseCorrupt):
        gate.check(path)


KILLED = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size=1")
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE controller_points SET present_value = 'half'")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_an_interrupted_upgrade_waits_for_the_next(path: Path) -> None:
    load_legacy(path, "at_f0a65dd2e313")
    subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False, timeout=30)
    before = files(path)
    assert f"{path.name}-journal" in before

    with pytest.raises(SchemaBehind, match="interrupted") as caught:
        gate.check(path)

    assert caught.value.hint == "bms-iot db upgrade"
    assert files(path) == before


@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
@pytest.mark.parametrize("verb", ["gate", "current", "check", "history --indicate-current"])
def test_reading_changes_no_byte_and_leaves_no_file(path: Path, alembic: Alembic, journal: str, verb: str) -> None:
    upgrade(path)
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA journal_mode={journal}")
    before = files(path)

    if verb == "gate":
        gate.check(path)
    else:
        assert alembic(*verb.split()).returncode == 0

    assert files(path) == before


@pytest.mark.parametrize("verb", ["gate", "current"])
def test_reading_sees_what_the_application_has_just_written(path: Path, alembic: Alembic, verb: str) -> None:
    upgrade(path)
    with closing(sqlite3.connect(path)) as application:
        application.execute("PRAGMA journal_mode=WAL")
        application.execute("UPDATE alembic_version SET version_num = 'f0a65dd2e313'")
        application.commit()
        main = path.read_bytes()

        seen = gate.inspect(path).revision if verb == "gate" else alembic("current").stdout.strip()

        assert (seen, path.read_bytes()) == ("f0a65dd2e313", main)


def test_the_gate_needs_neither_alembic_nor_sqlalchemy() -> None:
    code = "import sys; from bms_iot.database import gate; sys.exit(not {'alembic', 'sqlalchemy'}.isdisjoint(sys.modules))"

    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode == 0


def test_the_manifest_is_true() -> None:
    assert manifest.load() == release.computed(), "after a new revision: python -m bms_iot.authoring release"


def test_an_edited_revision_is_not_what_the_manifest_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "migrations"
    shutil.copytree(manifest.MIGRATIONS, copy)
    file = copy / "versions" / manifest.load()[0].file
    file.write_bytes(file.read_bytes() + b"\n")
    monkeypatch.setattr(manifest, "MIGRATIONS", copy)

    assert release.computed() != manifest.load()


def test_the_history_is_the_order_of_the_file_names() -> None:
    names = [entry.file for entry in manifest.load()]

    assert [name[:10] for name in names] == sorted(name[:10] for name in names)
