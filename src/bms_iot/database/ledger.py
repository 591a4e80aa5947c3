"""`schema_ledger`: what was done to this database, written in the transaction that did it. The machine owns the table."""

import json
from datetime import UTC, datetime
from typing import Any

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

from bms_iot import __version__

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
conflict, rekey, boots, point_classes, device_profiles, unfold.

`announced_at` is for the application: NULL until it has told the cloud.
"""


def ensure(connection: Connection) -> None:
    """Create the table where it is missing."""
    connection.execute(CreateTable(TABLE, if_not_exists=True))


def append(
    connection: Connection, kind: str, detail: dict[str, Any], *, from_revision: str | None = None, to_revision: str | None = None
) -> None:
    values = {
        "at": datetime.now(UTC).replace(tzinfo=None),
        "kind": kind,
        "from_revision": from_revision,
        "to_revision": to_revision,
        "release": __version__,
        "detail": detail,
    }
    connection.execute(insert(TABLE).values(values))


def last(connection: Connection, kind: str) -> dict[str, Any] | None:
    """The detail of the newest entry of that kind."""
    query = select(TABLE.c.detail).where(TABLE.c.kind == kind).order_by(TABLE.c.id.desc()).limit(1)
    return connection.execute(query).scalar()


def listed(connection: Connection) -> list[dict[str, Any]]:
    """Every entry, oldest first."""
    if not inspect(connection).has_table(NAME):
        return []
    return [dict(row) for row in connection.execute(select(TABLE).order_by(TABLE.c.id)).mappings()]
