import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bms_iot.database import gate, manifest, snapshot, space
from bms_iot.errors import DatabaseCorrupt, NoSpace, RevisionEdited, SchemaError, SchemaNewer
from bms_iot.schema import commands
from tests.migration.conftest import ROOT, Alembic, load_legacy, upgrade, url
from tests.migration.planting import Orchard

Usage = namedtuple("Usage", "total used free")


def sums(path: Path) -> dict[str, tuple[str, int]]:
    """Every file but the lock's, by name: hash and time of change."""
    return {
        file.name: (hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_mtime_ns)
        for file in path.parent.iterdir()
        if file.is_file() and not file.name.endswith(".lock")
    }


def break_page(path: Path) -> None:
    load_legacy(path, "at_f0a65dd2e313")
    with closing(sqlite3.connect(path)) as database:
        page = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'bacnet_readers'").fetchone()[0]
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)


def cut_off(path: Path) -> None:
    load_legacy(path, "at_f0a65dd2e313")
    os.truncate(path, 8192)


def no_database(path: Path) -> None:
    path.write_bytes(b"Once upon a time there was a building.\n" * 200)


@pytest.mark.parametrize("spoil", [break_page, cut_off, no_database])
@pytest.mark.parametrize("verb", ["upgrade", "plan"])
def test_a_file_that_is_not_sound_is_refused_and_not_touched(path: Path, spoil: Callable[[Path], None], verb: str) -> None:
    spoil(path)
    before = sums(path)

    with pytest.raises(DatabaseCorrupt):
        upgrade(path) if verb == "upgrade" else commands.plan(url(path))

    assert sums(path) == before


def test_the_newest_sound_snapshot_is_named_for_a_corrupt_file(path: Path) -> None:
    load_legacy(path, "at_f0a65dd2e313")
    good = snapshot.take(path, "f0a65dd2e313")
    bad = snapshot.take(path, "f0a65dd2e313")
    bad.write_bytes(bad.read_bytes()[:6000])
    os.truncate(path, 8192)

    for refused in (lambda: upgrade(path), lambda: gate.check(path)):
        with pytest.raises(DatabaseCorrupt) as caught:
            refused()
        assert caught.value.hint == f"bms-iot db restore {good}"


@pytest.mark.parametrize("mode", [0o444, 0o400])
def test_a_read_only_file_is_refused_with_words(path: Path, alembic: Alembic, mode: int) -> None:
    load_legacy(path, "at_f0a65dd2e313")
    path.chmod(mode)
    before = sums(path)

    result = alembic("upgrade", "head")

    assert result.returncode == 1
    assert "read-only" in result.stderr
    assert "Traceback" not in result.stderr
    assert sums(path) == before


def test_a_file_in_a_read_only_directory_is_refused_with_words(path: Path, alembic: Alembic) -> None:
    load_legacy(path, "at_f0a65dd2e313")
    path.parent.chmod(0o555)
    try:
        result = alembic("upgrade", "head")
    finally:
        path.parent.chmod(0o755)

    assert result.returncode == 1
    assert "bms-iot: " in result.stderr
    assert "Traceback" not in result.stderr


def test_what_does_not_fit_on_the_disk_is_not_begun_and_the_room_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_legacy(path, "at_f0a65dd2e313")
    needed = max(commands.plan(url(path)).octets.values())
    before = sums(path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 10**9, needed - 1))

    with pytest.raises(NoSpace, match=rf"needs {-(-needed // 2**20)} MiB free in .* there are {(needed - 1) // 2**20} MiB"):
        upgrade(path)

    assert sums(path) == before
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 10**9, needed))
    upgrade(path)


def test_the_room_for_temporary_files_counts_where_they_are_elsewhere(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == path.parent.stat().st_dev:
        pytest.skip("needs a second file system")
    load_legacy(path, "at_f0a65dd2e313")
    monkeypatch.setenv("SQLITE_TMPDIR", str(elsewhere))

    assert commands.plan(url(path)).octets[elsewhere] >= path.stat().st_size


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount")
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], check=False, timeout=30).returncode:
        pytest.skip("cannot mount here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True, timeout=30)


@pytest.mark.system
def test_a_disk_too_small_is_found_out_before_anything_is_changed(small_disk: Path) -> None:
    path = load_legacy(small_disk / "bms_bacnet.db", "at_f0a65dd2e313")
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE ballast (octets BLOB)")
        database.execute("INSERT INTO ballast VALUES (randomblob(800000))")
    before = sums(path)

    with pytest.raises(NoSpace, match="MiB free"):
        upgrade(path)

    assert sums(path) == before


@pytest.mark.system
def test_a_disk_that_fills_up_during_the_upgrade_leaves_the_file_as_it_was(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = load_legacy(small_disk / "bms_bacnet.db", "at_f0a65dd2e313")
    monkeypatch.setattr(space, "refuse_without", lambda *_: None)
    (small_disk / "ballast").write_bytes(b"\0" * (shutil.disk_usage(small_disk).free - 16384))
    before = sums(path)

    with pytest.raises(NoSpace):
        upgrade(path)

    assert sums(path) == before


def test_an_edited_revision_is_refused_by_one_octet(path: Path, tmp_path: Path, alembic: Alembic) -> None:
    load_legacy(path, "at_f0a65dd2e313")
    copy = tmp_path / "copy" / "migrations"
    shutil.copytree(manifest.MIGRATIONS, copy, ignore=shutil.ignore_patterns("__pycache__"))
    ini = tmp_path / "copy" / "alembic.ini"
    ini.write_text(f"[alembic]\nscript_location = {copy}\npath_separator = os\n")
    file = copy / "versions" / manifest.load()[-1].file
    file.write_bytes(file.read_bytes() + b"\n")
    before = sums(path)

    result = alembic("-c", str(ini), "upgrade", "head", cwd=ROOT)

    assert result.returncode == RevisionEdited.exit_code, result.stderr
    assert manifest.load()[-1].revision in result.stderr
    assert sums(path) == before


@pytest.mark.parametrize("floor", [None, "ffffffffffff"])
def test_a_newer_database_changes_no_byte_when_refused(path: Path, alembic: Alembic, floor: str | None) -> None:
    newer(path, floor)
    before = sums(path)

    result = alembic("upgrade", "head")

    assert result.returncode == SchemaNewer.exit_code
    assert sums(path) == before


def test_a_newer_database_whose_floor_is_known_has_nothing_to_upgrade(path: Path, alembic: Alembic) -> None:
    newer(path, manifest.head())
    before = sums(path)

    result = alembic("upgrade", "head")

    assert (result.returncode, sums(path)) == (0, before), result.stderr
    assert "newer" in result.stderr
    assert alembic("downgrade", "-1").returncode == SchemaNewer.exit_code


def newer(path: Path, floor: str | None) -> None:
    upgrade(path)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
        columns = "(at, kind, to_revision, release, detail)"
        query = f"INSERT INTO schema_ledger {columns} VALUES ('2030-01-01', 'upgrade', 'ffffffffffff', '9', ?)"
        database.execute(query, [json.dumps({"compat_floor": floor})])


def test_a_revision_that_fails_is_found_by_the_rehearsal(path: Path, orchard: Orchard) -> None:
    upgrade(path, "f0a65dd2e313")
    orchard.plant('op.execute("UPDATE bacnet_config SET bacnet_devices = NULL")')
    orchard.plant('op.execute("CREATE TABLE outbox (id INTEGER)")')
    before = sums(path)

    with pytest.raises(SchemaError, match=r"rehearsal failed and nothing was changed: .*already exists"):
        upgrade(path)

    assert sums(path) == before
