"""Watch who says I-Am: silent devices come back at once, those that moved are followed, two of one instance are told apart."""

import asyncio
from collections import OrderedDict
from contextlib import suppress
from dataclasses import replace

import structlog

from bms_iot.domain.drift import Drift, DriftKind, DriftReport
from bms_iot.domain.points import Device, DeviceAddress
from bms_iot.domain.ports import Clock, ControllerNetwork, FoundDevice
from bms_iot.errors import BacnetError, TransportError, WrongDevice
from bms_iot.gateway.monitor import Monitor
from bms_iot.gateway.poll import Poll
from bms_iot.gateway.state import GatewayState

log = structlog.get_logger()

AGAIN_SECONDS = 60.0
"""One and the same contradiction is looked into no more often, and a silent device is not sought more often."""
MAX_WAITING = 256
MAX_REMEMBERED = 4096
SEEK_SECONDS = 1.0

Question = tuple[int, DeviceAddress | None]
"""A device instance that was heard at an address where it is not known; without an address, one that is sought."""


class Watch:
    """Compares every I-Am with the plan. What costs a request waits in a bounded queue and is looked into one after the other."""

    def __init__(
        self, *, network: ControllerNetwork, poll: Poll, monitor: Monitor, clock: Clock, state: GatewayState, follows: bool = True
    ) -> None:
        self._network, self._poll, self._monitor, self._clock, self._state = network, poll, monitor, clock, state
        self._follows = follows
        self._waiting: OrderedDict[Question, FoundDevice | None] = OrderedDict()
        self._asked: OrderedDict[Question, float] = OrderedDict()
        self._arrived = asyncio.Event()
        poll.on_wrong_device = self._wrong_device
        poll.on_silence = self._seek

    async def run(self) -> None:
        """Watch until cancelled. Raises StorageError when a move cannot be kept."""
        ignore = self._network.listen(self._hear)
        try:
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                while self._waiting:
                    (instance, _), found = self._waiting.popitem(last=False)
                    with suppress(TransportError):  # what cannot be asked now comes again with the next I-Am, or the next silence
                        await (self._ask_around(instance) if found is None else self._look_into(found))
        finally:
            ignore()

    def _hear(self, found: FoundDevice) -> None:
        at_home = self._poll.at(found.address)
        for device in at_home:
            if device.instance == found.instance:
                self._poll.heard(device)
                return
        for device in at_home:
            self._poll.doubt(device)
        if self._poll.of_instance(found.instance) and not self._state.is_configuring:
            self._enqueue((found.instance, found.address), found)

    def _seek(self, device: Device) -> None:
        """A device that stays silent may be somewhere else, and not have said so."""
        if self._poll.is_silent(device):
            self._enqueue((device.instance, None), None)

    def _enqueue(self, question: Question, found: FoundDevice | None) -> None:
        now = self._clock.monotonic()
        if question in self._waiting or len(self._waiting) >= MAX_WAITING or now < self._asked.get(question, now):
            return
        self._asked[question] = now + AGAIN_SECONDS
        self._asked.move_to_end(question)
        if len(self._asked) > MAX_REMEMBERED:
            self._asked.popitem(last=False)
        self._waiting[question] = found
        self._arrived.set()

    async def _ask_around(self, instance: int) -> None:
        """The answers are heard like any other I-Am."""
        if any(self._poll.is_silent(device) for device in self._poll.of_instance(instance)):
            await self._network.who_is(low=instance, high=instance, wait_seconds=SEEK_SECONDS)

    async def _look_into(self, found: FoundDevice) -> None:
        """A known instance is heard where it is not known: the device has moved, or this is another one of the same instance."""
        known = self._poll.of_instance(found.instance)
        if not known or any(device.address == found.address for device in known):
            return
        homes = ", ".join(str(device.address) for device in known)
        log.warning("i_am_from_new_address", device=found.instance, known_at=homes, address=str(found.address))
        if len(known) > 1 or not await self._has_moved(known[0], found):
            self._conflict(known[0], was=homes, now=str(found.address))
            return
        device = known[0]
        await self._monitor.move(device, found.address)
        log.warning("device_moved", device=device.instance, was=str(device.address), now=str(found.address))
        self._report(device, DriftKind.MOVED, was=str(device.address), now=str(found.address))

    async def _has_moved(self, device: Device, found: FoundDevice) -> bool:
        """Of the same vendor, not at home any more, and proven to be there. Raises TransportError."""
        vendor = self._monitor.vendor_of(device)
        if not self._follows or (vendor is not None and vendor != found.vendor_id):
            return False
        return not await self._answers(device) and await self._answers(replace(device, address=found.address))

    async def _answers(self, device: Device) -> bool:
        try:
            await self._network.probe(device)
        except TransportError:
            raise
        except BacnetError:
            return False
        return True

    def _wrong_device(self, device: Device, error: WrongDevice) -> None:
        """Polling found another device at the address of this one."""
        other = "another device" if error.instance is None else f"device {error.instance}"
        self._conflict(device, was=f"device {device.instance}", now=other)

    def _conflict(self, device: Device, *, was: str, now: str) -> None:
        log.error("device_id_conflict", device=device.instance, address=str(device.address), was=was, now=now)
        self._report(device, DriftKind.ID_CONFLICT, was=was, now=now)

    def _report(self, device: Device, kind: DriftKind, *, was: str, now: str) -> None:
        drift = Drift(kind=kind, device_instance=device.instance, address=device.address, was=was, now=now)
        self._state.report_drift(DriftReport(drifts=(drift,), devices=1))
