"""Keep readings: gathered for a while, then one transaction into the outbox; the current image is written behind."""

import asyncio
from collections.abc import Iterable, Sequence
from itertools import chain

import structlog

from bms_iot.domain.ports import Clock
from bms_iot.domain.readings import Reading
from bms_iot.gateway.flows import first_failure
from bms_iot.gateway.image import CurrentImage
from bms_iot.gateway.record import Record
from bms_iot.gateway.spare import Spare
from bms_iot.gateway.state import GatewayState
from bms_iot.storage.database import Database, uninterrupted
from bms_iot.storage.outbox import Outbox
from bms_iot.storage.points import write_images

log = structlog.get_logger()

GATHER_SECONDS = 0.25
"""Devices answer within moments of each other; waiting this long makes one commit of many."""
BURST_COMMITS = 12
"""So many may follow each other before they are rationed to one in `commit_seconds`: each rewrites some pages of the disk."""
AT_ONCE = 5_000
"""Readings that are worth a commit at any time."""
HELD_AT_MOST = 20_000
"""Readings; who brings more waits."""
READINGS_PER_MESSAGE = 200
IMAGE_SECONDS_PER_ROW = 1.2
"""A row of `controller_points` costs about 700 octets of disk: a large site is written less often, to wear it less."""


class Store:
    """Takes readings over and commits them soon after. Run `run` beside it, which raises what hinders it."""

    def __init__(
        self,
        *,
        database: Database,
        outbox: Outbox,
        image: CurrentImage,
        record: Record,
        spare: Spare,
        clock: Clock,
        state: GatewayState,
        image_interval: float,
        commit_seconds: float,
        max_payload_bytes: int,
    ) -> None:
        self._database, self._outbox, self._image, self._record, self._spare = database, outbox, image, record, spare
        self._clock, self._state, self._commit_seconds = clock, state, commit_seconds
        self._image_interval, self._max_payload_bytes = image_interval, max_payload_bytes
        self._waiting: list[Sequence[Reading]] = []
        self._held = 0
        self._arrived, self._many, self._room = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.writing = asyncio.Lock()
        """Held while something is committed."""
        self._commits_left, self._rationed_at = float(BURST_COMMITS), clock.monotonic()

    async def put(self, readings: Sequence[Reading]) -> None:
        """Take readings over: they are in the image when it returns, and durable within `commit_seconds` or at the stop.

        Waits while too many are held.
        """
        while self._held >= HELD_AT_MOST:
            self._room.clear()
            await self._room.wait()
        readings = self._state.dates.settle(readings)
        self._record.take(readings)
        if worth := self._spare.worth_sending(self._image.apply(readings)):
            self._waiting.append(worth)
            self._held += len(worth)
            self._arrived.set()
            if self._held >= AT_ONCE:
                self._many.set()

    async def run(self) -> None:
        """Commit what is put, until cancelled; then write the image a last time. Raises StorageError."""
        try:
            raise await first_failure(self._commits(), self._images())
        finally:
            await self.flush()
            await self.write_image()

    async def _commits(self) -> None:
        while True:
            await self._arrived.wait()
            await self._pause(GATHER_SECONDS)
            await self._pause((1.0 - self._ration()) * self._commit_seconds)
            self._commits_left = max(0.0, self._ration() - 1.0)
            await self.flush()

    def _ration(self) -> float:
        """How many commits may be made now."""
        now = self._clock.monotonic()
        gained = (now - self._rationed_at) / self._commit_seconds
        self._commits_left, self._rationed_at = min(BURST_COMMITS, self._commits_left + gained), now
        return self._commits_left

    async def _pause(self, seconds: float) -> None:
        """That long, or until many readings are held."""
        if seconds <= 0 or self._many.is_set():
            return
        tasks = [asyncio.create_task(wait) for wait in (self._nap(seconds), self._many_held())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    async def _nap(self, seconds: float) -> None:
        await self._clock.sleep(seconds)

    async def _many_held(self) -> None:
        await self._many.wait()

    async def _images(self) -> None:
        pause = self._image_interval
        while True:
            await self._clock.sleep(pause)
            pause = max(self._image_interval, await self.write_image() * IMAGE_SECONDS_PER_ROW)

    async def flush(self) -> None:
        """Commit what waits; a cancellation does not interrupt the commit."""
        await uninterrupted(self._commit())

    async def write_image(self) -> int:
        """Bring `controller_points` up to date with the current image; the answer is how many rows were written."""
        return await uninterrupted(self._write_image())

    async def _write_image(self) -> int:
        async with self.writing:
            return await self._write_changes()

    async def _write_changes(self) -> int:
        rows = self._image.take_changes()
        if rows:
            try:
                await self._database.write(write_images, rows)
            except BaseException:  # the rows are still to be written, whatever stopped us
                self._image.restore_changes(rows)
                raise
        return len(rows)

    async def _commit(self) -> None:
        async with self.writing:
            waiting, self._waiting, self._held = self._waiting, [], 0
            self._arrived.clear()
            self._many.clear()
            self._room.set()
            if waiting:
                await self._append(waiting)

    async def _append(self, waiting: list[Sequence[Reading]]) -> None:
        try:
            if self._image.has_new_properties:
                # What is sent again after a restart must be what was sent before: both are encoded with the image.
                await self._outbox.settle()
                await self._write_changes()
            await self._outbox.append(
                self._batches(chain.from_iterable(map(self._state.dates.settle, waiting))), created_at=self._clock.now()
            )
        except BaseException:  # a stop tries once more
            self._waiting = waiting + self._waiting
            self._held = sum(map(len, self._waiting))
            raise
        self._state.stored.set()

    def _batches(self, readings: Iterable[Reading]) -> list[list[Reading]]:
        """The readings of one message each: so many, and no more than fits the broker's packets."""
        batches: list[list[Reading]] = []
        size = 0
        for reading in readings:
            own = self._image.wire_bytes(reading[0])
            if not batches or len(batches[-1]) == READINGS_PER_MESSAGE or size + own > self._max_payload_bytes:
                batches.append([])
                size = 0
            batches[-1].append(reading)
            size += own
        return batches
