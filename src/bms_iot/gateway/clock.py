"""The machine's clock."""

import asyncio
import ctypes
import time
from datetime import UTC, datetime

_TIME_ERROR = 5
"""adjtimex(2): the clock is not synchronized."""


class SystemClock:
    """`domain.ports.Clock` on the operating system's clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def is_synchronized() -> bool:
    """The kernel says that something (NTP, PTP, GPS) keeps the clock right; false where it cannot say."""
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))  # struct timex, all zero: ask, change nothing
    except (OSError, AttributeError):
        return False
    return 0 <= int(state) < _TIME_ERROR
