"""Keep on the device what points were: on change, and once an hour."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from bms_iot.domain.delivery import HistoryBounds
from bms_iot.domain.ports import Clock
from bms_iot.domain.readings import Condition, Reading
from bms_iot.domain.reporting import moved
from bms_iot.gateway.image import CurrentImage
from bms_iot.storage import history
from bms_iot.storage.database import Database, uninterrupted
from bms_iot.storage.history import Entry

log = structlog.get_logger()

WRITE_SECONDS = 120.0
AT_ONCE = 5_000
FORGET_AT_ONCE = 5_000
FORGET_ROUNDS = 100
_ALWAYS = timedelta(0)


class Record:
    """Gathers what is worth keeping and writes it every two minutes, and at the stop."""

    def __init__(self, *, database: Database, image: CurrentImage, clock: Clock, bounds: HistoryBounds) -> None:
        self._database, self._image, self._clock, self._bounds = database, image, clock, bounds
        self._kept: dict[int, tuple[datetime, str | None, Condition]] = {}
        self._waiting: list[Entry] = []
        self._rows: int | None = None
        self.is_on = bounds.max_bytes > 0

    def take(self, readings: Sequence[Reading]) -> None:
        """Look at readings; those that changed beyond the point's COV increment (clause 12.4.13, and so on) are kept."""
        if not self.is_on:
            return
        kept, anchor = self._kept, self._bounds.anchor
        for point_id, acquired_at, present_value, condition, _ in readings:
            last = kept.get(point_id)
            if last is not None and last[1] == present_value and last[2] is condition and acquired_at - last[0] < anchor:
                continue
            self._consider(point_id, acquired_at, present_value, condition, last)

    def _consider(
        self,
        point_id: int,
        acquired_at: datetime,
        present_value: str | None,
        condition: Condition,
        last: tuple[datetime, str | None, Condition] | None,
    ) -> None:
        if last is not None and condition.quality is last[2].quality and _ALWAYS <= acquired_at - last[0] < self._bounds.anchor:
            increment = self._image.optional(point_id).get("cov_increment")
            if not moved(last[1], present_value, increment if isinstance(increment, float | int) else 0.0):
                return
        self._kept[point_id] = acquired_at, present_value, condition
        self._waiting.append(
            Entry(acquired_at=acquired_at, point_id=point_id, present_value=present_value, quality=condition.quality)
        )

    async def redate(self, since: datetime, until: datetime, shift: timedelta) -> None:
        """What was read between these times was read that much later."""
        self._waiting[:] = [replace(entry, acquired_at=entry.acquired_at + shift) for entry in self._waiting]
        self._kept = {point_id: (at + shift, value, condition) for point_id, (at, value, condition) in self._kept.items()}
        if self.is_on:
            await self._database.write(history.redate, since, until, shift)

    async def run(self) -> None:
        """Write until cancelled, and then a last time."""
        try:
            while True:
                await self._clock.sleep(WRITE_SECONDS)
                await self.flush()
        finally:
            await self.flush()

    async def flush(self) -> None:
        """Write what was gathered. Raises StorageError; what could not be written is kept for the next time."""
        if self._waiting:
            await uninterrupted(self._flush())

    async def _flush(self) -> None:
        while self._waiting:
            some = self._waiting[:AT_ONCE]
            written = await self._database.write(history.insert, some)
            del self._waiting[: len(some)]
            if self._rows is not None:
                self._rows += written

    async def prune(self, now: datetime) -> None:
        """Forget what is too old, and the oldest of what is too much."""
        if self._rows is None:
            self._rows = await self._database.read(history.count)
        for _ in range(FORGET_ROUNDS):
            if not (gone := await self._database.write(history.forget_before, now - self._bounds.max_age, FORGET_AT_ONCE)):
                break
            self._rows -= gone
        for _ in range(FORGET_ROUNDS):
            too_many = self._rows - self._bounds.max_bytes // history.ROW_BYTES
            if too_many <= 0:
                break
            self._rows -= await self._database.write(history.forget_oldest, min(too_many, FORGET_AT_ONCE))
