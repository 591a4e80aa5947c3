"""The machine's clock, and whether it tells the time of day."""

import asyncio
import ctypes
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIME_ERROR = 5
"""adjtimex(2): the clock is not synchronized."""
_RELEASED = datetime(2025, 1, 1, tzinfo=UTC)
"""A clock that says earlier is not set, whatever set it."""
_RTC = Path("/sys/class/rtc")


def is_synchronized() -> bool:
    """The kernel says that something (NTP, PTP, GPS) keeps the clock right; false where it cannot say."""
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))  # struct timex, all zero: ask, change nothing
    except (OSError, AttributeError):
        return False
    return 0 <= int(state) < _TIME_ERROR


def has_battery_clock() -> bool:
    """The kernel took the time from a clock with a battery when it started (`hctosys`)."""
    try:
        return any((device / "hctosys").read_text(encoding="ascii").strip() == "1" for device in _RTC.glob("rtc*"))
    except OSError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeSources:
    """What the operating system tells, so that tests can tell something else."""

    wall: Callable[[], float] = time.time
    """Seconds since 1970, as the box has it."""
    elapsed: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME)
    """Seconds since the kernel started, those it slept included."""
    is_synchronized: Callable[[], bool] = is_synchronized
    has_battery_clock: Callable[[], bool] = has_battery_clock


class SystemClock:
    """`domain.ports.Clock` on the operating system's clocks.

    Until the time of day is known it keeps a time of its own: that of the box when the process began, counted on steadily, so that
    one shift makes all of it right. From then on it is the box's clock.
    """

    def __init__(self, *, always_trusted: bool = False, sources: TimeSources | None = None) -> None:
        self._sources = sources or TimeSources()
        self._always_trusted = always_trusted
        self._own_base = self._box_base()
        self._is_trusted = self.is_vouched_for()

    @property
    def is_trusted(self) -> bool:
        return self._is_trusted

    @property
    def base(self) -> datetime:
        """What this clock would have said when the kernel started."""
        return self._box_base() if self._is_trusted else self._own_base

    def is_vouched_for(self) -> bool:
        """Whether somebody says that the box's clock is right: a setting, the kernel, or a battery."""
        sources = self._sources
        if self._always_trusted or sources.is_synchronized():
            return True
        return sources.has_battery_clock() and _EPOCH + timedelta(seconds=sources.wall()) > _RELEASED

    def trust(self) -> timedelta:
        """Use the box's clock from now on; the answer is by how much the times told before were too early."""
        before, self._is_trusted = self.base, True
        return self.base - before

    def now(self) -> datetime:
        if self._is_trusted:
            return _EPOCH + timedelta(seconds=self._sources.wall())
        return self._own_base + timedelta(seconds=self._sources.elapsed())

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def _box_base(self) -> datetime:
        return _EPOCH + timedelta(seconds=self._sources.wall()) - timedelta(seconds=self._sources.elapsed())
