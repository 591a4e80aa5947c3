"""Writing to devices: encoded by the object's type, read back in float32, and who holds the point."""

import struct
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from random import Random

import pytest
import rusty_bacnet
from bacpypes3.ipv4.app import NormalApplication
from bacpypes3.local.analog import AnalogInputObject, AnalogOutputObject, AnalogValueObject
from bacpypes3.local.binary import BinaryInputObject, BinaryOutputObject, BinaryValueObject
from bacpypes3.local.cmd import Commandable
from bacpypes3.local.device import DeviceObject
from bacpypes3.local.multistate import MultiStateInputObject, MultiStateOutputObject, MultiStateValueObject
from bacpypes3.pdu import IPv4Address

from bms_iot.domain.points import Device, ObjectType
from bms_iot.domain.readings import ReadingError
from bms_iot.domain.writing import PointWrite, SlotHolder, WriteOutcome, WriteState, WrittenValue
from bms_iot.errors import DeviceUnreachable
from bms_iot.simulator.adversary import octets, reading, requests
from bms_iot.simulator.adversary.manner import Manner
from bms_iot.simulator.adversary.objects import Objects
from bms_iot.simulator.adversary.requests import Asked, Request
from tests.integration.bacnet_devices import INSTANCE, adversary, as_device, client_network, point_of
from tests.integration.bacnet_responder import free_port

AI, AO, AV = ObjectType.ANALOG_INPUT, ObjectType.ANALOG_OUTPUT, ObjectType.ANALOG_VALUE
BI, BO, BV = ObjectType.BINARY_INPUT, ObjectType.BINARY_OUTPUT, ObjectType.BINARY_VALUE
MI, MO, MV = ObjectType.MULTI_STATE_INPUT, ObjectType.MULTI_STATE_OUTPUT, ObjectType.MULTI_STATE_VALUE
FLOAT32_21_7 = struct.unpack("<f", struct.pack("<f", 21.7))[0]

Stack = Callable[[], AbstractAsyncContextManager[Device]]


async def write(device: Device, *writes: tuple[ObjectType, WrittenValue, int]) -> list[WriteOutcome]:
    async with client_network() as network:
        return await network.write_points(
            device, [PointWrite(point=point_of(device, kind), value=value, priority=priority) for kind, value, priority in writes]
        )


async def write_one(device: Device, kind: ObjectType, value: WrittenValue, priority: int = 8) -> WriteOutcome:
    (outcome,) = await write(device, (kind, value, priority))
    return outcome


@asynccontextmanager
async def ours() -> AsyncIterator[Device]:
    async with adversary() as (_, device):
        yield device


@asynccontextmanager
async def rusty() -> AsyncIterator[Device]:
    server = rusty_bacnet.BACnetServer(
        device_instance=INSTANCE,
        device_name="written",
        interface="127.0.2.220",
        port=(port := free_port()),
        broadcast_address="127.255.255.255",
        share_port_by_address=True,
    )
    server.add_analog_output(1, "AO", 98)
    server.add_analog_value(1, "AV", 62)
    server.add_binary_output(1, "BO")
    server.add_binary_value(1, "BV")
    server.add_multistate_output(1, "MO", 3)
    server.add_multistate_value(1, "MV", 3)
    await server.start()
    try:
        yield as_device(("127.0.2.220", port))
    finally:
        await server.stop()


class CommandableAnalogValue(Commandable, AnalogValueObject):  # type: ignore[misc]
    """bacpypes3 leaves it to the application which value objects are commandable."""


class CommandableBinaryValue(Commandable, BinaryValueObject):  # type: ignore[misc]
    """As above."""


class CommandableMultiStateValue(Commandable, MultiStateValueObject):  # type: ignore[misc]
    """As above."""


@asynccontextmanager
async def bacpypes(*, commandable: bool = True) -> AsyncIterator[Device]:
    identity = DeviceObject(
        objectIdentifier=("device", INSTANCE), objectName="bacpypes", maxApduLengthAccepted=1476, vendorIdentifier=999
    )
    application = NormalApplication(identity, IPv4Address(f"127.0.2.221:{(port := free_port())}"))
    values = (
        (CommandableAnalogValue, CommandableBinaryValue, CommandableMultiStateValue)
        if commandable
        else (AnalogValueObject, BinaryValueObject, MultiStateValueObject)
    )
    more = {"eventState": "normal", "outOfService": False, "statusFlags": [0, 0, 0, 0]}
    analog, binary = {**more, "units": 62}, dict(more)
    states = {**more, "numberOfStates": 3}
    for made in (
        AnalogInputObject(objectIdentifier=("analog-input", 1), objectName="AI", presentValue=1.0, **analog),
        AnalogOutputObject(objectIdentifier=("analog-output", 1), objectName="AO", presentValue=0.0, **analog),
        values[0](objectIdentifier=("analog-value", 1), objectName="AV", presentValue=0.0, **analog),
        BinaryInputObject(
            objectIdentifier=("binary-input", 1), objectName="BI", presentValue="inactive", polarity="normal", **binary
        ),
        BinaryOutputObject(
            objectIdentifier=("binary-output", 1), objectName="BO", presentValue="inactive", polarity="normal", **binary
        ),
        values[1](objectIdentifier=("binary-value", 1), objectName="BV", presentValue="inactive", **binary),
        MultiStateInputObject(objectIdentifier=("multi-state-input", 1), objectName="MI", presentValue=1, **states),
        MultiStateOutputObject(objectIdentifier=("multi-state-output", 1), objectName="MO", presentValue=1, **states),
        values[2](objectIdentifier=("multi-state-value", 1), objectName="MV", presentValue=1, **states),
    ):
        application.add_object(made)
    await application.normal.server._local_transport_ready.wait()
    try:
        yield as_device(("127.0.2.221", port))
    finally:
        application.close()


@pytest.mark.parametrize("stack", [ours, rusty, bacpypes])
async def test_outputs_and_values_of_every_stack_take_a_value_at_a_priority_and_give_it_back(stack: Stack) -> None:
    values: list[tuple[ObjectType, WrittenValue, str]] = [
        (AO, FLOAT32_21_7, "21.7"), (AV, -0.5, "-0.5"), (BO, True, "active"), (BV, True, "active"), (MO, 2, "2"), (MV, 3, "3")
    ]  # fmt: skip
    async with stack() as device:
        for kind, value, text in values:
            outcome = await write_one(device, kind, value)
            assert (outcome.state, outcome.after, outcome.priority) == (WriteState.DONE, text, 8), outcome
            assert outcome.is_read_back
            assert outcome.holder == SlotHolder(priority=8, value=text)
            assert outcome.reason == "written; priority 8 holds the point"
            assert 0 < outcome.duration_seconds < 5
            released = await write_one(device, kind, None)
            assert (released.state, released.before, released.is_read_back) == (WriteState.DONE, text, True), released
            assert released.holder in {None, SlotHolder(priority=16, value=released.after or "")}


@pytest.mark.parametrize("stack", [ours, rusty, bacpypes])
async def test_several_writes_to_one_device_are_done_together(stack: Stack) -> None:
    async with stack() as device:
        outcomes = await write(device, (AO, 1.0, 8), (BO, True, 9), (MV, 2, 10), (AV, FLOAT32_21_7, 11))
    assert [(outcome.state, outcome.after, outcome.priority) for outcome in outcomes] == [
        (WriteState.DONE, "1", 8),
        (WriteState.DONE, "active", 9),
        (WriteState.DONE, "2", 10),
        (WriteState.DONE, "21.7", 11),
    ]


async def test_a_higher_slot_that_holds_the_point_is_named() -> None:
    async with adversary() as (_, device):
        await write_one(device, AO, 40.0, 5)
        outcome = await write_one(device, AO, 50.0, 8)
    assert outcome.state is WriteState.DONE
    assert outcome.is_read_back
    assert outcome.is_overruled
    assert outcome.holder == SlotHolder(priority=5, value="40")
    assert outcome.reason == "written at priority 8, but priority 5 holds the point at 40"
    assert (outcome.before, outcome.after) == ("40", "40")


async def test_a_lower_slot_holds_the_point_once_ours_is_relinquished() -> None:
    async with adversary() as (_, device):
        await write_one(device, BO, True)
        outcome = await write_one(device, BO, None)
    assert outcome.reason == "relinquished at priority 8; priority 16 holds the point at inactive"
    assert (outcome.before, outcome.after, outcome.relinquish_default) == ("active", "inactive", "inactive")


@pytest.mark.parametrize(("kind", "value"), [(AI, 30.0), (BI, True), (MI, 2)])
async def test_an_input_takes_a_value_without_a_priority_while_it_is_out_of_service(kind: ObjectType, value: WrittenValue) -> None:
    async with adversary() as (made, device):
        refused = await write_one(device, kind, value)
        made.objects.kept[kind.number, 1].properties[81] = octets.boolean(True)
        taken = await write_one(device, kind, value)
    assert refused.state is WriteState.REFUSED
    assert refused.error == ReadingError(error_class="property", error_code="write-access-denied")
    assert "only while it is out of service" in refused.reason
    assert (taken.state, taken.priority, taken.is_read_back) == (WriteState.DONE, None, True)


async def test_an_input_has_nothing_to_relinquish() -> None:
    async with adversary() as (made, device):
        outcome = await write_one(device, AI, None)
        asked = made.requests
    assert outcome.state is WriteState.REFUSED
    assert "nothing to relinquish" in outcome.reason
    assert asked == 1


async def test_a_value_object_without_a_priority_array_is_written_without_a_priority() -> None:
    async with bacpypes(commandable=False) as device:
        analog = await write_one(device, AV, FLOAT32_21_7)
        binary = await write_one(device, BV, True)
        released = await write_one(device, AV, None)
    assert (analog.state, analog.after, analog.priority, analog.holder) == (WriteState.DONE, "21.7", None, None)
    assert (binary.state, binary.after, binary.priority) == (WriteState.DONE, "active", None)
    assert released.state is WriteState.REFUSED


@pytest.mark.parametrize(
    ("kind", "value", "says"),
    [
        (AO, 100.5, "100.5 is above its max-pres-value, 100"),
        (AO, -1.0, "-1 is below its min-pres-value, 0"),
        (MO, 4, "state 4 is beyond its number-of-states, 3"),
    ],
)
async def test_what_the_points_own_limits_rule_out_is_not_sent(kind: ObjectType, value: WrittenValue, says: str) -> None:
    async with adversary() as (made, device):
        outcome = await write_one(device, kind, value)
        assert made.requests == 1
    assert (outcome.state, outcome.reason) == (WriteState.REFUSED, says)


async def test_a_refusal_has_its_error_class_and_code() -> None:
    async with adversary() as (_, device):
        outcome = await write_one(device, AO, 50.0, 6)
    assert outcome.state is WriteState.REFUSED
    assert outcome.error == ReadingError(error_class="property", error_code="write-access-denied")
    assert outcome.after is None


async def test_writes_after_the_one_that_failed_are_still_done() -> None:
    async with adversary() as (_, device):
        outcomes = await write(device, (AO, 1.0, 8), (BO, True, 6), (MO, 2, 8), (BV, True, 8))
    assert [outcome.state for outcome in outcomes] == [WriteState.DONE, WriteState.REFUSED, WriteState.DONE, WriteState.DONE]
    assert outcomes[1].error == ReadingError(error_class="property", error_code="write-access-denied")


class Refuses(Manner):
    """Refuses one service, by a Reject of that reason; `served` counts the requests of each service."""

    def __init__(self, service: int, reason: int = 9) -> None:
        self.service, self.reason = service, reason
        self.served: list[int] = []

    def refuse(self, request: Request, asked: Sequence[Asked]) -> bytes | None:
        self.served.append(request.service)
        return reading.reject(request, self.reason) if request.service == self.service else None


async def test_a_device_without_write_property_multiple_is_written_one_by_one_and_not_asked_again() -> None:
    manner = Refuses(requests.WRITE_PROPERTY_MULTIPLE)
    async with adversary(manner) as (_, device), client_network() as network:
        for _ in range(2):
            writes = [PointWrite(point=point_of(device, kind), value=True, priority=8) for kind in (BO, BV)]
            outcomes = await network.write_points(device, writes)
            assert [outcome.state for outcome in outcomes] == [WriteState.DONE, WriteState.DONE]
    assert manner.served.count(requests.WRITE_PROPERTY_MULTIPLE) == 1
    assert manner.served.count(requests.WRITE_PROPERTY) == 4


class Silent(Manner):
    """Says nothing to writes, carried out or not, nor to anything after the first write where `for_good`."""

    def __init__(self, *, carries_out: bool = True, for_good: bool = False) -> None:
        self.carries_out, self.for_good = carries_out, for_good
        self.writes = 0

    def refuse(self, request: Request, asked: Sequence[Asked]) -> bytes | None:
        is_write = request.service == requests.WRITE_PROPERTY
        self.writes += is_write
        return b"" if (is_write and not self.carries_out) or (self.for_good and self.writes) else None

    def apdu(self, request: Request, apdu: bytes) -> bytes:
        return b"\xff" if request.service == requests.WRITE_PROPERTY else apdu


async def test_a_write_nobody_answers_is_sent_once_and_decided_by_reading_back() -> None:
    carried_out, lost, dead = Silent(), Silent(carries_out=False), Silent(carries_out=False, for_good=True)
    async with adversary(carried_out) as (_, device):
        done = await write_one(device, AO, 50.0)
    async with adversary(lost) as (_, device):
        failed = await write_one(device, AO, 50.0)
    async with adversary(dead) as (_, device):
        unknown = await write_one(device, AO, 50.0)
    assert (done.state, done.after, carried_out.writes) == (WriteState.DONE, "50", 1)
    assert (failed.state, failed.after, lost.writes) == (WriteState.FAILED, "20", 1)
    assert (unknown.state, unknown.after, dead.writes) == (WriteState.UNKNOWN, None, 1)


async def test_a_device_that_is_away_is_written_nothing() -> None:
    with pytest.raises(DeviceUnreachable):
        await write_one(as_device(("127.0.5.250", free_port())), AO, 50.0)


class Forgets(Manner):
    """Acknowledges writes and keeps none."""

    def refuse(self, request: Request, asked: Sequence[Asked]) -> bytes | None:
        return reading.simple_ack(request) if request.service == requests.WRITE_PROPERTY else None


async def test_a_write_that_is_acknowledged_and_not_there_has_failed() -> None:
    async with adversary(Forgets(0, Random(1))) as (_, device):
        outcome = await write_one(device, AO, 50.0)
    assert outcome.state is WriteState.FAILED
    assert outcome.reason == "the device took it, but shows 20"


@pytest.mark.parametrize(
    "words", ["short-priority-arrays", "no-rpm", "double-for-real", "boolean-for-binary", "null-values", "empty-values"]
)
async def test_an_ill_mannered_device_is_written_all_the_same(words: str) -> None:
    async with adversary(words=words) as (_, device):
        analog = await write_one(device, AO, 50.0)
        binary = await write_one(device, BO, True)
    assert (analog.state, binary.state) == (WriteState.DONE, WriteState.DONE), (analog, binary)


class WithoutPriorities(Manner):
    """Analog values show no priority array (access denied), and mind a priority."""

    def furnish(self, objects: Objects) -> None:
        held = objects.kept[AV.number, 1]
        held.commandable = False
        held.properties[81] = octets.boolean(True)

    def answer(self, asked: Asked, answer: object) -> object:  # type: ignore[override]
        return (2, 27) if asked.property == 87 else answer

    def refuse(self, request: Request, asked: Sequence[Asked]) -> bytes | None:
        if request.service == requests.WRITE_PROPERTY and requests.write_property(request.body).priority is not None:
            return reading.error(request, (5, 80))
        return None


async def test_a_value_object_that_minds_the_priority_is_written_again_without_it() -> None:
    async with adversary(WithoutPriorities(0, Random(1))) as (_, device):
        outcome = await write_one(device, AV, 30.0)
    assert (outcome.state, outcome.priority, outcome.after) == (WriteState.DONE, None, "30")
