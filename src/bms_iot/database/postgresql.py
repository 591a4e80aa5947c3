"""PostgreSQL, by asyncpg: writing is one transaction under an advisory lock, reading is READ ONLY."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection, inspect, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from bms_iot.database import gate, ledger
from bms_iot.database.target import Target
from bms_iot.errors import ConfigurationError, DatabaseLocked, NoSpace, SchemaError

T = TypeVar("T")
LOCK = "SELECT pg_advisory_xact_lock(7092458351077485428)"
"""Held by whoever writes, the application too, until the transaction ends: its argument is the same for all of them."""
LOCK_SECONDS = 30
_SETTINGS = """SELECT set_config('lock_timeout', '{seconds}s', true), set_config('statement_timeout', '0', true),
set_config('synchronous_commit', 'on', true), set_config('idle_in_transaction_session_timeout', '0', true)"""


def write(target: Target, work: Callable[[Connection], T]) -> T:
    """Do `work` in one transaction that nobody else's writing overlaps; durable when this returns, undone when it raises.

    Raises SchemaError, DatabaseLocked when another migration or a reader of what must change stays for half a minute.
    """

    def locked(connection: Connection) -> T:
        # Not REPEATABLE READ: what is seen after the wait must be what the one before us left.
        with connection.execution_options(isolation_level="READ COMMITTED").begin():
            connection.exec_driver_sql(_SETTINGS.format(seconds=LOCK_SECONDS))
            connection.exec_driver_sql(LOCK)
            begun = connection.exec_driver_sql("SELECT txid_current()").scalar()
            result = work(connection)
            if connection.exec_driver_sql("SELECT txid_current()").scalar() != begun:
                raise SchemaError("a revision ended the transaction by itself; the database may be half migrated")
            return result

    return connected(target, locked)


def read(target: Target, work: Callable[[Connection], T]) -> T:
    """Do `work` in a transaction that sees one moment and cannot write. Raises SchemaError."""

    def reading(connection: Connection) -> T:
        with connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True).begin():
            return work(connection)

    return connected(target, reading)


def status(target: Target) -> gate.GateResult:
    """How the database stands. Raises SchemaError."""
    return gate.judged(str(target), *read(target, stamp))


def stamp(connection: Connection) -> tuple[str | None, str | None]:
    """The revision, and the oldest revision whose release may run on it."""
    names = inspect(connection).get_table_names()
    revision = connection.scalar(text("SELECT version_num FROM alembic_version")) if "alembic_version" in names else None
    floor, entry = None, ledger.TABLE.c
    if revision and ledger.NAME in names:
        query = select(entry.detail).where(entry.to_revision == revision, entry.kind.in_(("upgrade", "downgrade", "stamp")))
        floor = (connection.scalar(query.order_by(entry.id.desc()).limit(1)) or {}).get("compat_floor")
    return revision, floor


def objects(connection: Connection) -> dict[str, str]:
    """Indexes, triggers and views by name, with the table they belong to; those of constraints are no objects of their own."""
    return {row[0]: row[1] for row in connection.exec_driver_sql(_OBJECTS)}


def connected(target: Target, work: Callable[[Connection], T]) -> T:
    """Do `work` on a connection of its own, also inside an event loop. Raises SchemaError; ConfigurationError without asyncpg."""

    async def connect() -> T:
        engine = create_async_engine(target.url, poolclass=NullPool)
        async with engine.connect() as connection:
            return await connection.run_sync(work)

    try:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(connect())
        with ThreadPoolExecutor(1) as thread:  # in this one a loop runs already
            return thread.submit(asyncio.run, connect()).result()
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise ConfigurationError("PostgreSQL needs asyncpg, which is missing", hint="pip install 'bms-iot[postgresql]'") from error
    except (DBAPIError, OSError) as error:  # asyncpg lets an OSError of connecting through
        raise explained(error, target) from error


def explained(error: DBAPIError | OSError, target: Target) -> SchemaError:
    """The server's error as ours; it never has the password."""
    cause = error if isinstance(error, OSError) else error.orig
    state = str(getattr(cause, "sqlstate", None) or "")
    if state in ("55P03", "40P01"):
        hint = "stop the gateway or wait, then try again"
        return DatabaseLocked(f"another migration or the gateway holds {target}; nothing was changed", hint=hint)
    if state == "53100":
        return NoSpace(f"the disk of {target} is full; nothing was changed")
    if state.startswith(("28", "3D")):
        create = f"createdb {target.url.database}" if state == "3D000" else None
        return SchemaError(f"{target} refused the connection: {cause}", hint=create)
    if not state or state.startswith(("08", "57P")):
        return SchemaError(f"{target} cannot be reached: {cause}", hint="alembic current says where it stands")
    return SchemaError(f"{target}: {cause}; nothing was changed; it was in: {getattr(error, 'statement', None)}")


_OBJECTS = """SELECT c.relname, coalesce(t.relname, c.relname) FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid
LEFT JOIN pg_class t ON t.oid = i.indrelid WHERE c.relnamespace = quote_ident(current_schema())::regnamespace
AND c.relkind IN ('i', 'v', 'm') AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = c.oid AND contype IN ('p', 'u', 'x'))
UNION ALL SELECT g.tgname, t.relname FROM pg_trigger g JOIN pg_class t ON t.oid = g.tgrelid
WHERE t.relnamespace = quote_ident(current_schema())::regnamespace AND NOT g.tgisinternal"""
