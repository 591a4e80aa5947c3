"""`traffic`: what went over the wire, by day (UTC)."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bms_iot.models.traffic import Traffic

KEPT_DAYS = 400
_table = Traffic.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True, kw_only=True)
class DayTraffic:
    """Octets of MQTT packets of one day, without TLS and TCP, and what of it was acknowledged on `B/bulk`."""

    day: date
    sent_bytes: int = 0
    received_bytes: int = 0
    messages: int = 0
    readings: int = 0


async def load(connection: AsyncConnection, days: int) -> list[DayTraffic]:
    """The newest days, the newest first."""
    columns = (_table.c.day, _table.c.sent_bytes, _table.c.received_bytes, _table.c.messages, _table.c.readings)
    rows = await connection.execute(select(*columns).order_by(_table.c.day.desc()).limit(days))
    return [DayTraffic(day=r[0], sent_bytes=r[1], received_bytes=r[2], messages=r[3], readings=r[4]) for r in rows]


async def add(connection: AsyncConnection, more: DayTraffic, now: datetime) -> None:
    """Add to what is known of that day; forget what is more than a year ago."""
    moment = now.astimezone(UTC).replace(tzinfo=None)
    counts = {name: getattr(more, name) for name in ("sent_bytes", "received_bytes", "messages", "readings")}
    this = _table.c.day == more.day
    grown = {name: _table.c[name] + count for name, count in counts.items()}
    changed = await connection.execute(update(_table).where(this).values(**grown, updated_at=moment))
    if not changed.rowcount:
        await connection.execute(insert(_table).values(day=more.day, **counts, updated_at=moment))
        await connection.execute(delete(_table).where(_table.c.day < more.day - timedelta(days=KEPT_DAYS)))
