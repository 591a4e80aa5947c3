"""Keep readings: gathered for a moment, then one transaction into the outbox; the current image is written behind."""

import asyncio
from collections.abc import Iterable, Sequence
from itertools import chain

import structlog

from bms_iot.domain.ports import Clock
from bms_iot.domain.readings import Reading
from bms_iot.gateway.image import CurrentImage
from bms_iot.gateway.state import GatewayState
from bms_iot.storage.database import Database, uninterrupted
from bms_iot.storage.outbox import Outbox
from bms_iot.storage.points import write_images

log = structlog.get_logger()

GATHER_SECONDS = 0.25
"""Devices answer within moments of each other; waiting this long makes one commit of many."""

READINGS_PER_MESSAGE = 50


class Store:
    """Commits readings and says so: `put` returns when they are durable. Run `run` beside it."""

    def __init__(
        self,
        *,
        database: Database,
        outbox: Outbox,
        image: CurrentImage,
        clock: Clock,
        state: GatewayState,
        image_interval: float,
        max_payload_bytes: int,
    ) -> None:
        self._database, self._outbox, self._image, self._clock, self._state = database, outbox, image, clock, state
        self._image_interval, self._max_payload_bytes = image_interval, max_payload_bytes
        self._waiting: list[tuple[Sequence[Reading], asyncio.Future[None]]] = []
        self._arrived = asyncio.Event()
        self.writing = asyncio.Lock()
        """Held while something is committed."""

    async def put(self, readings: Sequence[Reading]) -> None:
        """Returns when the readings are committed. Raises StorageError."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((readings, done))
        self._arrived.set()
        await done

    async def run(self) -> None:
        """Commit what is put, until cancelled; then write the image a last time."""
        image_due = self._clock.monotonic() + self._image_interval
        try:
            while True:
                await self._arrived.wait()
                await self._clock.sleep(GATHER_SECONDS)
                await self.flush()
                if self._clock.monotonic() >= image_due:
                    await self.write_image()
                    image_due = self._clock.monotonic() + self._image_interval
        finally:
            await self.flush()
            await self.write_image()

    async def flush(self) -> None:
        """Commit what waits; a cancellation does not interrupt the commit."""
        await uninterrupted(self._commit())

    async def write_image(self) -> None:
        """Bring `controller_points` up to date with the current image."""
        await uninterrupted(self._write_image())

    async def _write_image(self) -> None:
        rows = self._image.take_changes()
        if not rows:
            return
        try:
            async with self.writing:
                await self._database.write(write_images, rows)
        except BaseException:  # the rows are still to be written, whatever stopped us
            self._image.restore_changes(rows)
            raise

    async def _commit(self) -> None:
        async with self.writing:
            waiting, self._waiting = self._waiting, []
            self._arrived.clear()
            if waiting:
                await self._append(waiting)

    async def _append(self, waiting: list[tuple[Sequence[Reading], asyncio.Future[None]]]) -> None:
        try:
            readings = [self._image.apply(self._state.dates.settle(some)) for some, _ in waiting]
            await self._outbox.append(self._batches(chain.from_iterable(readings)), created_at=self._clock.now())
        except BaseException as error:
            for _, done in waiting:
                if not done.done():
                    done.set_exception(error) if isinstance(error, Exception) else done.cancel()
            raise
        for _, done in waiting:
            if not done.done():
                done.set_result(None)
        self._state.stored.set()

    def _batches(self, readings: Iterable[Reading]) -> list[list[Reading]]:
        """The readings of one message each: so many, and no more than fits the broker's packets."""
        batches: list[list[Reading]] = []
        size = 0
        for reading in readings:
            own = self._image.wire_bytes(reading.point_id)
            if not batches or len(batches[-1]) == READINGS_PER_MESSAGE or size + own > self._max_payload_bytes:
                batches.append([])
                size = 0
            batches[-1].append(reading)
            size += own
        return batches
