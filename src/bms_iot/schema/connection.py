"""How the migration machine opens the database: never by the application's engine, whose foreign keys are on."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from bms_iot.errors import DatabaseCorrupt, DatabaseLocked, NoSpace, SchemaError
from bms_iot.schema.readonly import open_readonly, uri

BUSY_SECONDS = 30.0


@contextmanager
def writing(path: Path) -> Iterator[Connection]:
    """A connection whose next transaction is BEGIN IMMEDIATE and durable when committed; foreign keys are off.

    They must be off before BEGIN (inside a transaction the PRAGMA does nothing): a rebuilt table would take its children along.
    """

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(uri(path, "rwc"), uri=True, timeout=BUSY_SECONDS, isolation_level=None)
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute("PRAGMA synchronous=EXTRA")
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

    with _opened(connect, "BEGIN", Path(":memory:")) as connection:
        yield connection


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
        return DatabaseCorrupt(f"{path} is not a sound SQLite database: {error}")
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return SchemaError(f"{path} cannot be opened or written: {error}")
    return SchemaError(f"the migration of {path} failed and was rolled back: {error}{statement}")


@contextmanager
def _opened(connect: Callable[[], sqlite3.Connection], begin: str, path: Path) -> Iterator[Connection]:
    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    try:
        with translated(path), engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()
