"""Date what was read before anybody knew the time: watch the clock, and say by how much the early times are wrong."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import structlog

from bms_iot.domain.dates import Dates, EarlyDates
from bms_iot.domain.ports import Clock
from bms_iot.gateway.image import CurrentImage
from bms_iot.gateway.record import Record
from bms_iot.gateway.state import GatewayState
from bms_iot.gateway.store import Store
from bms_iot.storage.early_dates import EarlyBoot, EarlyDatesFile

log = structlog.get_logger()

LOOK_EVERY_SECONDS = 1.0
STEP = timedelta(seconds=1)
"""What the clock moves within a second beyond this was set, not kept."""
IN_THE_AIR_SECONDS = 60.0
"""No reading takes longer from its acquisition to the outbox."""
KERNEL = Path("/proc/sys/kernel/random/boot_id")


class WatchedClock(Clock, Protocol):
    """A clock that may not know the time of day yet."""

    @property
    def base(self) -> datetime:
        """What it would have said when the kernel started."""
        ...

    def is_vouched_for(self) -> bool:
        """Whether somebody says that the box's clock is right."""
        ...

    def trust(self) -> timedelta:
        """Use the box's clock from now on; the answer is by how much the times told before were too early."""
        ...


class Date:
    """Keeps `GatewayState.dates`.

    Times of this run of the kernel are put right when the clock is trusted; earlier ones cannot be.
    """

    def __init__(
        self,
        *,
        clock: WatchedClock,
        store: Store,
        image: CurrentImage,
        record: Record,
        state: GatewayState,
        file: EarlyDatesFile,
        newest_seq: Callable[[], int],
    ) -> None:
        self._clock, self._store, self._image, self._state = clock, store, image, state
        self._record, self._file, self._newest_seq = record, file, newest_seq
        self._began = clock.now()
        self._boots: dict[int, EarlyBoot] = {}
        self._base = clock.base

    def open(self) -> None:
        """Take up what earlier boots left, before the first reading. Raises StorageError."""
        self._boots = before = self._file.read()
        if self._clock.is_trusted:
            self._boots = self._corrected()
        else:
            log.warning("clock_not_trusted", says=self._clock.now().isoformat(timespec="seconds"))
            dates = EarlyDates()
            self._boots = before | {self._state.boot: EarlyBoot(kernel=_kernel(), base=self._clock.base, dates=dates)}
        self._publish(changed=self._boots != before)

    async def run(self) -> None:
        """Watch the clock until cancelled."""
        while True:
            await self._clock.sleep(LOOK_EVERY_SECONDS)
            if self._clock.is_trusted:
                self._look_for_steps()
            elif self._clock.is_vouched_for():
                await self._trust()
                await self._clock.sleep(IN_THE_AIR_SECONDS)
                self._state.dates = Dates(self._state.dates.early)

    def _look_for_steps(self) -> None:
        before, self._base = self._base, self._clock.base
        if abs(step := self._base - before) > STEP:
            log.warning("clock_stepped", seconds=round(step.total_seconds(), 3))
            self._state.changed.set()

    async def _trust(self) -> None:
        """Between two commits, so that every message is dated by one clock throughout."""
        async with self._store.writing:
            ended = self._clock.now()
            shift = self._clock.trust()
            self._base = self._clock.base
            ours = self._boots[self._state.boot]
            dates = EarlyDates(until_seq=self._newest_seq())
            self._boots[self._state.boot] = EarlyBoot(kernel=ours.kernel, base=ours.base, dates=dates)
            self._boots = self._corrected()
            self._image.redate(shift)
            self._state.started_at += shift
            self._publish(changed=True, turned=(ended, shift))
            await self._record.redate(self._began, ended, shift)
        log.warning("clock_trusted", shift_seconds=round(shift.total_seconds(), 3))
        self._state.changed.set()

    def _corrected(self) -> dict[int, EarlyBoot]:
        kernel = _kernel()
        return {
            boot: early.corrected(self._clock.base) if early.kernel == kernel and early.dates.shift is None else early
            for boot, early in self._boots.items()
        }

    def _publish(self, *, changed: bool, turned: tuple[datetime, timedelta] | None = None) -> None:
        if changed:
            self._file.write(self._boots)
        self._state.dates = Dates({boot: early.dates for boot, early in self._boots.items()}, turned=turned)


def _kernel() -> str:
    """What tells this run of the kernel from every other."""
    try:
        return KERNEL.read_text(encoding="ascii").strip()
    except OSError:
        return ""
