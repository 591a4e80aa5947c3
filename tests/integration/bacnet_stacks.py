"""One device, built three times: by our own means, by rusty-bacnet and by bacpypes3, with the nine types and a long object list."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from random import Random

import rusty_bacnet
from bacpypes3.ipv4.app import NormalApplication
from bacpypes3.local.analog import AnalogInputObject, AnalogOutputObject, AnalogValueObject
from bacpypes3.local.binary import BinaryInputObject, BinaryOutputObject, BinaryValueObject
from bacpypes3.local.cmd import Commandable
from bacpypes3.local.cov import GenericCriteria
from bacpypes3.local.device import DeviceObject
from bacpypes3.local.multistate import MultiStateInputObject, MultiStateOutputObject, MultiStateValueObject
from bacpypes3.pdu import IPv4Address

from bms_iot.domain.points import Device, DeviceAddress, ObjectIdentifier, ObjectType, Point
from bms_iot.simulator.adversary.device import AdversarialDevice
from bms_iot.simulator.front import BroadcastListener, bound_socket
from bms_iot.simulator.specification import DeviceSpecification, analog, binary, multi_state
from tests.integration.bacnet_responder import free_port

BROADCAST = "127.255.255.255"
INSTANCE = 4400
MANY = 400
"""Analog values after the first: so many that the object list takes several segments."""
STATES = ("Off", "Low", "High")

NAMES = ("AI", "AO", "AV", "BI", "BO", "BV", "MI", "MO", "MV")
TEXTS = ("21.5", "20", "21", "inactive", "inactive", "inactive", "1", "1", "1")
"""The present-values of the first object of each type, in the domain's order of types."""

Change = Callable[[float, bool, int], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A device that serves; `change` gives its analog, binary and multi-state inputs new values."""

    device: Device
    change: Change

    def point(self, object_type: ObjectType, instance: int = 1) -> Point:
        return Point(
            id=object_type.number * 10_000 + instance,
            device=self.device,
            object=ObjectIdentifier(type=object_type, instance=instance),
            iot_device_point_id=f"{object_type.value} {instance}",
        )

    def points(self) -> list[Point]:
        """A point for the first object of each type."""
        return [self.point(object_type) for object_type in ObjectType]


Serve = Callable[[], AbstractAsyncContextManager[Stack]]


def at(host: str, port: int) -> Device:
    return Device(address=DeviceAddress(host=host, port=port), instance=INSTANCE, controller_id="controller")


@asynccontextmanager
async def ours() -> AsyncIterator[Stack]:
    host, port = "127.0.6.1", free_port()
    points = (
        analog("I", "AI", "", "degrees-celsius", 21.5),
        analog("O", "AO", "", "percent", 20.0),
        analog("V", "AV", "", "degrees-celsius", 21.0),
        binary("I", "BI", "", False),
        binary("O", "BO", "", False),
        binary("V", "BV", "", False),
        multi_state("I", "MI", "", STATES, 1),
        multi_state("O", "MO", "", STATES, 1),
        multi_state("V", "MV", "", STATES, 1),
        *(analog("V", f"AV{number}", "", "no-units", float(number)) for number in range(2, MANY + 2)),
    )
    made = AdversarialDevice(
        instance=INSTANCE,
        specification=DeviceSpecification(name="ours", description="", location="", points=points),
        udp=bound_socket((host, port)),
        broadcast=(BROADCAST, port),
        manners=lambda _: [],
        chance=Random(1),
    )
    listener = BroadcastListener(address=(BROADCAST, port), hearers=[made])
    await made.start(alarms=False)

    async def change(number: float, active: bool, state: int) -> None:
        await made.set(0, number)
        await made.set(3, active)
        await made.set(6, state)

    try:
        yield Stack(device=at(host, port), change=change)
    finally:
        listener.close()
        await made.stop()


@asynccontextmanager
async def rusty() -> AsyncIterator[Stack]:
    host, port = "127.0.6.2", free_port()
    server = rusty_bacnet.BACnetServer(
        device_instance=INSTANCE,
        device_name="rusty",
        interface=host,
        port=port,
        broadcast_address=BROADCAST,
        share_port_by_address=True,
        segmentation_supported=rusty_bacnet.Segmentation.BOTH,
    )
    server.add_analog_input(1, "AI", 62, 21.5)
    server.add_analog_output(1, "AO", 98)
    server.add_analog_value(1, "AV", 62)
    server.add_binary_input(1, "BI")
    server.add_binary_output(1, "BO")
    server.add_binary_value(1, "BV")
    server.add_multistate_input(1, "MI", len(STATES))
    server.add_multistate_output(1, "MO", len(STATES))
    server.add_multistate_value(1, "MV", len(STATES))
    for number in range(2, MANY + 2):
        server.add_analog_value(number, f"AV{number}", 95)
    await server.start()
    value, kind, prop = rusty_bacnet.PropertyValue, rusty_bacnet.ObjectType, rusty_bacnet.PropertyIdentifier
    for of_type, initial in ((kind.ANALOG_OUTPUT, 20.0), (kind.ANALOG_VALUE, 21.0)):
        identifier = rusty_bacnet.ObjectIdentifier(of_type, 1)
        await server.write_property_local(identifier, prop.PRESENT_VALUE, value.real(initial), 16, source_object=None)

    async def change(number: float, active: bool, state: int) -> None:
        for of_type, new in (
            (kind.ANALOG_INPUT, value.real(number)),
            (kind.BINARY_INPUT, value.enumerated(int(active))),
            (kind.MULTI_STATE_INPUT, value.unsigned(state)),
        ):
            await server.set_present_value_local(rusty_bacnet.ObjectIdentifier(of_type, 1), new)

    try:
        yield Stack(device=at(host, port), change=change)
    finally:
        await server.stop()


class _MultiStateInput(MultiStateInputObject):  # type: ignore[misc]
    """bacpypes3 0.0.110 looks for a cov-increment, which multi-state objects have not (clause 13.1)."""

    _cov_criteria = GenericCriteria


class _AnalogValue(Commandable, AnalogValueObject):  # type: ignore[misc]
    """bacpypes3 leaves it to the application which value objects are commandable."""


class _BinaryValue(Commandable, BinaryValueObject):  # type: ignore[misc]
    """As above."""


class _MultiStateValue(Commandable, MultiStateValueObject):  # type: ignore[misc]
    """As above."""


@asynccontextmanager
async def bacpypes() -> AsyncIterator[Stack]:
    host, port = "127.0.6.3", free_port()
    identity = DeviceObject(
        objectIdentifier=("device", INSTANCE),
        objectName="bacpypes",
        maxApduLengthAccepted=1476,
        segmentationSupported="segmentedBoth",
        maxSegmentsAccepted=64,
        vendorIdentifier=999,
    )
    # A network of prefix length 8: the directed broadcast is 127.255.255.255.
    application = NormalApplication(identity, IPv4Address(f"{host}/8:{port}"))
    more = {"eventState": "normal", "outOfService": False, "statusFlags": [0, 0, 0, 0]}
    numbers = {**more, "units": 62, "covIncrement": 0.1}
    states = {**more, "numberOfStates": len(STATES)}
    analog_in = AnalogInputObject(objectIdentifier=("analog-input", 1), objectName="AI", presentValue=21.5, **numbers)
    binary_in = BinaryInputObject(
        objectIdentifier=("binary-input", 1), objectName="BI", presentValue="inactive", polarity="normal", **more
    )
    state_in = _MultiStateInput(objectIdentifier=("multi-state-input", 1), objectName="MI", presentValue=1, **states)
    output = {"objectIdentifier": ("analog-output", 1), "objectName": "AO", "presentValue": 20.0, "relinquishDefault": 20.0}
    for made in (
        analog_in,
        AnalogOutputObject(**output, **numbers),
        _AnalogValue(objectIdentifier=("analog-value", 1), objectName="AV", presentValue=21.0, relinquishDefault=21.0, **numbers),
        binary_in,
        BinaryOutputObject(
            objectIdentifier=("binary-output", 1), objectName="BO", presentValue="inactive", polarity="normal", **more
        ),
        _BinaryValue(objectIdentifier=("binary-value", 1), objectName="BV", presentValue="inactive", **more),
        state_in,
        MultiStateOutputObject(objectIdentifier=("multi-state-output", 1), objectName="MO", presentValue=1, **states),
        _MultiStateValue(objectIdentifier=("multi-state-value", 1), objectName="MV", presentValue=1, **states),
        *(
            AnalogValueObject(
                objectIdentifier=("analog-value", number), objectName=f"AV{number}", presentValue=float(number), units=95, **more
            )
            for number in range(2, MANY + 2)
        ),
    ):
        application.add_object(made)
    await application.normal.server._local_transport_ready.wait()

    async def change(number: float, active: bool, state: int) -> None:
        analog_in.presentValue = number
        binary_in.presentValue = "active" if active else "inactive"
        state_in.presentValue = state

    try:
        yield Stack(device=at(host, port), change=change)
    finally:
        application.close()


STACKS: tuple[Serve, ...] = (ours, rusty, bacpypes)
