"""`history`: what points were, on the device itself. Written at its newer end, pruned at its older one."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import String, delete, func, select, type_coerce, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from bms_iot.domain.readings import Quality
from bms_iot.models.history import History
from bms_iot.storage.database import Database

_table = History.__table__  # type: ignore[attr-defined]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
ROW_BYTES = 36
"""About what a row takes on disk: its record, its cell, and the room a page leaves."""
PAGE_ROWS = 2_000
"""Rows read in one transaction: a long one would keep the log of the database from being emptied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A point's value at a time (aware UTC)."""

    acquired_at: datetime
    point_id: int
    present_value: str | None
    quality: Quality


async def insert(connection: AsyncConnection, entries: Sequence[Entry]) -> int:
    """Keep these; an entry of the same point and time is passed over. The answer is how many were kept."""
    if not entries:
        return 0
    rows = [
        {
            "acquired_at": microseconds(entry.acquired_at),
            "point_id": entry.point_id,
            "present_value": entry.present_value,
            "quality": entry.quality,
        }
        for entry in entries
    ]
    make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    await connection.execute(make(_table).on_conflict_do_nothing(), rows)
    return len(rows)


async def redate(connection: AsyncConnection, since: datetime, until: datetime, shift: timedelta) -> None:
    """The entries of that time are of another: move them by `shift`."""
    at = _table.c.acquired_at
    of_that_time = at.between(microseconds(since), microseconds(until))
    # Below zero first, where nothing is: on its way an entry may pass the place of another.
    await connection.execute(update(_table).where(of_that_time).values(acquired_at=-(at + shift // _MICROSECOND)))
    await connection.execute(update(_table).where(at < 0).values(acquired_at=-at))


async def count(connection: AsyncConnection) -> int:
    return int((await connection.execute(select(func.count()).select_from(_table))).scalar_one())


async def forget_before(connection: AsyncConnection, moment: datetime, at_most: int) -> int:
    """Forget the oldest entries before that moment; the answer is how many."""
    return await _forget(connection, await _nth(connection, at_most), microseconds(moment))


async def forget_oldest(connection: AsyncConnection, number: int) -> int:
    """Forget about that many, the oldest; the answer is how many."""
    return await _forget(connection, await _nth(connection, number), None)


async def _nth(connection: AsyncConnection, number: int) -> int | None:
    query = select(_table.c.acquired_at).order_by(_table.c.acquired_at).offset(number).limit(1)
    return (await connection.execute(query)).scalar()


async def _forget(connection: AsyncConnection, *before: int | None) -> int:
    limits = [_table.c.acquired_at < limit for limit in before if limit is not None]
    return (await connection.execute(delete(_table).where(*limits))).rowcount


async def read(database: Database, point_id: int, *, since: datetime, until: datetime) -> AsyncIterator[Entry]:
    """The entries of a point from `since` (inclusive) until `until` (exclusive), oldest first, a page at a time."""
    start, end = microseconds(since), microseconds(until)
    while page := await database.read(_page, point_id, start, end):
        for entry in page:
            yield entry
        start = microseconds(page[-1].acquired_at) + 1


async def _page(connection: AsyncConnection, point_id: int, start: int, end: int) -> list[Entry]:
    quality = type_coerce(_table.c.quality, String)
    query = select(_table.c.acquired_at, _table.c.present_value, quality).where(
        _table.c.acquired_at >= start, _table.c.acquired_at < end, _table.c.point_id == point_id
    )
    rows = (await connection.execute(query.order_by(_table.c.acquired_at).limit(PAGE_ROWS))).all()
    return [
        Entry(
            acquired_at=_EPOCH + row[0] * _MICROSECOND,
            point_id=point_id,
            present_value=row[1],
            quality=Quality.__members__.get(row[2], Quality.UNCERTAIN),
        )
        for row in rows
    ]


def microseconds(moment: datetime) -> int:
    """Since 1970; the moment is aware."""
    return (moment - _EPOCH) // _MICROSECOND
