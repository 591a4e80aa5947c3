"""The two network edges and the clock, as the gateway sees them. Tests put fakes behind these, and behind nothing else."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from bms_iot.domain.identifiers import AnyObject, AnyProperty, AnyValue
from bms_iot.domain.points import Device, DeviceAddress, ObjectIdentifier, Point
from bms_iot.domain.profiles import LearnedProfile
from bms_iot.domain.readings import Reading
from bms_iot.domain.subscriptions import CovTerms, Deliver, Report
from bms_iot.domain.writing import PointWrite, WriteOutcome


class Clock(Protocol):
    """Time, so that tests can own it."""

    @property
    def is_trusted(self) -> bool:
        """Whether `now` is the time of day: false on a box that was started without knowing it, until it is told."""
        ...

    def now(self) -> datetime:
        """Aware UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment, never going back."""
        ...

    async def sleep(self, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundDevice:
    """A device that said I-Am (ASHRAE 135 clause 16.10)."""

    address: DeviceAddress
    instance: int
    vendor_id: int
    max_apdu: int
    segmentation: str
    """`both`, `transmit`, `receive` or `none`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectList:
    """A device's object-list as far as it could be read: `complete` is false when some of it is missing.

    `objects` has the types that are read; `other` counts the rest (device, notification class, trend log …).
    """

    objects: tuple[ObjectIdentifier, ...]
    other: int
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectDescription:
    """What a person calls an object; None where the device does not say."""

    object: ObjectIdentifier
    name: str | None
    description: str | None
    units: str | None


class ControllerNetwork(Protocol):
    """The BACnet edge. Each call is bounded in time; one device's silence is never another's."""

    async def who_is(
        self, *, low: int | None = None, high: int | None = None, address: DeviceAddress | None = None, wait_seconds: float = 3.0
    ) -> list[FoundDevice]:
        """Ask for devices of that range of instances, by broadcast or at one address; collects answers for `wait_seconds`.

        One instance at one address is not waited for any longer than until it answers.
        """
        ...

    def listen(self, listener: Callable[[FoundDevice], None]) -> Callable[[], None]:
        """Call `listener` with every I-Am that arrives, asked for or not; it must not raise. The result takes it away again."""
        ...

    async def probe(self, device: Device, *, tries: int | None = None) -> None:
        """One small request: is this device there, and is it the one of that instance? `tries` is the setting by default.

        Raises DeviceUnreachable, WrongDevice when another device answers at the address.
        """
        ...

    def learned(self, device: Device) -> LearnedProfile | None:
        """What was learned of a device so far; None where there is nobody to ask."""
        ...

    def recall(self, device: Device, profile: LearnedProfile) -> None:
        """Take over what was learned of a device before, but for what has grown old."""
        ...

    async def read_object_list(self, device: Device) -> ObjectList:
        """Raises DeviceUnreachable, DeviceRefused, MalformedReply."""
        ...

    async def describe_objects(self, device: Device, objects: Sequence[ObjectIdentifier]) -> list[ObjectDescription]:
        """Names, descriptions and units, one for each object, in order. Raises DeviceUnreachable."""
        ...

    async def read_points(self, device: Device, points: Sequence[Point], *, optional: bool = False) -> Sequence[Reading]:
        """One reading for each point, in order; `optional` asks for the 23 optional properties as well.

        A point that cannot be read is a reading with quality and error. Raises DeviceUnreachable when nothing answers.
        """
        ...

    async def read_any(self, device: Device, wanted: Sequence[tuple[AnyObject, AnyProperty]]) -> list[AnyValue]:
        """Any properties of objects of any type, in order, whole arrays too. Raises DeviceUnreachable when nothing answers."""
        ...

    async def identify(self, address: DeviceAddress) -> int:
        """The instance of the device at an address that answers no Who-Is. Raises DeviceUnreachable."""
        ...

    async def write_points(self, device: Device, writes: Sequence[PointWrite]) -> list[WriteOutcome]:
        """Write present-values, each point once, ahead of what is read; an outcome for each write, in order.

        Raises DeviceUnreachable when the device did not answer before anything was written.
        """
        ...

    async def follow(self, device: Device, points: Sequence[Point], terms: CovTerms, *, deliver: Deliver, report: Report) -> None:
        """Subscribe to the changes of these points and keep subscribed until cancelled; then cancel what is subscribed.

        A change is a reading, which may leave event-state and reliability open. A device that refuses, is away or does not notify
        is tried again, for ever. Raises TransportError when our port is closed, DeviceUnreachable for what no device can be.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """An MQTT message that arrived. It is acknowledged to the broker by `Broker.acknowledge`, not by arriving."""

    topic: str
    payload: bytes
    retain: bool
    mid: int
    """Packet identifier, 0 for QoS 0."""
    cut_from: int = 0
    """Bytes it had, where that was too much to take: `payload` is its beginning then."""


class Broker(Protocol):
    """The MQTT edge. It connects and reconnects by itself, for ever."""

    @property
    def is_connected(self) -> bool: ...

    @property
    def protocol(self) -> str | None:
        """The version spoken with the broker, `5` or `3.1.1`; None without a connection."""
        ...

    async def wait_connected(self) -> None: ...

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False, content_type: str | None = None) -> None:
        """Returns when the broker has acknowledged (QoS 1). Raises BrokerUnavailable, PublishRefused.

        Only MQTT 5 carries a `content_type` (clause 3.3.2.3.9).
        """
        ...

    def renew(self) -> None:
        """Connect again, with the credentials as they are now."""
        ...

    async def receive(self) -> Message:
        """The next message of the subscribed topics."""
        ...

    def acknowledge(self, message: Message) -> None:
        """Send the PUBACK of `message`; a message not acknowledged comes again after a reconnect."""
        ...
