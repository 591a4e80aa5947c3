"""What a database holds, after SQLite's own recovery, and whether that is what it was before an upgrade or after it."""

import enum
import hashlib
import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?Z?")
_SINCE = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d %H:%M:%S}"


class State(enum.Enum):
    """Which side of an upgrade a database is on; there is no third."""

    BEFORE = "before"
    AFTER = "after"


class HalfState(AssertionError):
    """A database that is neither as it was nor as it should be."""


@dataclass(frozen=True, kw_only=True)
class Ends:
    """An upgrade's two ends. `file` is the digest of the file before, None where there was none."""

    before: str
    file: str | None
    after: str


def file_digest(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() and path.stat().st_size else None


def dump(path: Path) -> list[str]:
    """Schema and rows as lines; what happened in the last day is dated `now`, so that two runs can be compared."""
    if not path.exists():
        return []
    with closing(sqlite3.connect(path)) as connection:
        schema = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name").fetchall()
        lines = [repr(row) for row in schema]
        for kind, name, _, sql in schema:
            if kind == "table":
                order = "" if re.search(r"WITHOUT ROWID\s*$", sql or "", re.IGNORECASE) else "ORDER BY rowid"
                lines += [f"{name} {row!r}" for row in connection.execute(f'SELECT * FROM "{name}" {order}')]
    return [_MOMENT.sub(_undated, line) for line in lines]


def _undated(match: re.Match[str]) -> str:
    return "now" if match[0].replace("T", " ") >= _SINCE else match[0]


def digest(path: Path) -> str:
    """Of `dump`."""
    return hashlib.sha256("\n".join(dump(path)).encode()).hexdigest()


def faults_of(path: Path) -> list[str]:
    """What SQLite itself finds wrong; empty for a file that is not there."""
    if not path.exists():
        return []
    with closing(sqlite3.connect(path)) as connection:
        found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
        broken = [f"foreign key of {row[0]}" for row in connection.execute("PRAGMA foreign_key_check")]
    return [fault for fault in found if fault != "ok"] + broken


def state_of(path: Path, ends: Ends) -> State:
    """Opens the database as any program would, which recovers it. Raises HalfState, also for a file that is not sound."""
    try:
        found, faults = digest(path), faults_of(path)
    except sqlite3.DatabaseError as error:
        raise HalfState(f"{path}: {error}") from error
    if faults:
        raise HalfState(f"{path}: {'; '.join(faults)}")
    if found == ends.after:
        return State.AFTER
    if found != ends.before:
        raise HalfState(f"{path} is neither before nor after the upgrade")
    if file_digest(path) != ends.file:
        raise HalfState(f"{path} has the rows from before the upgrade, but not the same bytes")
    return State.BEFORE


def assert_upgraded(path: Path, ends: Ends, where: str) -> None:
    """After an upgrade that said it was done: the upgraded database, and no snapshot that is not the database from before."""
    assert state_of(path, ends) is State.AFTER, where
    for snapshot in path.parent.glob(f"{path.name}.*.snapshot"):
        assert not faults_of(snapshot), f"{where}: {snapshot.name} is not sound"
        assert digest(snapshot) == ends.before, f"{where}: {snapshot.name} is not the database from before"
