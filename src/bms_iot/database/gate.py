"""May the application start on this database? A plain read: no Alembic, no lock, no file created."""

import enum
import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bms_iot.database import manifest, snapshot
from bms_iot.database.readonly import open_readonly
from bms_iot.errors import DatabaseCorrupt, DatabaseLocked, SchemaBehind, SchemaNewer

UPGRADE = "bms-iot db upgrade"
_TIMEOUT_SECONDS = 5.0


class State(enum.Enum):
    """How a database stands to this release."""

    MISSING = "missing"
    UNSTAMPED = "unstamped"
    INTERRUPTED = "interrupted"
    BEHIND = "behind"
    HEAD = "head"
    NEWER_COMPATIBLE = "newer, compatible"
    NEWER = "newer"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """`revision` is None where there is none; `pending` are the revisions that wait, oldest first."""

    database: str
    state: State
    revision: str | None
    head: str
    pending: tuple[str, ...]


def check(path: str | Path) -> GateResult:
    """The state of a database the application may start on: at head, or newer and compatible.

    Raises SchemaBehind, with the command to run, for a missing, unstamped, interrupted or older one; SchemaNewer; DatabaseCorrupt;
    DatabaseLocked when it could not be read for five seconds.
    """
    return approved(inspect(path))


def approved(result: GateResult) -> GateResult:
    """The same when the application may start on it. Raises as `check` does."""
    match result.state:
        case State.HEAD | State.NEWER_COMPATIBLE:
            return result
        case State.NEWER:
            raise SchemaNewer(
                f"{result.database} is at {result.revision}, written by a newer release; this one knows {result.head}"
            )
        case State.MISSING:
            message = f"no database at {result.database}"
        case State.UNSTAMPED:
            message = f"{result.database} has no schema revision, this release needs {result.head}"
        case State.INTERRUPTED:
            message = f"an upgrade of {result.database} was interrupted and waits to be undone"
        case State.BEHIND:
            message = f"{result.database} is at {result.revision}, this release needs {result.head}"
    raise SchemaBehind(message, hint=UPGRADE)


def inspect(path: str | Path) -> GateResult:
    """How the database stands. Raises DatabaseCorrupt, DatabaseLocked."""
    path = Path(path)
    if not path.exists() or path.stat().st_size == 0:
        return judged(str(path), state=State.MISSING)
    try:
        with closing(open_readonly(path, timeout=_TIMEOUT_SECONDS)) as connection:
            revision, floor = _read(connection)
    except sqlite3.Error as error:
        return judged(str(path), state=_failure(path, error))
    return judged(str(path), revision, floor)


def judged(database: str, revision: str | None = None, floor: str | None = None, *, state: State | None = None) -> GateResult:
    """How a database with this revision and floor stands, unless something else is known of it."""
    known = [entry.revision for entry in manifest.load()]
    state = state or _state(revision, floor, known)
    pending = known[known.index(revision) + 1 :] if revision in known else [] if state in _NEWER else known
    return GateResult(database=database, state=state, revision=revision, head=known[-1], pending=tuple(pending))


_NEWER = (State.NEWER, State.NEWER_COMPATIBLE)


def _state(revision: str | None, floor: str | None, known: list[str]) -> State:
    if revision is None:
        return State.UNSTAMPED
    if revision in known:
        return State.HEAD if revision == known[-1] else State.BEHIND
    return State.NEWER_COMPATIBLE if floor in known else State.NEWER


def _read(connection: sqlite3.Connection) -> tuple[str | None, str | None]:
    """The revision, and the oldest revision whose release may run on it."""
    names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    stamped = connection.execute("SELECT version_num FROM alembic_version").fetchone() if "alembic_version" in names else None
    if stamped is None:
        return None, None
    floor = None
    if "schema_ledger" in names:
        query = (
            "SELECT detail FROM schema_ledger WHERE to_revision = ? AND kind IN ('upgrade', 'downgrade', 'stamp') "
            "ORDER BY id DESC LIMIT 1"
        )
        if (entry := connection.execute(query, stamped).fetchone()) is not None:
            floor = json.loads(entry[0]).get("compat_floor")
    return str(stamped[0]), floor


def _failure(path: Path, error: sqlite3.Error) -> State:
    name = str(getattr(error, "sqlite_errorname", ""))
    journal = Path(f"{path}-journal")
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN")) and journal.exists():
        return State.INTERRUPTED  # only a writer may undo what the journal holds
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        raise DatabaseLocked(f"{path} is held by another process") from error
    raise DatabaseCorrupt(f"{path} cannot be read as a SQLite database: {error}", hint=snapshot.hint(path)) from error
