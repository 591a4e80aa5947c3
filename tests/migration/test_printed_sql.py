import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.migration.building import insert
from tests.migration.conftest import Alembic, load_legacy, upgrade
from tests.migration.shape import shape

needs_shell = pytest.mark.skipif(shutil.which("sqlite3") is None, reason="needs the sqlite3 shell (Debian: sqlite3)")
pytestmark = [pytest.mark.system, needs_shell]

HEAD = "4bc16f80b4c9"


def apply(path: Path, sql: str, *options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["sqlite3", *options, str(path)], input=sql, capture_output=True, text=True, check=False, timeout=30)


def revision(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def test_it_prints_sql_and_nothing_else_and_touches_no_file(path: Path, alembic: Alembic) -> None:
    printed = alembic("upgrade", "head", "--sql")

    assert printed.returncode == 0
    assert not path.exists()
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.executescript(printed.stdout)  # would stop at anything that is not SQL


def test_it_makes_the_schema_of_an_upgrade(path: Path, tmp_path: Path, alembic: Alembic) -> None:
    result = apply(path, alembic("upgrade", "head", "--sql").stdout, "-bail")

    assert (result.returncode, result.stderr) == (0, "")
    upgrade(tmp_path / "upgraded.db")
    assert shape(path) == shape(tmp_path / "upgraded.db")
    assert revision(path) == HEAD


def test_it_carries_the_rows_that_sql_can_carry(path: Path, tmp_path: Path, alembic: Alembic) -> None:
    upgrade(path, "f0a65dd2e313")
    with (
        closing(sqlite3.connect(load_legacy(tmp_path / "field.db", "at_f0a65dd2e313"))) as field,
        closing(sqlite3.connect(path)) as connection,
    ):
        field.row_factory = sqlite3.Row
        with connection:
            for table in ("iot_device_status", "bacnet_readers", "deployment_config"):
                for row in field.execute(f"SELECT * FROM {table}"):
                    insert(connection, table, {k: v for k, v in dict(row).items() if not k.endswith("_unix_milli_timestamp")})
    shutil.copy(path, tmp_path / "upgraded.db")

    result = apply(path, alembic("upgrade", "f0a65dd2e313:head", "--sql").stdout)

    assert (result.returncode, result.stderr) == (0, "")
    upgrade(tmp_path / "upgraded.db")
    assert dump(path) == dump(tmp_path / "upgraded.db")


@pytest.mark.parametrize("options", [(), ("-bail",)])
def test_it_leaves_a_populated_database_as_it_is(path: Path, alembic: Alembic, options: tuple[str, ...]) -> None:
    load_legacy(path, "at_f0a65dd2e313")
    before = path.read_bytes()

    result = apply(path, alembic("upgrade", "f0a65dd2e313:head", "--sql").stdout, *options)

    assert result.returncode != 0
    assert path.read_bytes() == before


def test_it_leaves_a_database_at_another_revision_as_it_is(path: Path, alembic: Alembic) -> None:
    upgrade(path, "dc3c962443cb")
    before = path.read_bytes()

    result = apply(path, alembic("upgrade", "f0a65dd2e313:head", "--sql").stdout)

    assert "this_database_cannot_be_migrated_by_this_script" in result.stderr
    assert path.read_bytes() == before


def test_a_downgrade_prints_as_well(path: Path, tmp_path: Path, alembic: Alembic) -> None:
    upgrade(path)

    result = apply(path, alembic("downgrade", "head:dc3c962443cb", "--sql").stdout, "-bail")

    assert (result.returncode, result.stderr) == (0, "")
    upgrade(tmp_path / "older.db", "dc3c962443cb")
    assert shape(path) == shape(tmp_path / "older.db")


def dump(path: Path) -> dict[str, list[tuple[object, ...]]]:
    with closing(sqlite3.connect(path)) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in names if name != "schema_ledger"}
