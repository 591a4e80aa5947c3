"""How the migration machine opens the database: never by the application's engine, whose foreign keys are on."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from bms_iot.database import snapshot
from bms_iot.database.readonly import open_readonly, uri
from bms_iot.errors import DatabaseCorrupt, DatabaseLocked, NoSpace, SchemaError

BUSY_SECONDS = 30.0
MEMORY = Path(":memory:")

_DENIED = {sqlite3.SQLITE_TRANSACTION: "", sqlite3.SQLITE_ATTACH: "ATTACH ", sqlite3.SQLITE_DETACH: "DETACH "}
_SHOWING = ("table_", "index_", "foreign_key_list", "foreign_key_check", "quick_check", "integrity_check", "database_list")
_ACTING = ("wal_checkpoint", "incremental_vacuum", "optimize", "shrink_memory")


@contextmanager
def writing(path: Path) -> Iterator[Connection]:
    """A connection whose next transaction is BEGIN IMMEDIATE and durable when committed; foreign keys are off.

    They must be off before BEGIN (inside a transaction the PRAGMA does nothing): a rebuilt table would take its children along.
    """
    if not all(os.access(place, os.W_OK) and place.stat().st_mode & 0o222 for place in (path, path.parent)):
        raise SchemaError(f"{path} or its directory is read-only; nothing was changed", hint="let its owner run this")

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(uri(path, "rwc"), uri=True, timeout=BUSY_SECONDS, isolation_level=None)
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute("PRAGMA synchronous=EXTRA")
        # Debian's SQLite overwrites every freed page with zeros: a dropped table would go through the journal once more.
        connection.execute("PRAGMA secure_delete=FAST")
        return connection

    with _opened(connect, "BEGIN IMMEDIATE", path) as connection:
        yield connection


@contextmanager
def reading(path: Path) -> Iterator[Connection]:
    """A connection that cannot write, takes no write lock and leaves no file behind."""
    with _opened(lambda: open_readonly(path, timeout=BUSY_SECONDS), "BEGIN", path) as connection:
        yield connection


@contextmanager
def in_memory(record: Callable[[str], object] | None = None) -> Iterator[Connection]:
    """An empty database; `record` is called with the text of every statement."""

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(":memory:", isolation_level=None)
        connection.set_trace_callback(record)
        return connection

    with _opened(connect, "BEGIN", MEMORY) as connection:
        yield connection


def driver(opened: Connection) -> sqlite3.Connection:
    """The driver's own connection."""
    raw = opened.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    return raw


def broken_references(opened: Connection) -> list[str]:
    """In sentences, the first few rows that refer to no row."""
    broken = opened.exec_driver_sql("PRAGMA foreign_key_check").all()
    return [f"row {row[1]} of {row[0]} refers to no row of {row[2]}" for row in broken[:5]]


@contextmanager
def guarded(raw: sqlite3.Connection, running: Callable[[], str]) -> Iterator[None]:
    """Let no revision end the transaction, attach a database or set a PRAGMA. Raises SchemaError naming the one `running`."""
    denied: list[str] = []

    def authorize(action: int, first: str | None, second: str | None, *_: object) -> int:
        if action == sqlite3.SQLITE_PRAGMA and first is not None:
            if first.startswith(_SHOWING) or (second is None and first not in _ACTING):
                return sqlite3.SQLITE_OK
            denied.append(f"{running()} was rolled back, since it tried PRAGMA {first}")
        elif action in _DENIED:
            denied.append(f"{running()} was rolled back, since it tried {_DENIED[action]}{first or ''}")
        else:
            return sqlite3.SQLITE_OK
        return sqlite3.SQLITE_DENY

    raw.set_authorizer(authorize)
    try:
        yield
    except (DBAPIError, sqlite3.Error):
        if not denied:
            raise
    finally:
        raw.set_authorizer(None)  # our own COMMIT or ROLLBACK comes next
    if denied:
        raise SchemaError(f"revision {denied[0]}: a whole run is one transaction")


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raises the driver's errors as ours; whatever was begun is rolled back by then."""
    try:
        yield
    except DBAPIError as error:
        statement = f" in: {error.statement}" if error.statement else ""
        raise explained(error.orig, path, statement) from error
    except sqlite3.Error as error:
        raise explained(error, path) from error


def explained(error: BaseException | None, path: Path, statement: str = "") -> SchemaError:
    name = str(getattr(error, "sqlite_errorname", ""))
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return DatabaseLocked(f"{path} is held by another process", hint="stop the gateway or wait, then try again")
    if name.startswith("SQLITE_FULL"):
        return NoSpace(f"the disk of {path} is full; nothing was changed")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return DatabaseCorrupt(f"{path} is not a sound SQLite database: {error}", hint=snapshot.hint(path))
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return SchemaError(f"{path} cannot be opened or written: {error}")
    what = (
        "the rehearsal failed and nothing was changed" if path == MEMORY else f"the migration of {path} failed and was rolled back"
    )
    return SchemaError(f"{what}: {error}{statement}")


@contextmanager
def _opened(connect: Callable[[], sqlite3.Connection], begin: str, path: Path) -> Iterator[Connection]:
    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    try:
        with translated(path), engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()
