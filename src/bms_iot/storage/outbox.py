"""Messages of `B/bulk` that wait for the broker's acknowledgement, and those delivered lately, for a replay."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from bms_iot.domain.dates import Dates
from bms_iot.domain.delivery import Bounds, DeliveryState, Gap
from bms_iot.domain.readings import Reading
from bms_iot.storage import compact, messages
from bms_iot.storage.database import Database, uninterrupted
from bms_iot.storage.messages import Head, Key, StoredMessage, disk_bytes

__all__ = ["FIRST", "Key", "Outbox", "StoredMessage"]

log = structlog.get_logger()

FIRST: Final[Key] = (-1, 0)
"""Below every key."""
FRESH_READINGS: Final = 50_000
"""So many of the newest are kept in memory as well, for live delivery."""
EVICT_AT_ONCE: Final = 256
PRUNE_ROUNDS: Final = 40
"""Bounds the time one pruning takes."""
SETTLE_AFTER: Final = timedelta(seconds=30)
"""What was acknowledged for so long is noted with the next message; each time it is, costs a page of the disk."""
LOG_BYTES: Final = 5 << 20
"""What SQLite writes beside the file before it carries it over."""
KEPT_GAPS: Final = 1000
CLOCK_WAS_SET: Final = datetime(2025, 1, 1, tzinfo=UTC)
"""What claims to be older than this software was written before the clock was set: its age is not known."""
_DEFAULT_BOUNDS: Final = Bounds()


class Outbox:
    """The outbox of this boot and what earlier boots left. `messages` and `readings` count what waits.

    What the broker acknowledged is noted in the database with a later message, or by `settle`: a crash between delivers it twice,
    never not at all.
    """

    def __init__(self, database: Database, boot: int, bounds: Bounds = _DEFAULT_BOUNDS) -> None:
        self._database, self._boot, self._bounds = database, boot, bounds
        self._max_bytes = max(bounds.max_bytes - LOG_BYTES, bounds.max_bytes // 2)
        self._seq = 0
        self._numbering = asyncio.Lock()
        self._acknowledged: dict[Key, datetime] = {}
        self._fresh: deque[StoredMessage] = deque()
        self._fresh_readings = 0
        self._low = FIRST
        """Nothing waits at or below."""
        self._announcing: set[Key] = set()
        self._lent: set[Key] = set()
        self.committed = 0
        """Readings kept since the start of this boot."""
        self.evicted = 0
        """Readings given up since the start of this boot."""
        self.messages = 0
        self.readings = 0
        self.rows = 0
        """Messages in the database, delivered ones included."""
        self.disk_bytes = 0
        """About the room they take."""
        self.dates: Callable[[], Dates] = Dates
        """Which messages were dated before the clock was trusted; set by whoever knows."""
        self.shrunk = asyncio.Event()
        """Set when messages leave; whoever waits for it clears it first."""
        self.gapped = asyncio.Event()
        """Set when there may be gaps to announce."""

    async def open(self) -> None:
        """Count what earlier boots left."""
        found = await self._database.read(messages.totals)
        self.rows, self.disk_bytes, self.messages, self.readings = found.rows, found.disk_bytes, found.messages, found.readings
        self.gapped.set()

    async def append(self, batches: Sequence[Sequence[Reading]], *, created_at: datetime) -> list[Key]:
        """Keep each batch (at least one reading) as a message with the next `seq`, all in one transaction."""
        return await uninterrupted(self._append(batches, created_at)) if batches else []

    async def _append(self, batches: Sequence[Sequence[Reading]], created_at: datetime) -> list[Key]:
        async with self._numbering:
            kept = [self._message(self._seq + 1 + at, batch) for at, batch in enumerate(batches)]
            await self._make_room(kept, created_at)
            await self._write([_row(message, created_at) for message in kept], settles=self._is_settling_due(created_at))
            self._seq += len(kept)
            for message in kept:
                self._count(message)
        self.committed += sum(message.count for message in kept)
        return [message.key for message in kept]

    async def split(self, message: StoredMessage) -> Key:
        """Make two of a message of at least two readings that nobody has received: its second half gets the next `seq`, the answer.

        Raises StorageError when it cannot be decoded.
        """
        return await uninterrupted(self._split(message))

    async def _split(self, message: StoredMessage) -> Key:
        first, second = compact.halves(message.payload)
        async with self._numbering:
            added = self._message(self._seq + 1, second)

            async def replace(connection: AsyncConnection) -> None:
                await messages.shorten(connection, message.key, first)
                await messages.insert_messages(connection, [_row(added, message.last_at)])

            await self._database.write(replace)
            self._seq += 1
            self._forget_fresh()
            self._count(added)
            self.readings -= added.count
        return added.key

    async def following(self, after: Key, *, limit: int, until: Key | None = None) -> list[StoredMessage]:
        """The oldest that wait with a key above `after` and not above `until`, in the order of (boot, seq)."""
        if until is None and (fresh := self._following_fresh(after, limit)):
            return fresh
        from_start = after <= self._low
        found: list[StoredMessage] = []
        after = max(after, self._low)
        while not found:
            stored = await self._database.read(messages.waiting, after=after, until=until, limit=limit)
            found = [message for message in stored if message.key not in self._acknowledged]
            if len(stored) < limit:
                break
            after = stored[-1].key
        if from_start and found:
            self._low = found[0].boot, found[0].seq - 1
        return found

    @asynccontextmanager
    async def lend(self, after: Key, *, limit: int, until: Key | None = None) -> AsyncIterator[list[StoredMessage]]:
        """As `following`; until they are given back none of them is given up."""
        async with self._numbering:
            found = await self.following(after, limit=limit, until=until)
            keys = {message.key for message in found}
            self._lent |= keys
        try:
            yield found
        finally:
            self._lent -= keys

    @asynccontextmanager
    async def lend_one(self, key: Key) -> AsyncIterator[StoredMessage | None]:
        """As `waiting`; until it is given back it is not given up."""
        async with self._numbering:
            found = await self.waiting(key)
            self._lent.add(key)
        try:
            yield found
        finally:
            self._lent.discard(key)

    async def waiting(self, key: Key) -> StoredMessage | None:
        """That message, while it waits."""
        return None if key in self._acknowledged else await self._database.read(messages.one, key)

    async def kept(self, boot: int, first_seq: int, last_seq: int, *, limit: int) -> list[StoredMessage]:
        """The first messages of a range that are still there, delivered or not, but for those set aside."""
        return await self._database.read(messages.kept, boot=boot, first_seq=first_seq, last_seq=last_seq, limit=limit)

    def is_acknowledged(self, key: Key) -> bool:
        """Whether the broker has it, which is not written down yet."""
        return key in self._acknowledged

    def newest(self) -> Key:
        """The key of the newest message of this boot, kept or already delivered."""
        return self._boot, self._seq

    def acknowledge(self, delivered: Iterable[StoredMessage], now: datetime) -> None:
        """The broker has these, each of which waited; `settle` or the next message writes it down."""
        for message in delivered:
            self._acknowledged[message.key] = now
            self.messages -= 1
            self.readings -= message.count
        while self._fresh and self._fresh[0].key in self._acknowledged:
            self._fresh_readings -= self._fresh.popleft().count
        self.shrunk.set()

    async def settle(self) -> None:
        """Write down what was acknowledged."""
        if self._acknowledged:
            await uninterrupted(self._settle())

    async def _settle(self) -> None:
        async with self._numbering:
            await self._write([])

    async def park(self, message: StoredMessage, reason: str, now: datetime) -> None:
        """Deliver this one no more: it stays for the replay window, and a gap is announced in its place."""
        await uninterrupted(self._park(message, reason, now))

    async def _park(self, message: StoredMessage, reason: str, now: datetime) -> None:
        head = Head(
            key=message.key,
            count=message.count,
            size=len(message.payload),
            created_at=now,
            first_at=message.first_at,
            last_at=message.last_at,
        )

        async def set_aside(connection: AsyncConnection) -> None:
            await messages.settle(connection, [message.key], now, DeliveryState.PARKED)
            await messages.record_gaps(connection, [head], reason, now, self._announcing)

        async with self._numbering:
            await self._database.write(set_aside)
        self._given_up([head])

    @asynccontextmanager
    async def unannounced_gaps(self, at_most: int = 100) -> AsyncIterator[list[Gap]]:
        """The oldest gaps that are not announced yet; meanwhile they do not grow."""
        async with self._numbering:
            found = await self._database.read(messages.unannounced, at_most)
            keys = {(gap.boot, gap.first_seq) for gap in found}
            self._announcing |= keys
        try:
            yield found
        finally:
            self._announcing -= keys

    async def announce(self, gap: Gap, now: datetime) -> None:
        """The broker has the announcement."""
        await self._database.write(messages.mark_announced, gap, now)

    async def oldest_at(self) -> datetime | None:
        """When the oldest waiting reading was acquired, aware UTC; None when nothing waits, or nobody knows."""
        if not self.messages:
            return None
        oldest = await self.following(FIRST, limit=1, until=self.newest())
        return self.dates().right(*oldest[0].key, oldest[0].first_at) if oldest else None

    async def prune(self, now: datetime) -> None:
        """Forget what was delivered before the replay window, and give up what waits for longer than it may."""
        await self.settle()
        for _ in range(PRUNE_ROUNDS):
            async with self._numbering:
                if not await uninterrupted(self._evict_settled(now - self._bounds.replay)):
                    break
        for _ in range(PRUNE_ROUNDS):
            async with self._numbering:
                if not await uninterrupted(self._evict_aged(now)):
                    break
        await self._database.write(messages.forget_gaps, KEPT_GAPS)

    def _message(self, seq: int, readings: Sequence[Reading]) -> StoredMessage:
        first_at, last_at = compact.span(readings)
        payload = compact.encode(readings)
        return StoredMessage(
            boot=self._boot, seq=seq, count=len(readings), first_at=first_at, last_at=last_at, payload=payload, fresh=readings
        )

    def _count(self, message: StoredMessage) -> None:
        self.messages += 1
        self.readings += message.count
        self.rows += 1
        self.disk_bytes += disk_bytes(len(message.payload))
        self._fresh.append(message)
        self._fresh_readings += message.count
        while self._fresh_readings > FRESH_READINGS:
            self._fresh_readings -= self._fresh.popleft().count

    def _following_fresh(self, after: Key, limit: int) -> list[StoredMessage]:
        if not self._fresh or not self._fresh[0].key <= (after[0], after[1] + 1) or after[0] != self._boot:
            return []
        start = after[1] + 1 - self._fresh[0].seq
        newest = [self._fresh[at] for at in range(start, min(start + limit, len(self._fresh)))]
        return [message for message in newest if message.key not in self._acknowledged]

    def _forget_fresh(self) -> None:
        self._fresh.clear()
        self._fresh_readings = 0

    def _is_settling_due(self, now: datetime) -> bool:
        return bool(self._acknowledged) and abs(now - next(iter(self._acknowledged.values()))) >= SETTLE_AFTER

    async def _write(self, rows: Sequence[dict[str, object]], *, settles: bool = True) -> None:
        """One transaction: what was acknowledged, if it `settles`, and these messages. `_numbering` is held."""
        done = dict(self._acknowledged) if settles else {}

        async def write(connection: AsyncConnection) -> None:
            for moment in sorted(set(done.values())):
                await messages.settle(connection, [key for key, at in done.items() if at == moment], moment)
            await messages.insert_messages(connection, rows)

        await self._database.write(write)
        for key in done:
            del self._acknowledged[key]

    async def _make_room(self, added: Sequence[StoredMessage], now: datetime) -> None:
        need = sum(disk_bytes(len(message.payload)) for message in added)
        while self._is_over(len(added), need):
            if self._acknowledged:
                await self._write([])
            if not await self._evict_settled(None) and not await self._evict_waiting(len(added), need, now):
                return

    def _is_over(self, rows: int, size: int) -> bool:
        return self.rows + rows > self._bounds.max_rows or self.disk_bytes + size > self._max_bytes

    async def _evict_settled(self, before: datetime | None) -> int:
        """Forget the oldest that were delivered, or those of them `before` that moment; returns how many."""
        at_once = EVICT_AT_ONCE if before else max(1, min(EVICT_AT_ONCE, self._bounds.max_rows // 100))

        async def forget(connection: AsyncConnection) -> list[tuple[Key, Head | None]]:
            found = await messages.oldest_settled(connection, limit=at_once)
            gone = [(key, head) for head, key, at in found if before is None or at < before]
            await messages.remove(connection, [key for key, _ in gone])
            return gone

        gone = await self._database.write(forget)
        self._uncount(head for _, head in gone if head is not None)
        return len(gone)

    async def _evict_waiting(self, rows: int, size: int, now: datetime) -> int:
        """Give up the oldest that wait, a hundredth more than must be so that the next message need not."""
        rows_too_many = self.rows + rows - self._bounds.max_rows + self._bounds.max_rows // 100
        too_large = self.disk_bytes + size - self._max_bytes + self._max_bytes // 100

        def enough(heads: list[Head]) -> list[Head]:
            chosen: list[Head] = []
            freed = 0
            for head in heads:
                if len(chosen) >= rows_too_many and freed >= too_large:
                    break
                chosen.append(head)
                freed += disk_bytes(head.size)
            return chosen

        async def give_up(connection: AsyncConnection) -> list[Head]:
            found = await messages.oldest_waiting(connection, after=self._low, limit=EVICT_AT_ONCE, lent=self._lent)
            return await self._give_up(connection, enough(found), "the outbox was full", now)

        return self._given_up(await self._database.write(give_up), left=True)

    async def _evict_aged(self, now: datetime) -> int:
        oldest = now - self._bounds.max_age

        async def give_up(connection: AsyncConnection) -> list[Head]:
            found = await messages.oldest_waiting(
                connection, after=self._low, limit=EVICT_AT_ONCE, lent=self._lent | self._acknowledged.keys(), boots=True
            )
            dates = self.dates()
            aged = [
                head
                for head in found
                if (created_at := dates.right(*head.key, head.created_at)) is not None and CLOCK_WAS_SET <= created_at < oldest
            ]
            return await self._give_up(connection, aged, "it had waited too long", now)

        return self._given_up(await self._database.write(give_up), left=True)

    async def _give_up(self, connection: AsyncConnection, heads: list[Head], reason: str, now: datetime) -> list[Head]:
        await messages.record_gaps(connection, heads, reason, now, self._announcing)
        await messages.remove(connection, [head.key for head in heads])
        return heads

    def _given_up(self, heads: Sequence[Head], *, left: bool = False) -> int:
        if heads:
            readings = sum(head.count for head in heads)
            log.error("readings_given_up", messages=len(heads), readings=readings, first=heads[0].key, last=heads[-1].key)
            self.messages -= len(heads)
            self.readings -= readings
            self.evicted += readings
            if left:
                self._uncount(heads)
            self._forget_fresh()
            self.gapped.set()
            self.shrunk.set()
        return len(heads)

    def _uncount(self, heads: Iterable[Head]) -> None:
        for head in heads:
            self.rows -= 1
            self.disk_bytes -= disk_bytes(head.size)


def _row(message: StoredMessage, created_at: datetime) -> dict[str, object]:
    return {
        "boot": message.boot,
        "seq": message.seq,
        "created_at": created_at.replace(tzinfo=None),
        "first_at": message.first_at.replace(tzinfo=None),
        "last_at": message.last_at.replace(tzinfo=None),
        "readings": message.count,
        "payload": message.payload,
    }
