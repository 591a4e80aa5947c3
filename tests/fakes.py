"""The two network edges, faked behind `domain.ports`."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bms_iot.domain.identifiers import AnyObject, AnyProperty, AnyValue
from bms_iot.domain.points import Device, DeviceAddress, ObjectIdentifier, Point
from bms_iot.domain.ports import Clock, FoundDevice, Message, ObjectDescription, ObjectList
from bms_iot.domain.profiles import LearnedProfile
from bms_iot.domain.readings import OptionalValue, Quality, Reading
from bms_iot.domain.subscriptions import Coverage, CovTerms, Deliver, Report
from bms_iot.domain.writing import PointWrite, WriteOutcome, WriteState
from bms_iot.errors import BrokerUnavailable, DeviceUnreachable, PublishRefused, WrongDevice


@dataclass
class FakeNetwork:
    """Devices that answer at once, but for the `silent` ones; `value` says what a point reads."""

    clock: Clock
    value: Callable[[Point], str | None] = lambda _point: "21.7"
    optional: dict[str, OptionalValue] = field(default_factory=lambda: {"high_limit": 30.0})
    silent: set[int] = field(default_factory=set)
    found: list[FoundDevice] = field(default_factory=list)
    objects: dict[int, ObjectList] = field(default_factory=dict)
    polls: list[tuple[float, int, bool]] = field(default_factory=list)
    """(time, device instance, with optional properties)"""
    writes: list[PointWrite] = field(default_factory=list)
    answering: dict[DeviceAddress, int] = field(default_factory=dict)
    """Who answers at an address, where it is not who is meant."""
    dead: set[DeviceAddress] = field(default_factory=set)
    """Where nobody answers."""
    value_at: dict[DeviceAddress, str] = field(default_factory=dict)
    """What every point reads that is at an address."""
    probes: list[tuple[float, int]] = field(default_factory=list)
    """(time, device instance)"""
    listeners: list[Callable[[FoundDevice], None]] = field(default_factory=list)
    profiles: dict[Device, LearnedProfile] = field(default_factory=dict)
    delays: dict[int, float] = field(default_factory=dict)
    """Device instance → seconds until it answers a read."""
    read: list[tuple[Point, ...]] = field(default_factory=list)
    """What was asked for in each poll."""
    followed: dict[Device, Deliver] = field(default_factory=dict)

    async def who_is(
        self, *, low: int | None = None, high: int | None = None, address: DeviceAddress | None = None, wait_seconds: float = 3.0
    ) -> list[FoundDevice]:
        found = [device for device in self.found if address is None or device.address == address]
        for device in found:
            self.say_i_am(device)
        return found

    def listen(self, listener: Callable[[FoundDevice], None]) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def say_i_am(self, found: FoundDevice) -> None:
        for listener in tuple(self.listeners):
            listener(found)

    async def probe(self, device: Device, *, tries: int | None = None) -> None:
        self.probes.append((self.clock.monotonic(), device.instance))
        self._answer(device)
        if (other := self.answering.get(device.address, device.instance)) != device.instance:
            raise WrongDevice(f"device {other} answers in place of {device.instance}", instance=other)

    def learned(self, device: Device) -> LearnedProfile | None:
        return self.profiles.get(device)

    def recall(self, device: Device, profile: LearnedProfile) -> None:
        self.profiles[device] = profile

    async def read_object_list(self, device: Device) -> ObjectList:
        self._answer(device)
        return self.objects[device.instance]

    async def describe_objects(self, device: Device, objects: Sequence[ObjectIdentifier]) -> list[ObjectDescription]:
        return [ObjectDescription(object=o, name=str(o), description=None, units="degreesCelsius") for o in objects]

    async def read_points(self, device: Device, points: Sequence[Point], *, optional: bool = False) -> Sequence[Reading]:
        self.polls.append((self.clock.monotonic(), device.instance, optional))
        self.read.append(tuple(points))
        if delay := self.delays.get(device.instance):
            await self.clock.sleep(delay)
        self._answer(device)
        return [
            Reading(
                point_id=point.id,
                acquired_at=self.clock.now(),
                present_value=self.value_at.get(device.address) or self.value(point),
                quality=Quality.GOOD,
                event_state="normal",
                out_of_service=False,
                reliability="no-fault-detected",
                optional=self.optional if optional else None,
            )
            for point in points
        ]

    async def read_any(self, device: Device, wanted: Sequence[tuple[AnyObject, AnyProperty]]) -> list[AnyValue]:
        self._answer(device)
        return [AnyValue(identifier=identifier, property=number, value=1, text="1") for identifier, number in wanted]

    async def identify(self, address: DeviceAddress) -> int:
        return self.answering[address]

    async def write_points(self, device: Device, writes: Sequence[PointWrite]) -> list[WriteOutcome]:
        self._answer(device)
        self.writes.extend(writes)
        return [WriteOutcome(write=write, state=WriteState.DONE, reason="written", priority=write.priority) for write in writes]

    async def follow(self, device: Device, points: Sequence[Point], terms: CovTerms, *, deliver: Deliver, report: Report) -> None:
        self.followed[device] = deliver
        try:
            for point in points:
                report(point, Coverage.COVERED, "notified")
            await asyncio.Event().wait()
        finally:
            del self.followed[device]

    def _answer(self, device: Device) -> None:
        if device.instance in self.silent or device.address in self.dead:
            raise DeviceUnreachable(f"device {device.instance} did not answer")


class FakeBroker:
    """A broker that is there or away; `published` has what it acknowledged, in order."""

    def __init__(self, *, is_connected: bool = True) -> None:
        self.published: list[tuple[str, bytes, bool]] = []
        self.acknowledged: list[Message] = []
        self.incoming: asyncio.Queue[Message] = asyncio.Queue()
        self.arrived = asyncio.Event()
        self.max_bytes: int | None = None
        self.fail_next: dict[str, Exception] = {}
        """Last level of a topic → what its next message is refused with."""
        self.protocol: str | None = "5"
        self._connected = asyncio.Event()
        if is_connected:
            self._connected.set()

    @property
    def is_connected(self) -> bool:
        return self._connected.is_set()

    def come(self) -> None:
        self._connected.set()

    def go(self) -> None:
        self._connected.clear()

    async def wait_connected(self) -> None:
        await self._connected.wait()

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False, content_type: str | None = None) -> None:
        await asyncio.sleep(0)
        if not self.is_connected:
            raise BrokerUnavailable("the broker is away")
        if self.max_bytes is not None and len(payload) > self.max_bytes:
            raise PublishRefused("packet too large", reason_code=0x95)
        if error := self.fail_next.pop(topic.rsplit("/", 1)[-1], None):
            raise error
        self.published.append((topic, payload, retain))
        self.arrived.set()

    def renew(self) -> None:
        pass

    async def receive(self) -> Message:
        return await self.incoming.get()

    def acknowledge(self, message: Message) -> None:
        self.acknowledged.append(message)
