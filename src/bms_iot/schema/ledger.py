"""`schema_ledger`: what was done to this database, written in the transaction that did it. The machine owns the table."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from alembic.runtime.migration import MigrationInfo
from alembic.script import ScriptDirectory
from sqlalchemy import (
    JSON,
    Column,
    Connection,
    DateTime,
    Dialect,
    Integer,
    MetaData,
    String,
    Table,
    TypeDecorator,
    insert,
    inspect,
    select,
)
from sqlalchemy.schema import CreateTable

NAME = "schema_ledger"


class Detail(TypeDecorator[dict[str, Any]]):
    """JSON that can be printed as a literal as well."""

    impl, cache_ok = JSON, True

    def process_literal_param(self, value: Any, dialect: Dialect) -> str:
        return "'" + json.dumps(value).replace("'", "''") + "'"


TABLE = Table(
    NAME,
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("at", DateTime, nullable=False),
    Column("kind", String, nullable=False),
    Column("from_revision", String),
    Column("to_revision", String),
    Column("release", String, nullable=False),
    Column("detail", Detail, nullable=False),
    Column("announced_at", DateTime),
)
"""`kind` is upgrade, downgrade, stamp, adopt or mend for what was done as a whole, else what a revision reports: fold, move,
conflict, rekey, boots, unfold.

`announced_at` is for the application: NULL until it has told the cloud.
"""


def ensure(connection: Connection) -> None:
    """Create the table where it is missing."""
    connection.execute(CreateTable(TABLE, if_not_exists=True))


def append(
    connection: Connection,
    kind: str,
    detail: dict[str, Any],
    *,
    release: str,
    from_revision: str | None = None,
    to_revision: str | None = None,
) -> None:
    values = {
        "at": datetime.now(UTC).replace(tzinfo=None),
        "kind": kind,
        "from_revision": from_revision,
        "to_revision": to_revision,
        "release": release,
        "detail": detail,
    }
    connection.execute(insert(TABLE).values(values))


def conclude(connection: Connection, script: ScriptDirectory, steps: Sequence[MigrationInfo], *, release: str) -> None:
    """The entry of a whole run of at least one step. `compat_floor` is the oldest revision whose release may run from now on."""
    kind = "stamp" if steps[0].is_stamp else "upgrade" if steps[0].is_upgrade else "downgrade"
    before, after = _one(steps[0].source_revision_ids), _one(steps[-1].destination_revision_ids)
    floors = (getattr(revision.module, "compat_floor", None) for revision in script.iterate_revisions(after, "base"))
    append(
        connection,
        kind,
        {"compat_floor": next(filter(None, floors), None)},
        release=release,
        from_revision=before,
        to_revision=after,
    )


def _one(revisions: Sequence[str]) -> str | None:
    return revisions[0] if revisions else None


def last(connection: Connection, kind: str) -> dict[str, Any] | None:
    """The detail of the newest entry of that kind."""
    query = select(TABLE.c.detail).where(TABLE.c.kind == kind).order_by(TABLE.c.id.desc()).limit(1)
    return connection.execute(query).scalar()


def listed(connection: Connection) -> list[dict[str, Any]]:
    """Every entry, oldest first."""
    if not inspect(connection).has_table(NAME):
        return []
    return [dict(row) for row in connection.execute(select(TABLE).order_by(TABLE.c.id)).mappings()]
