import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from bms_iot.database import connection, gate, lock, snapshot
from bms_iot.errors import DatabaseCorrupt, DatabaseLocked, SchemaError, SchemaNewer
from tests.migration.conftest import Alembic, load_legacy, upgrade

HEAD = "4bc16f80b4c9"


class Interrupted(Exception):
    """The fault that is injected."""


@contextmanager
def fault_at(number: int) -> Iterator[list[str]]:
    """Raise before the statement of that number, counted from 0 over all connections; yields the statements that ran."""
    ran: list[str] = []

    def executing(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if len(ran) == number:
            raise Interrupted(statement)
        ran.append(statement)

    event.listen(Engine, "before_cursor_execute", executing)
    try:
        yield ran
    finally:
        event.remove(Engine, "before_cursor_execute", executing)


def contents(path: Path) -> bytes:
    for suffix in ("-journal", "-wal"):
        assert not Path(f"{path}{suffix}").exists()
    return path.read_bytes()


def test_a_fault_before_any_statement_leaves_the_file_as_it_was(path: Path) -> None:
    load_legacy(path, "moved_and_shared")
    before = contents(path)
    with fault_at(-1) as all_of_them:
        upgrade(path)
    load_legacy(path.with_name("again.db"), "moved_and_shared")
    again = path.with_name("again.db")

    for number in range(len(all_of_them)):
        with fault_at(number), pytest.raises(Interrupted):
            upgrade(again)
        assert contents(again) == before, all_of_them[number]

    upgrade(again)
    assert gate.inspect(again).state is gate.State.HEAD


def test_a_fault_leaves_no_new_file_behind(path: Path) -> None:
    with fault_at(20), pytest.raises(Interrupted):
        upgrade(path)

    assert not path.exists()


KILLED = """
import os, signal, sys
from sqlalchemy import Engine, event
from bms_iot.schema import commands

def executing(connection, cursor, statement, *_):
    if statement.strip().startswith("DROP TABLE"):
        os.kill(os.getpid(), signal.SIGKILL)

event.listen(Engine, "after_cursor_execute", executing)
commands.upgrade(sys.argv[1])
"""


def test_a_killed_upgrade_is_undone_by_the_next(path: Path) -> None:
    load_legacy(path, "at_f0a65dd2e313")

    killed = subprocess.run([sys.executable, "-c", KILLED, f"sqlite:///{path}"], check=False, timeout=60)

    assert killed.returncode == -9
    upgrade(path)
    assert gate.inspect(path).state is gate.State.HEAD


def test_an_upgrade_at_head_changes_no_byte(path: Path) -> None:
    upgrade(load_legacy(path, "at_f0a65dd2e313"))
    before = contents(path)

    upgrade(path)

    assert contents(path) == before


def test_a_wal_database_is_one_file_after_the_upgrade(path: Path) -> None:
    load_legacy(path, "at_f0a65dd2e313")
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode=WAL")

    upgrade(path)

    snapshots = {file.name for file in snapshot.all_of(path)}
    assert {file.name for file in path.parent.iterdir()} - snapshots == {path.name, lock.lock_file(path).name}


def stamp(revision: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        upgrade(path)
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("UPDATE alembic_version SET version_num = ?", [revision])

    return write


def truncate(path: Path) -> None:
    upgrade(path)
    path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (stamp("ffffffffffff"), SchemaNewer),
        (truncate, DatabaseCorrupt),
        (lambda path: path.write_bytes(b"this is no database, though it is long enough to look like one" * 20), DatabaseCorrupt),
    ],
)
def test_what_cannot_be_upgraded_is_refused_and_left_as_it_is(
    path: Path, alembic: Alembic, spoil: Callable[[Path], None], error: type[SchemaError]
) -> None:
    spoil(path)
    before = contents(path)

    result = alembic("upgrade", "head")

    assert result.returncode == error.exit_code, result.stderr
    assert "Traceback" not in result.stderr
    assert contents(path) == before


def test_a_downgrade_that_would_lose_rows_is_refused(path: Path, alembic: Alembic) -> None:
    upgrade(load_legacy(path, "at_f0a65dd2e313"), "f0a65dd2e313")
    before = contents(path)

    result = alembic("downgrade", "-1")

    assert result.returncode == 1
    assert "2 rows of bacnet_readers would be lost" in result.stderr
    assert contents(path) == before


def test_rows_may_be_lost_on_purpose(path: Path, alembic: Alembic, database: sqlite3.Connection) -> None:
    load_legacy(path, "at_f0a65dd2e313")

    result = alembic("-x", "allow-loss=yes", "downgrade", "-1")

    assert result.returncode == 0, result.stderr
    losses = database.execute("SELECT detail FROM schema_ledger WHERE kind = 'loss'").fetchall()
    assert len(losses) == 3


def test_a_second_migration_waits_for_the_first_and_gives_up_with_words(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "WAIT_SECONDS", 0.3)

    with lock.exclusive(path, wait_seconds=0), pytest.raises(DatabaseLocked, match="another migration holds"):
        upgrade(path)

    assert not path.exists()


def test_a_writer_that_does_not_let_go_stops_the_upgrade(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_legacy(path, "at_f0a65dd2e313")
    monkeypatch.setattr(connection, "BUSY_SECONDS", 0.3)

    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseLocked):
            upgrade(path)


def test_the_ledger_says_what_was_done(path: Path, alembic: Alembic, database: sqlite3.Connection) -> None:
    upgrade(path, "f0a65dd2e313")
    upgrade(path)
    assert alembic("downgrade", "8c25e7b0f9d1").returncode == 0
    assert alembic("stamp", "head").returncode == 0

    entries = [tuple(row) for row in database.execute("SELECT kind, from_revision, to_revision FROM schema_ledger ORDER BY id")]

    assert entries == [
        ("upgrade", None, "f0a65dd2e313"),
        ("upgrade", "f0a65dd2e313", HEAD),
        ("unfold", None, None),
        ("downgrade", HEAD, "8c25e7b0f9d1"),
        ("stamp", "8c25e7b0f9d1", HEAD),
    ]
