"""Messages of the stream that did not get through, while others may."""

import asyncio
from dataclasses import dataclass

from bms_iot.domain.ports import Clock
from bms_iot.storage.messages import Key

REFUSED_FIRST_SECONDS, REFUSED_MOST_SECONDS = 30.0, 600.0
AFTER_BREAK_SECONDS = 5.0
"""Others go first on a new connection: what they get through is what shows that the connection was not at fault."""
BREAKS = 2
BREAKS_WITHOUT_PROOF = 4


@dataclass(slots=True)
class _Doubt:
    due: float
    pause: float = REFUSED_FIRST_SECONDS
    breaks: int = 0
    acknowledged: int = 0
    """Messages acknowledged when the connection first broke under this one alone."""


class Doubts:
    """Which messages are tried alone, and when. `acknowledged` counts the messages that got through, by whoever sends them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._doubts: dict[Key, _Doubt] = {}
        self._came = asyncio.Event()
        self.acknowledged = 0

    def __contains__(self, key: Key) -> bool:
        return key in self._doubts

    def __len__(self) -> int:
        return len(self._doubts)

    def suspect(self, key: Key) -> None:
        """The connection ended while this one and others were under way."""
        if key not in self._doubts:
            self._doubts[key] = _Doubt(due=self._clock.monotonic())
            self._came.set()

    def refused(self, key: Key) -> None:
        """The broker refused this one and took others, or refused it again."""
        doubt = self._doubts.setdefault(key, _Doubt(due=0.0))
        doubt.due = self._clock.monotonic() + doubt.pause
        doubt.pause = min(doubt.pause * 2, REFUSED_MOST_SECONDS)
        self._came.set()

    def broke(self, key: Key) -> bool:
        """The connection ended under this one alone; says whether that was twice."""
        doubt = self._doubts.setdefault(key, _Doubt(due=0.0))
        doubt.breaks += 1
        doubt.due = self._clock.monotonic() + AFTER_BREAK_SECONDS
        if doubt.breaks == 1:
            doubt.acknowledged = self.acknowledged
        self._came.set()
        return doubt.breaks >= BREAKS

    def is_to_blame(self, key: Key) -> bool:
        """Whether it is the message that ends connections, not the network: others got through between, or it did so four times."""
        doubt = self._doubts[key]
        return doubt.breaks >= BREAKS_WITHOUT_PROOF or (doubt.breaks >= BREAKS and self.acknowledged > doubt.acknowledged)

    def dispel(self, key: Key) -> None:
        """It got through, or does not wait any more."""
        self._doubts.pop(key, None)

    async def next(self) -> Key:
        """The next to try, when it is due."""
        while True:
            self._came.clear()
            now = self._clock.monotonic()
            if ready := [(doubt.breaks, key) for key, doubt in self._doubts.items() if doubt.due <= now]:
                return min(ready)[1]
            if self._doubts:
                await self._clock.sleep(min(doubt.due for doubt in self._doubts.values()) - now)
            else:
                await self._came.wait()
