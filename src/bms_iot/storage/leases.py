"""`leases`: overrides that release themselves, one for each priority of a point."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bms_iot.models.columns import naive
from bms_iot.models.leases import Leases

KEPT_DAYS = 90

_table = Leases.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """An override of one priority of a point, by the command that wrote it. `boot` is the one whose monotonic clock counts it."""

    iot_device_point_id: str
    priority: int
    command_id: str
    boot: int
    value: str | None
    seconds: float
    granted_at: datetime
    attempts: int = 0
    last_error: str | None = None
    """Why the last attempt to release it failed."""

    @property
    def place(self) -> tuple[str, int]:
        """What it overrides: the point's key, and the priority."""
        return self.iot_device_point_id, self.priority

    @property
    def key(self) -> tuple[str, int, str]:
        """What tells it apart from earlier ones of the same place."""
        return self.iot_device_point_id, self.priority, self.command_id


async def grant(connection: AsyncConnection, lease: Lease) -> None:
    """Make this the lease of its place."""
    await forget(connection, lease)
    moment = naive(lease.granted_at)
    values = {
        "iot_device_point_id": lease.iot_device_point_id,
        "priority": lease.priority,
        "command_id": lease.command_id,
        "boot": lease.boot,
        "value": lease.value,
        "lease_seconds": lease.seconds,
        "granted_at": moment,
        "expires_at": moment + timedelta(seconds=lease.seconds),
        "attempts": lease.attempts,
        "last_error": lease.last_error,
        "updated_at": moment,
    }
    await connection.execute(insert(_table).values(values))


async def forget(connection: AsyncConnection, lease: Lease) -> None:
    """As if there had been none at its place."""
    await connection.execute(delete(_table).where(*_at(lease.place)))


async def active(connection: AsyncConnection) -> list[Lease]:
    """Those that override a point, as far as we know, the oldest first."""
    query = select(_table).where(_table.c.released_at.is_(None)).order_by(_table.c.granted_at)
    return [_read(row) for row in await connection.execute(query)]


async def active_at(connection: AsyncConnection, iot_device_point_id: str, priority: int) -> Lease | None:
    """The one of a place."""
    query = select(_table).where(*_at((iot_device_point_id, priority)), _table.c.released_at.is_(None))
    row = (await connection.execute(query)).first()
    return None if row is None else _read(row)


async def end(connection: AsyncConnection, place: tuple[str, int], outcome: Mapping[str, object], now: datetime) -> None:
    """The lease of this place is over: released, or no more ours to release; `outcome` says which."""
    values = {"released_at": naive(now), "outcome": dict(outcome), "last_error": None, "updated_at": naive(now)}
    await connection.execute(update(_table).where(*_at(place), _table.c.released_at.is_(None)).values(values))


async def note_failure(connection: AsyncConnection, lease: Lease, reason: str, now: datetime) -> None:
    """A release that did not succeed; it will be tried again."""
    values = {
        "attempts": _table.c.attempts + 1,
        "last_attempt_at": naive(now),
        "last_error": reason,
        "updated_at": naive(now),
    }
    await connection.execute(update(_table).where(*_at(lease.place), _table.c.released_at.is_(None)).values(values))


async def prune(connection: AsyncConnection, now: datetime) -> None:
    """Forget those that ended long ago."""
    await connection.execute(delete(_table).where(_table.c.released_at < naive(now - timedelta(days=KEPT_DAYS))))


def _at(place: tuple[str, int]) -> tuple[Any, Any]:
    return _table.c.iot_device_point_id == place[0], _table.c.priority == place[1]


def _read(row: Row[Any]) -> Lease:
    return Lease(
        iot_device_point_id=row.iot_device_point_id,
        priority=row.priority,
        command_id=row.command_id or "",
        boot=row.boot or 0,
        value=row.value,
        seconds=row.lease_seconds,
        granted_at=row.granted_at.replace(tzinfo=UTC),
        attempts=row.attempts,
        last_error=row.last_error,
    )
