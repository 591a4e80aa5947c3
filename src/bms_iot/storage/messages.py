"""Rows of `outbox`, `deliveries` and `gaps`: the queries behind `outbox.Outbox`."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import String, and_, bindparam, delete, exists, func, insert, select, tuple_, type_coerce, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bms_iot.domain.delivery import DeliveryState, Gap
from bms_iot.domain.readings import Reading
from bms_iot.models.deliveries import Deliveries
from bms_iot.models.gaps import Gaps
from bms_iot.models.outbox import Outbox as OutboxTable
from bms_iot.storage import compact
from bms_iot.storage.compact import OutboxReading

Key = tuple[int, int]
"""(boot, seq)"""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

outbox = OutboxTable.__table__  # type: ignore[attr-defined]
deliveries = Deliveries.__table__  # type: ignore[attr-defined]
gaps = Gaps.__table__  # type: ignore[attr-defined]

_KEY = tuple_(outbox.c.boot, outbox.c.seq)
_SETTLED = and_(deliveries.c.boot == outbox.c.boot, deliveries.c.seq == outbox.c.seq)
_WAITS = ~exists().where(_SETTLED)
_THIS_OUTBOX = and_(outbox.c.boot == bindparam("of_boot"), outbox.c.seq == bindparam("of_seq"))
_THIS_DELIVERY = and_(deliveries.c.boot == bindparam("of_boot"), deliveries.c.seq == bindparam("of_seq"))
# As text where the database keeps text: a date somebody spoiled must cost no more than its own row.
_MOMENTS = [type_coerce(outbox.c[name], String).label(name) for name in ("created_at", "first_at", "last_at")]
_HEAD = (outbox.c.boot, outbox.c.seq, outbox.c.readings, func.length(outbox.c.payload).label("size"), *_MOMENTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMessage:
    """One message: `count` readings in the compact form, acquired between `first_at` and `last_at` (aware UTC)."""

    boot: int
    seq: int
    count: int
    first_at: datetime
    last_at: datetime
    payload: bytes
    fresh: Sequence[Reading] | None = field(default=None, repr=False, compare=False)
    """The readings themselves, while they are still in memory."""

    @property
    def key(self) -> Key:
        return self.boot, self.seq

    def readings(self) -> list[OutboxReading]:
        """Raises StorageError when the payload cannot be decoded."""
        return compact.decode(self.payload)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A message without its payload."""

    key: Key
    count: int
    size: int
    """Octets of payload."""
    created_at: datetime
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What is kept, in rows and octets of disk, and what of it waits, in messages and readings."""

    rows: int
    disk_bytes: int
    messages: int
    readings: int


def disk_bytes(size: int) -> int:
    """About the octets of disk behind a payload of that many: leaf and overflow pages of SQLite, its index entry, its delivery."""
    record, page = size + 110, 4096
    if record > page - 35:
        rest = 489 + (record - 489) % (page - 4)
        local = rest if rest <= page - 35 else 489
        overflow = -(-(record - local) // (page - 4)) * page
        record = local
    else:
        overflow = 0
    return page // ((page - 12) // (record + 8)) + overflow + 120


async def totals(connection: AsyncConnection) -> Totals:
    """Looks at every row; for a start."""
    size = func.length(outbox.c.payload)
    sizes = (await connection.execute(select(size, func.count()).group_by(size))).all()
    waiting = select(func.count(), func.coalesce(func.sum(outbox.c.readings), 0)).where(_WAITS)
    messages, readings = (await connection.execute(waiting)).one()
    return Totals(
        rows=sum(count for _, count in sizes),
        disk_bytes=sum(disk_bytes(length) * count for length, count in sizes),
        messages=int(messages),
        readings=int(readings),
    )


async def waiting(connection: AsyncConnection, *, after: Key, until: Key | None, limit: int) -> list[StoredMessage]:
    """The oldest that wait above `after` and not above `until`, by (boot, seq)."""
    query = select(*_HEAD, outbox.c.payload).where(tuple_(*after) < _KEY, _WAITS)
    if until is not None:
        query = query.where(tuple_(*until) >= _KEY)
    rows = await connection.execute(query.order_by(outbox.c.boot, outbox.c.seq).limit(limit))
    return [_message(row) for row in rows]


async def kept(connection: AsyncConnection, *, boot: int, first_seq: int, last_seq: int, limit: int) -> list[StoredMessage]:
    """The first messages of a range, whether delivered or not, but for those set aside."""
    is_parked = exists().where(_SETTLED, type_coerce(deliveries.c.state, String) == DeliveryState.PARKED.name)
    query = select(*_HEAD, outbox.c.payload).where(outbox.c.boot == boot, outbox.c.seq.between(first_seq, last_seq), ~is_parked)
    return [_message(row) for row in await connection.execute(query.order_by(outbox.c.seq).limit(limit))]


async def one(connection: AsyncConnection, key: Key) -> StoredMessage | None:
    """The message, while it waits."""
    query = select(*_HEAD, outbox.c.payload).where(outbox.c.boot == key[0], outbox.c.seq == key[1], _WAITS)
    row = (await connection.execute(query)).first()
    return None if row is None else _message(row)


async def oldest_waiting(
    connection: AsyncConnection, *, after: Key, limit: int, lent: Collection[Key] = (), boots: bool = False
) -> list[Head]:
    """The oldest that wait above `after`, but for those that are `lent`; of real `boots` only, or of boot 0 as well."""
    query = select(*_HEAD).where(tuple_(*after) < _KEY, _WAITS)
    if boots:
        query = query.where(outbox.c.boot != 0)
    rows = await connection.execute(query.order_by(outbox.c.boot, outbox.c.seq).limit(limit + len(lent)))
    return [head for row in rows if (head := _head(row)).key not in lent]


async def oldest_settled(connection: AsyncConnection, *, limit: int) -> list[tuple[Head | None, Key, datetime]]:
    """The oldest that were delivered or set aside, with their key and when; None for a delivery whose message is gone."""
    settled = type_coerce(deliveries.c.delivered_at, String).label("delivered_at")
    key = deliveries.c.boot.label("of_boot"), deliveries.c.seq.label("of_seq")
    query = select(*key, settled, *_HEAD).select_from(deliveries.outerjoin(outbox, _SETTLED))
    rows = await connection.execute(query.order_by(deliveries.c.boot, deliveries.c.seq).limit(limit))
    return [(None if row.seq is None else _head(row), (row.of_boot, row.of_seq), _moment(row.delivered_at)) for row in rows]


async def insert_messages(connection: AsyncConnection, rows: Sequence[dict[str, object]]) -> None:
    if rows:
        await connection.execute(insert(outbox), rows)


async def settle(
    connection: AsyncConnection, keys: Iterable[Key], now: datetime, state: DeliveryState = DeliveryState.DELIVERED
) -> None:
    """Say that these need no delivery any more."""
    moment = now.astimezone(UTC).replace(tzinfo=None)
    rows = [{"boot": boot, "seq": seq, "delivered_at": moment, "state": state} for boot, seq in keys]
    if rows:
        await remove_deliveries(connection, [(row["boot"], row["seq"]) for row in rows])
        await connection.execute(insert(deliveries), rows)


async def remove(connection: AsyncConnection, keys: Sequence[Key]) -> None:
    """Forget messages and what is known of their delivery."""
    if keys:
        await connection.execute(delete(outbox).where(_THIS_OUTBOX), [{"of_boot": boot, "of_seq": seq} for boot, seq in keys])
        await remove_deliveries(connection, keys)


async def remove_deliveries(connection: AsyncConnection, keys: Sequence[Any]) -> None:
    await connection.execute(delete(deliveries).where(_THIS_DELIVERY), [{"of_boot": boot, "of_seq": seq} for boot, seq in keys])


async def shorten(connection: AsyncConnection, key: Key, readings: Sequence[Reading]) -> None:
    """Leave these of a message's readings in it."""
    this = outbox.c.boot == key[0], outbox.c.seq == key[1]
    values = {"payload": compact.encode(readings), "readings": len(readings)}
    await connection.execute(update(outbox).where(*this).values(values))


async def record_gaps(
    connection: AsyncConnection, heads: Sequence[Head], reason: str, now: datetime, held: Collection[Key] = ()
) -> None:
    """Note that these messages, in order of their keys, will not come; one gap for each run of seqs.

    A run that follows a gap that was not announced yet, and is not `held` by who announces it, makes that gap longer.
    """
    for run in _runs(heads):
        if not await _lengthen(connection, run, held):
            row = {name: _column(value) for name, value in _fields(run).items()}
            await connection.execute(insert(gaps).values(**row, reason=reason, created_at=_column(now)))


async def _lengthen(connection: AsyncConnection, run: Gap, held: Collection[Key]) -> bool:
    before = gaps.c.boot == run.boot, gaps.c.last_seq == run.first_seq - 1, gaps.c.announced_at.is_(None)
    row = (await connection.execute(select(*_GAP).where(*before))).first()
    if row is None or (row.boot, row.first_seq) in held:
        return False
    known = _gap(row)
    values = {
        "last_seq": run.last_seq,
        "readings": known.readings + run.readings,
        "first_at": _column(min(known.first_at, run.first_at)),
        "last_at": _column(max(known.last_at, run.last_at)),
    }
    await connection.execute(update(gaps).where(gaps.c.boot == known.boot, gaps.c.first_seq == known.first_seq).values(values))
    return True


async def unannounced(connection: AsyncConnection, limit: int) -> list[Gap]:
    """The oldest gaps the cloud does not know of."""
    query = select(*_GAP).where(gaps.c.announced_at.is_(None)).order_by(gaps.c.boot, gaps.c.first_seq).limit(limit)
    return [_gap(row) for row in await connection.execute(query)]


async def mark_announced(connection: AsyncConnection, announced: Gap, now: datetime) -> None:
    this = gaps.c.boot == announced.boot, gaps.c.first_seq == announced.first_seq
    await connection.execute(update(gaps).where(*this).values(announced_at=_column(now)))


async def forget_gaps(connection: AsyncConnection, keep: int) -> None:
    """Keep the newest of those that were announced."""
    told = gaps.c.announced_at.is_not(None)
    newest = select(gaps.c.boot, gaps.c.first_seq).where(told).order_by(gaps.c.boot.desc(), gaps.c.first_seq.desc())
    if oldest := (await connection.execute(newest.offset(keep).limit(1))).first():
        await connection.execute(delete(gaps).where(told, tuple_(gaps.c.boot, gaps.c.first_seq) <= tuple_(*oldest)))


_GAP = (
    gaps.c.boot,
    gaps.c.first_seq,
    gaps.c.last_seq,
    gaps.c.readings,
    *(type_coerce(gaps.c[name], String).label(name) for name in ("first_at", "last_at")),
)


def _runs(heads: Iterable[Head]) -> list[Gap]:
    runs: list[Gap] = []
    for head in heads:
        own = Gap(
            boot=head.key[0],
            first_seq=head.key[1],
            last_seq=head.key[1],
            readings=head.count,
            first_at=head.first_at,
            last_at=head.last_at,
        )
        if runs and runs[-1].boot == own.boot and runs[-1].last_seq + 1 == own.first_seq:
            own = runs.pop().followed_by(own)
        runs.append(own)
    return runs


def _fields(gap: Gap) -> dict[str, object]:
    return {name: getattr(gap, name) for name in ("boot", "first_seq", "last_seq", "readings", "first_at", "last_at")}


def _column(value: object) -> object:
    return value.astimezone(UTC).replace(tzinfo=None) if isinstance(value, datetime) else value


def _gap(row: Any) -> Gap:
    return Gap(
        boot=row.boot,
        first_seq=row.first_seq,
        last_seq=row.last_seq,
        readings=row.readings,
        first_at=_moment(row.first_at),
        last_at=_moment(row.last_at),
    )


def _head(row: Any) -> Head:
    created_at = _moment(row.created_at)
    return Head(
        key=(row.boot, row.seq),
        count=int(row.readings),
        size=int(row.size),
        created_at=created_at,
        first_at=_moment(row.first_at, created_at),
        last_at=_moment(row.last_at, created_at),
    )


def _message(row: Any) -> StoredMessage:
    head = _head(row)
    return StoredMessage(
        boot=row.boot, seq=row.seq, count=head.count, first_at=head.first_at, last_at=head.last_at, payload=bytes(row.payload)
    )


def _moment(value: object, otherwise: datetime = EPOCH) -> datetime:
    """Aware UTC, from a database's own kind or from text; `otherwise` where it is no date."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return otherwise
    if not isinstance(value, datetime):
        return otherwise
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
