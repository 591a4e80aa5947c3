"""`commands`: the journal of what was asked for, kept before the broker is told that it arrived, and of what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Row, String, delete, func, insert, or_, select, type_coerce, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bms_iot.domain.commands import JournalState
from bms_iot.models.columns import naive
from bms_iot.models.commands import Commands

KEPT_COMMANDS = 10_000
KEPT_DAYS = 90
KEPT_WHATEVER_THEIR_AGE = 1_000
"""A clock that was set late makes everything look old; what may still come again must be found."""
PRUNED_EVERY = 256

_table = Commands.__table__  # type: ignore[attr-defined]
_STATE = type_coerce(_table.c.state, String).label("state_name")
_IS_FINAL = _STATE.in_([state.name for state in JournalState if state.is_final])


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A command that came in; `refusal` is its outcome where it is refused at once."""

    name: str
    command_id: str
    boot: int
    source: str = "mqtt"
    request: Mapping[str, object] | None = None
    digest: str | None = None
    expires_at: datetime | None = None
    iot_device_point_id: str | None = None
    refused: JournalState | None = None
    refusal: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A row of the journal; times are aware UTC."""

    id: int
    name: str
    command_id: str
    source: str | None
    boot: int | None
    request: Mapping[str, Any]
    digest: str | None
    iot_device_point_id: str | None
    state: JournalState
    received_at: datetime
    expires_at: datetime | None
    started_at: datetime | None
    written_at: datetime | None
    """From here on a BACnet write may have been sent."""
    finished_at: datetime | None
    answered_at: datetime | None
    outcome: Mapping[str, Any] | None
    """The answer as it is published."""
    attempts: int
    duplicates: int


async def receive(connection: AsyncConnection, arrival: Arrival, now: datetime) -> tuple[Entry, bool]:
    """Journal a command; the answer is its entry, and whether it is new. One that is known is counted, and left as it is."""
    known = select(_table.c.id).where(_table.c.name == arrival.name, _table.c.command_id == arrival.command_id)
    row_id = (await connection.execute(known)).scalar()
    if row_id is not None:
        counted = update(_table).where(_table.c.id == row_id).values(duplicates=_table.c.duplicates + 1, updated_at=naive(now))
        await connection.execute(counted)
        return await _entry(connection, row_id), False
    moment = naive(now)
    values = {
        "name": arrival.name,
        "command_id": arrival.command_id,
        "source": arrival.source,
        "received_at": moment,
        "expires_at": None if arrival.expires_at is None else naive(arrival.expires_at),
        "boot": arrival.boot,
        "request": None if arrival.request is None else dict(arrival.request),
        "request_digest": arrival.digest,
        "iot_device_point_id": arrival.iot_device_point_id,
        "state": arrival.refused or JournalState.RECEIVED,
        "finished_at": None if arrival.refused is None else moment,
        "outcome": None if arrival.refusal is None else dict(arrival.refusal),
        "updated_at": moment,
    }
    new_id = (await connection.execute(insert(_table).values(values).returning(_table.c.id))).scalar_one()
    if new_id % PRUNED_EVERY == 0:
        await prune(connection, now)
    return await _entry(connection, new_id), True


async def start(
    connection: AsyncConnection, entry_id: int, now: datetime, *, request: Mapping[str, object] | None = None, writes: bool = False
) -> bool:
    """Note that a command is begun, and with `writes` that from now on it may have been written; false when it has ended."""
    moment = naive(now)
    values: dict[str, object] = {"state": JournalState.STARTED, "started_at": moment, "updated_at": moment}
    if writes:
        values["written_at"] = moment
    if request is not None:
        values["request"] = dict(request)
    return await _advance(connection, entry_id, JournalState.STARTED, values)


async def finish(
    connection: AsyncConnection, entry_id: int, state: JournalState, outcome: Mapping[str, object], now: datetime
) -> bool:
    """Note how a command ended; false when it had ended before, which changes nothing."""
    moment = naive(now)
    values = {"state": state, "outcome": dict(outcome), "finished_at": moment, "updated_at": moment}
    return await _advance(connection, entry_id, state, values)


async def _advance(connection: AsyncConnection, entry_id: int, state: JournalState, values: Mapping[str, object]) -> bool:
    before = [known.name for known in JournalState.before(state)]
    changed = await connection.execute(update(_table).where(_table.c.id == entry_id, _STATE.in_(before)).values(values))
    return bool(changed.rowcount)


async def mark_answered(connection: AsyncConnection, entry_id: int, attempts: int, now: datetime) -> None:
    """The broker has the answer; it was published `attempts` times since it was last noted."""
    values = {"answered_at": naive(now), "attempts": _table.c.attempts + attempts, "updated_at": naive(now)}
    await connection.execute(update(_table).where(_table.c.id == entry_id).values(values))


async def unanswered(connection: AsyncConnection, limit: int) -> list[Entry]:
    """Ended and not answered, in the order in which they arrived."""
    return await _entries(connection, _IS_FINAL, _table.c.answered_at.is_(None), limit=limit)


async def unfinished(connection: AsyncConnection) -> list[Entry]:
    """Journalled and not ended, in the order in which they arrived."""
    return await _entries(connection, ~_IS_FINAL)


async def find(connection: AsyncConnection, entry_id: int) -> Entry:
    return await _entry(connection, entry_id)


async def newest(connection: AsyncConnection, limit: int, name: str | None = None) -> list[Entry]:
    """The newest commands, the newest first."""
    query = select(_table, _STATE).order_by(_table.c.id.desc()).limit(limit)
    if name is not None:
        query = query.where(_table.c.name == name)
    return [_read(row) for row in await connection.execute(query)]


async def prune(connection: AsyncConnection, now: datetime) -> None:
    """Forget what is old or too much: what is not answered stays, and so do the newest whatever their age."""
    newest_id = (await connection.execute(select(func.max(_table.c.id)))).scalar() or 0
    is_old = (_table.c.received_at < naive(now - timedelta(days=KEPT_DAYS))) & (_table.c.id <= newest_id - KEPT_WHATEVER_THEIR_AGE)
    is_settled = _IS_FINAL & _table.c.answered_at.is_not(None)
    await connection.execute(delete(_table).where(is_settled, or_(is_old, _table.c.id <= newest_id - KEPT_COMMANDS)))


async def counts(connection: AsyncConnection) -> dict[JournalState, int]:
    """How many commands of each state there are."""
    rows = await connection.execute(select(_STATE, func.count()).group_by(_STATE))
    return {JournalState[name]: number for name, number in rows if name in JournalState.__members__}


async def _entries(connection: AsyncConnection, *conditions: Any, limit: int | None = None) -> list[Entry]:
    query = select(_table, _STATE).where(*conditions).order_by(_table.c.id)
    return [_read(row) for row in await connection.execute(query if limit is None else query.limit(limit))]


async def _entry(connection: AsyncConnection, entry_id: int) -> Entry:
    return _read((await connection.execute(select(_table, _STATE).where(_table.c.id == entry_id))).one())


def _read(row: Row[Any]) -> Entry:
    return Entry(
        id=row.id,
        name=row.name,
        command_id=row.command_id,
        source=row.source,
        boot=row.boot,
        request=row.request or {},
        digest=row.request_digest,
        iot_device_point_id=row.iot_device_point_id,
        state=JournalState[row.state_name],
        received_at=row.received_at.replace(tzinfo=UTC),
        expires_at=_aware(row.expires_at),
        started_at=_aware(row.started_at),
        written_at=_aware(row.written_at),
        finished_at=_aware(row.finished_at),
        answered_at=_aware(row.answered_at),
        outcome=row.outcome,
        attempts=row.attempts,
        duplicates=row.duplicates,
    )


def _aware(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)
