"""A clock that tests own."""

import asyncio
import heapq
import itertools
from datetime import UTC, datetime, timedelta

SETTLE_TURNS = 50
"""Turns of the event loop after each wake-up: enough for what is in memory; tests that touch a database await their effects."""


class VirtualClock:
    """`domain.ports.Clock` that moves only when told to."""

    def __init__(self) -> None:
        self._start = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self.is_trusted = True
        self.is_set = False
        """Whether somebody says that the time is right."""
        self._wrong = timedelta(0)

    def forget_the_time(self, wrong: timedelta) -> None:
        """As on a box that starts without it: `wrong` is what its times are off by."""
        self.is_trusted, self._wrong = False, wrong

    def is_vouched_for(self) -> bool:
        return self.is_set

    @property
    def base(self) -> datetime:
        return self._start + self._wrong

    def trust(self) -> timedelta:
        shift, self._wrong, self.is_trusted = -self._wrong, timedelta(0), True
        return shift

    def step(self, seconds: float) -> None:
        """Somebody sets the clock while it is trusted."""
        self._start += timedelta(seconds=seconds)

    def now(self) -> datetime:
        return self.base + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed + seconds, next(self._order), future))
        await future

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass, waking sleepers in order."""
        end = self._elapsed + seconds
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            moment, _, future = heapq.heappop(self._sleepers)
            self._elapsed = max(self._elapsed, moment)
            if not future.done():
                future.set_result(None)
            await self._settle()
        self._elapsed = end
        await self._settle()

    async def _settle(self) -> None:
        for _ in range(SETTLE_TURNS):
            await asyncio.sleep(0)
