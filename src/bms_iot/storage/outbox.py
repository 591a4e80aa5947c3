"""Messages of `B/bulk` that wait for the broker's acknowledgement."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, delete, func, insert, select, tuple_

from bms_iot.domain.readings import Reading
from bms_iot.models.outbox import Outbox as OutboxTable
from bms_iot.storage import compact
from bms_iot.storage.compact import OutboxReading
from bms_iot.storage.database import Database

Key = tuple[int, int]
"""(boot, seq)"""

_table = OutboxTable.__table__  # type: ignore[attr-defined]
_KEY = tuple_(_table.c.boot, _table.c.seq)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMessage:
    """One message: `count` readings in the compact form."""

    boot: int
    seq: int
    count: int
    payload: bytes

    @property
    def key(self) -> Key:
        return self.boot, self.seq

    def readings(self) -> list[OutboxReading]:
        """Raises StorageError when the payload cannot be decoded."""
        return compact.decode(self.payload)


class Outbox:
    """The outbox of this boot and what earlier boots left. `messages` and `readings` count what waits."""

    def __init__(self, database: Database, boot: int) -> None:
        self._database, self._boot = database, boot
        self._seq = 0
        self.committed = 0
        """Readings kept since the start of this boot."""
        self.messages = 0
        self.readings = 0
        self.shrunk = asyncio.Event()
        """Set when messages leave; whoever waits for it clears it first."""

    async def open(self) -> None:
        """Count what earlier boots left."""
        async with self._database.snapshot() as connection:
            row = (await connection.execute(select(func.count(), func.coalesce(func.sum(_table.c.readings), 0)))).one()
        self.messages, self.readings = int(row[0]), int(row[1])

    async def append(self, batches: Sequence[Sequence[Reading]], *, created_at: datetime) -> list[Key]:
        """Keep each batch (at least one reading) as a message with the next `seq`, all in one transaction."""
        rows = [self._row(self._seq + 1 + at, batch, created_at) for at, batch in enumerate(batches)]
        if rows:
            async with self._database.transaction() as connection:
                await connection.execute(insert(_table), rows)
            self._seq += len(rows)
            self.committed += sum(map(len, batches))
            self.messages += len(rows)
            self.readings += sum(map(len, batches))
        return [(self._boot, int(row["seq"])) for row in rows]  # type: ignore[call-overload]

    async def following(self, after: Key, *, limit: int, until: Key | None = None) -> list[StoredMessage]:
        """The oldest messages with a key above `after` and not above `until`, in the order of (boot, seq)."""
        query = select(_table.c.boot, _table.c.seq, _table.c.readings, _table.c.payload).where(tuple_(*after) < _KEY)
        if until is not None:
            query = query.where(tuple_(*until) >= _KEY)
        async with self._database.snapshot() as connection:
            rows = (await connection.execute(query.order_by(_table.c.boot, _table.c.seq).limit(limit))).all()
        return [_message(row) for row in rows]

    def newest(self) -> Key:
        """The key of the newest message of this boot, kept or already delivered."""
        return self._boot, self._seq

    async def remove(self, messages: Sequence[StoredMessage]) -> None:
        """Forget messages that the broker has acknowledged."""
        if not messages:
            return
        async with self._database.transaction() as connection:
            await connection.execute(delete(_table).where(_KEY.in_([message.key for message in messages])))
        self.messages -= len(messages)
        self.readings -= sum(message.count for message in messages)
        self.shrunk.set()

    async def oldest_at(self) -> datetime | None:
        """When the oldest waiting reading was acquired, aware UTC; None when nothing waits."""
        if not self.messages:
            return None
        query = select(_table.c.first_at).order_by(_table.c.boot, _table.c.seq).limit(1)
        async with self._database.snapshot() as connection:
            oldest = (await connection.execute(query)).scalar()
        return None if oldest is None else oldest.replace(tzinfo=UTC)

    def _row(self, seq: int, readings: Sequence[Reading], created_at: datetime) -> dict[str, object]:
        first_at, last_at = compact.span(readings)
        return {
            "boot": self._boot,
            "seq": seq,
            "created_at": created_at.replace(tzinfo=None),
            "first_at": first_at.replace(tzinfo=None),
            "last_at": last_at.replace(tzinfo=None),
            "readings": len(readings),
            "payload": compact.encode(readings),
        }


def _message(row: Row[Any]) -> StoredMessage:
    return StoredMessage(boot=row.boot, seq=row.seq, count=row.readings, payload=bytes(row.payload))
