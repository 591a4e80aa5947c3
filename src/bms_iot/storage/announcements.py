"""What an upgrade left to be told to the cloud, once: points whose id had to change."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bms_iot.database.ledger import TABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Rekeyed:
    """A point that shared its id with another: `detail` has `old` and `new` id, and which point it is."""

    ledger_id: int
    detail: dict[str, Any]


async def unannounced(connection: AsyncConnection, limit: int) -> list[Rekeyed]:
    """The oldest entries of the ledger that the cloud has not been told."""
    query = select(TABLE.c.id, TABLE.c.detail).where(TABLE.c.kind == "rekey", TABLE.c.announced_at.is_(None))
    rows = (await connection.execute(query.order_by(TABLE.c.id).limit(limit))).all()
    return [Rekeyed(ledger_id=row.id, detail=row.detail) for row in rows]


async def mark_announced(connection: AsyncConnection, entries: Sequence[Rekeyed], now: datetime) -> None:
    """The broker has these."""
    ids = [entry.ledger_id for entry in entries]
    moment = now.astimezone(UTC).replace(tzinfo=None)
    await connection.execute(update(TABLE).where(TABLE.c.id.in_(ids)).values(announced_at=moment))
