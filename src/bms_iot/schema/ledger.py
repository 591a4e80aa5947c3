"""`schema_ledger`: what was done to this database, written in the transaction that did it. The machine owns the table."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, Column, Connection, DateTime, Integer, MetaData, String, Table, insert, select

NAME = "schema_ledger"

TABLE = Table(
    NAME,
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("at", DateTime, nullable=False),
    Column("kind", String, nullable=False),
    Column("from_revision", String),
    Column("to_revision", String),
    Column("release", String, nullable=False),
    Column("detail", JSON, nullable=False),
    Column("announced_at", DateTime),
)
"""`kind` is upgrade, downgrade or stamp for a whole run, else what a revision reports: fold, move, conflict, rekey, boots, unfold.

`announced_at` is for the application: NULL until it has told the cloud.
"""


def ensure(connection: Connection) -> None:
    """Create the table where it is missing."""
    TABLE.create(connection, checkfirst=True)


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


def last(connection: Connection, kind: str) -> dict[str, Any] | None:
    """The detail of the newest entry of that kind."""
    query = select(TABLE.c.detail).where(TABLE.c.kind == kind).order_by(TABLE.c.id.desc()).limit(1)
    return connection.execute(query).scalar()
