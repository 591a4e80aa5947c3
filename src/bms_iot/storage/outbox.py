"""Messages of `B/bulk` that wait for the broker's acknowledgement."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Executable, Row, Select, delete, func, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bms_iot.domain.readings import Reading
from bms_iot.models.outbox import Outbox as OutboxTable
from bms_iot.storage import compact
from bms_iot.storage.compact import OutboxReading
from bms_iot.storage.database import Database, uninterrupted

Key = tuple[int, int]
"""(boot, seq)"""

_table = OutboxTable.__table__  # type: ignore[attr-defined]
_KEY = tuple_(_table.c.boot, _table.c.seq)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMessage:
    """One message: `count` readings in the compact form, acquired between `first_at` and `last_at` (aware UTC)."""

    boot: int
    seq: int
    count: int
    first_at: datetime
    last_at: datetime
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
        self._numbering = asyncio.Lock()
        self.committed = 0
        """Readings kept since the start of this boot."""
        self.messages = 0
        self.readings = 0
        self.shrunk = asyncio.Event()
        """Set when messages leave; whoever waits for it clears it first."""

    async def open(self) -> None:
        """Count what earlier boots left."""
        self.messages, self.readings = await self._database.read(_totals)

    async def append(self, batches: Sequence[Sequence[Reading]], *, created_at: datetime) -> list[Key]:
        """Keep each batch (at least one reading) as a message with the next `seq`, all in one transaction."""
        return await uninterrupted(self._append(batches, created_at)) if batches else []

    async def _append(self, batches: Sequence[Sequence[Reading]], created_at: datetime) -> list[Key]:
        async with self._numbering:
            keys = [(self._boot, self._seq + 1 + at) for at in range(len(batches))]
            rows = [self._row(seq, batch, created_at) for (_, seq), batch in zip(keys, batches, strict=True)]
            await self._database.write(_execute, insert(_table), rows)
            self._seq += len(rows)
        self.committed += sum(map(len, batches))
        self.messages += len(rows)
        self.readings += sum(map(len, batches))
        return keys

    async def split(self, message: StoredMessage) -> None:
        """Make two of a message of at least two readings that nobody has received: its second half gets the next `seq`.

        Raises StorageError when it cannot be decoded.
        """
        await uninterrupted(self._split(message))

    async def _split(self, message: StoredMessage) -> None:
        first, second = compact.halves(message.payload)
        async with self._numbering:
            row = self._row(self._seq + 1, second, message.last_at)
            shorter = (
                update(_table)
                .where(_table.c.boot == message.boot, _table.c.seq == message.seq)
                .values(payload=compact.encode(first), readings=len(first))
            )
            await self._database.write(_replace, shorter, row)
            self._seq += 1
        self.messages += 1

    async def following(self, after: Key, *, limit: int, until: Key | None = None) -> list[StoredMessage]:
        """The oldest messages with a key above `after` and not above `until`, in the order of (boot, seq)."""
        query = select(_table).where(tuple_(*after) < _KEY)
        if until is not None:
            query = query.where(tuple_(*until) >= _KEY)
        return await self._database.read(_messages, query.order_by(_table.c.boot, _table.c.seq).limit(limit))

    def newest(self) -> Key:
        """The key of the newest message of this boot, kept or already delivered."""
        return self._boot, self._seq

    async def remove(self, messages: Sequence[StoredMessage]) -> None:
        """Forget messages that the broker has acknowledged."""
        if messages:
            await uninterrupted(self._remove(messages))

    async def _remove(self, messages: Sequence[StoredMessage]) -> None:
        await self._database.write(_execute, delete(_table).where(_KEY.in_([message.key for message in messages])))
        self.messages -= len(messages)
        self.readings -= sum(message.count for message in messages)
        self.shrunk.set()

    async def oldest_at(self) -> datetime | None:
        """When the oldest waiting reading was acquired, aware UTC; None when nothing waits."""
        if not self.messages:
            return None
        oldest = await self._database.read(_oldest)
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


async def _totals(connection: AsyncConnection) -> tuple[int, int]:
    row = (await connection.execute(select(func.count(), func.coalesce(func.sum(_table.c.readings), 0)))).one()
    return int(row[0]), int(row[1])


async def _oldest(connection: AsyncConnection) -> datetime | None:
    query = select(_table.c.first_at).order_by(_table.c.boot, _table.c.seq).limit(1)
    return (await connection.execute(query)).scalar()


async def _messages(connection: AsyncConnection, query: Select[Any]) -> list[StoredMessage]:
    return [_message(row) for row in await connection.execute(query)]


async def _execute(connection: AsyncConnection, statement: Executable, rows: list[dict[str, object]] | None = None) -> None:
    await connection.execute(statement, rows)


async def _replace(connection: AsyncConnection, shorter: Executable, row: dict[str, object]) -> None:
    await connection.execute(shorter)
    await connection.execute(insert(_table), row)


def _message(row: Row[Any]) -> StoredMessage:
    return StoredMessage(
        boot=row.boot,
        seq=row.seq,
        count=row.readings,
        first_at=row.first_at.replace(tzinfo=UTC),
        last_at=row.last_at.replace(tzinfo=UTC),
        payload=bytes(row.payload),
    )
