"""Read every class of every device on its own beat and hand the readings to the store."""

import asyncio
import random
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TypeVar

import structlog

from bms_iot.domain import schedule
from bms_iot.domain.classes import PollingClass
from bms_iot.domain.points import Device, DeviceAddress, Point
from bms_iot.domain.ports import Clock, ControllerNetwork
from bms_iot.domain.readings import Quality, Reading, ReadingError
from bms_iot.domain.schedule import Pace
from bms_iot.errors import BacnetError, WrongDevice
from bms_iot.gateway.polled import PolledDevice, begin
from bms_iot.gateway.state import GatewayState
from bms_iot.gateway.store import Store

log = structlog.get_logger()
Key = TypeVar("Key", bound=Hashable)

NO_ANSWER = ReadingError(error_class="communication", error_code="timeout")
WRONG_DEVICE = ReadingError(error_class="communication", error_code="unknown-device")
UNKNOWN_OBJECT = ReadingError(error_class="object", error_code="unknown-object")
ALL_NORMAL: Mapping[int, PollingClass] = MappingProxyType({})


class Poll:
    """Polls the devices of a plan.

    A device that does not answer backs off alone: its points are reported bad once, and from then on it is asked only who it is,
    once in each pause. Nothing is read of a device before it has said that it is the one that is meant.
    """

    def __init__(self, *, network: ControllerNetwork, store: Store, clock: Clock, pace: Pace, state: GatewayState) -> None:
        self._network, self._store, self._clock, self._pace, self._state = network, store, clock, pace, state
        self._devices: dict[Device, PolledDevice] = {}
        self._at: dict[DeviceAddress, tuple[Device, ...]] = {}
        self._of_instance: dict[int, tuple[Device, ...]] = {}
        self._classes: Mapping[int, PollingClass] = ALL_NORMAL
        self._reported: frozenset[int] = frozenset()
        self._busy: set[Device] = set()
        self._moments: dict[Device, float] = {}
        """When each device is due that is not busy."""
        self._wake = asyncio.Event()
        self._asleep_until = 0.0
        # Set by who watches over the devices' identity.
        self.on_wrong_device: Callable[[Device, WrongDevice], None] = lambda _device, _error: None
        self.on_silence: Callable[[Device], None] = lambda _device: None

    @property
    def devices(self) -> Collection[Device]:
        """Those of the plan."""
        return self._devices.keys()

    def at(self, address: DeviceAddress) -> tuple[Device, ...]:
        """The devices of the plan at an address: one, but for a moment in which two change places."""
        return self._at.get(address, ())

    def of_instance(self, instance: int) -> tuple[Device, ...]:
        """The devices of the plan with that device instance: one, where the site is in order."""
        return self._of_instance.get(instance, ())

    def replan(self, plan: Mapping[Device, Sequence[Point]], classes: Mapping[int, PollingClass] = ALL_NORMAL) -> None:
        """Read these points from now on, each in its class (by point id, `normal` by default); what is known keeps its beat."""
        now, before = self._clock.monotonic(), self._devices
        self._classes = self._state.classes = classes
        self._devices = {}
        for device, points in plan.items():
            if not points:
                continue
            if (polled := before.get(device)) is None:
                starts = now + schedule.spread(len(self._devices), len(plan), self._pace)
                polled = begin(device, points, classes, self._reported, now=starts)
            else:
                polled.regroup(points, classes, self._reported, now=now)
            self._devices[device] = polled
        self._moments = {device: polled.agenda.due for device, polled in self._devices.items() if device not in self._busy}
        self._at = _grouped((device.address, device) for device in self._devices)
        self._of_instance = _grouped((device.instance, device) for device in self._devices)
        self._state.devices_monitored = len(self._devices)
        self._state.points_monitored = sum(len(polled.wanted) for polled in self._devices.values())
        self._state.heard_devices &= self._devices.keys()
        self._state.silent_devices &= self._devices.keys()
        self._wake.set()

    def report(self, point_ids: Collection[int]) -> None:
        """From now on the devices report the changes of these points by themselves (COV): they are read as `slow`."""
        self._reported, now = frozenset(point_ids), self._clock.monotonic()
        for polled in self._devices.values():
            polled.regroup(polled.wanted, self._classes, self._reported, now=now)
            self._reschedule(polled)

    def resume(self) -> None:
        """Look again whether monitoring is on; after a pause every device is due at once."""
        self._wake.set()

    def heard(self, device: Device) -> None:
        """The device said that it is there: when it was silent it is asked at once."""
        if (polled := self._devices.get(device)) is not None:
            polled.agenda = schedule.heard(polled.agenda, self._clock.monotonic())
            self._reschedule(polled)

    def doubt(self, device: Device) -> None:
        """Another device was heard at the address of this one: nothing more is kept of it before it has said who it is."""
        if (polled := self._devices.get(device)) is not None:
            polled.doubt()

    def is_silent(self, device: Device) -> bool:
        """Whether it did not answer when it was last asked."""
        polled = self._devices.get(device)
        return polled is not None and polled.agenda.failures > 0

    async def run(self) -> None:
        """Poll until cancelled. Raises StorageError when readings cannot be kept."""
        async with asyncio.TaskGroup() as devices:
            while True:
                self._wake.clear()
                now = self._clock.monotonic()
                if self._state.is_monitoring:
                    for device in schedule.due(self._moments, now):
                        del self._moments[device]
                        self._busy.add(device)
                        devices.create_task(self._poll_device(self._devices[device]), name=f"poll {device.instance}")
                await self._until(self._next_due(now))

    def _next_due(self, now: float) -> float:
        return schedule.next_due(self._moments.values(), now) if self._state.is_monitoring else now + 3600.0

    async def _until(self, moment: float) -> None:
        self._asleep_until = moment
        pause = asyncio.create_task(self._clock.sleep(max(0.0, moment - self._clock.monotonic())))
        pause.add_done_callback(lambda done: None if done.cancelled() else self._wake.set())
        try:
            await self._wake.wait()
        finally:
            pause.cancel()

    def _reschedule(self, polled: PolledDevice) -> None:
        """Take note of when a device is due now, unless it is busy or gone."""
        device = polled.device
        if self._devices.get(device) is polled and device not in self._busy:
            self._moments[device] = due = polled.agenda.due
            if due < self._asleep_until:
                self._wake.set()

    async def _poll_device(self, polled: PolledDevice) -> None:
        failures = polled.agenda.failures
        if not failures:
            self._state.poll_began(polled.device, due=polled.agenda.due)
        try:
            if failures or not polled.is_proven or schedule.classes_due(polled.agenda, self._clock.monotonic()).optional:
                await self._prove(polled, tries=1 if failures else None)
            if failures:
                polled.agenda = schedule.after_return(polled.agenda, self._pace, self._clock.monotonic())
            await self._read_due(polled)
        except BacnetError as error:
            polled.agenda = replace(polled.agenda, failures=failures)
            if self._is_meant(polled):
                await self._silent(polled, error)
        else:
            if self._is_meant(polled):
                self._heard(polled.device, failures)
        finally:
            self._state.poll_ended(polled.device, now=self._clock.monotonic())
            self._busy.discard(polled.device)
            if (current := self._devices.get(polled.device)) is not None:  # another one, when it left the plan and came back
                self._reschedule(current)
            else:
                self._state.forget(polled.device)

    def _is_meant(self, polled: PolledDevice) -> bool:
        """Whether it still is of the plan: the points of one that moved meanwhile are read elsewhere, and may be well there."""
        return self._devices.get(polled.device) is polled

    async def _prove(self, polled: PolledDevice, *, tries: int | None = None) -> None:
        """Raises WrongDevice when another device answers, DeviceUnreachable."""
        doubts = polled.doubts
        await self._network.probe(polled.device, tries=tries)
        polled.is_proven = polled.doubts == doubts

    async def _read_due(self, polled: PolledDevice) -> None:
        ready = schedule.classes_due(polled.agenda, self._clock.monotonic())
        for classes, optional in ((ready.plain, False), (ready.optional, True)):
            if classes:
                await self._store.put(await self._read(polled, classes, optional=optional))
        read = [known for known in ready.plain + ready.optional if known in polled.agenda.turns]
        polled.agenda = schedule.after_answer(
            polled.agenda, self._pace, self._clock.monotonic(), read=read, optional=ready.optional
        )

    async def _read(self, polled: PolledDevice, classes: tuple[PollingClass, ...], *, optional: bool) -> Sequence[Reading]:
        """The readings, of the device that is meant: who it is, is asked again where there is a doubt."""
        readings = await self._network.read_points(polled.device, polled.points(classes), optional=optional)
        if not polled.is_proven or all(reading.error == UNKNOWN_OBJECT for reading in readings):
            await self._prove(polled)
        return readings

    async def _silent(self, polled: PolledDevice, error: BacnetError) -> None:
        device, is_other = polled.device, isinstance(error, WrongDevice)
        polled.is_proven = False
        if not polled.agenda.failures:
            event = "another_device_answers" if is_other else "device_silent"
            log.warning(event, device=device.instance, address=str(device.address), reason=str(error))
            now, why = self._clock.now(), WRONG_DEVICE if is_other else NO_ANSWER
            await self._store.put(
                [
                    Reading(point_id=point.id, acquired_at=now, present_value=None, quality=Quality.BAD, error=why)
                    for point in polled.wanted
                ]
            )
        self._state.device_silent(device)
        jitter = random.random()  # noqa: S311 - spreads probes, keeps no secret
        polled.agenda = schedule.after_silence(polled.agenda, self._pace, self._clock.monotonic(), jitter=jitter)
        if isinstance(error, WrongDevice) and polled.agenda.failures == 1:
            self.on_wrong_device(device, error)
        self.on_silence(device)

    def _heard(self, device: Device, failures: int) -> None:
        if failures:
            log.info("device_answers_again", device=device.instance, address=str(device.address), silent_probes=failures)
        self._state.device_answered(device)


def _grouped(pairs: Iterable[tuple[Key, Device]]) -> dict[Key, tuple[Device, ...]]:
    groups: dict[Key, tuple[Device, ...]] = {}
    for key, device in pairs:
        groups[key] = (*groups.get(key, ()), device)
    return groups
