"""One thing at a time in each lane, in the order in which they were asked for."""

import asyncio
from collections.abc import Hashable

from bms_iot.domain.points import Device

CONFIGURATION = "configuration"
"""The lane of what changes what is read."""
STREAM = "stream"
"""The lane of what repeats messages."""


class Lanes:
    """Locks by what they guard; each is taken in the order of asking."""

    def __init__(self) -> None:
        self._locks: dict[Hashable, asyncio.Lock] = {}

    def at(self, lane: Hashable) -> asyncio.Lock:
        return self._locks.setdefault(lane, asyncio.Lock())

    def of(self, device: Device) -> asyncio.Lock:
        """The lane of what is written to a device."""
        return self.at((device.controller_id, device.instance))
