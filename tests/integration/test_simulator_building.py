"""The simulated building on real UDP sockets, read by another stack and by hand-made packets."""

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio
from rusty_bacnet import BACnetClient, BacnetError, ObjectIdentifier, PropertyIdentifier, PropertyValue
from rusty_bacnet import ObjectType as RustyObjectType

from bms_iot.domain.points import ObjectType
from bms_iot.errors import ConfigurationError, TransportError
from bms_iot.simulator import SimulatedBuilding, SimulatedDevice, SimulatedObject

P = PropertyIdentifier
WHO_IS = bytes.fromhex("01001008")
REPLY_SECONDS = 5.0

SERVED_OPTIONAL = {
    P.HIGH_LIMIT, P.LOW_LIMIT, P.COV_INCREMENT, P.TIME_DELAY, P.TIME_DELAY_NORMAL, P.NOTIFICATION_CLASS, P.NOTIFY_TYPE,
    P.DEADBAND, P.LIMIT_ENABLE, P.EVENT_ENABLE, P.ACKED_TRANSITIONS, P.EVENT_TIME_STAMPS, P.EVENT_MESSAGE_TEXTS,
    P.EVENT_MESSAGE_TEXTS_CONFIG, P.EVENT_DETECTION_ENABLE, P.EVENT_ALGORITHM_INHIBIT_REF, P.EVENT_ALGORITHM_INHIBIT,
    P.RELIABILITY_EVALUATION_INHIBIT,
}  # fmt: skip
ONLY_ANALOG = {P.HIGH_LIMIT, P.LOW_LIMIT, P.COV_INCREMENT, P.DEADBAND, P.LIMIT_ENABLE}


def at(device: SimulatedDevice) -> str:
    return f"{device.address.host}:{device.address.port}"


def identifier(described: SimulatedObject) -> ObjectIdentifier:
    return ObjectIdentifier(getattr(RustyObjectType, described.type.name), described.instance)


@asynccontextmanager
async def rusty_client() -> AsyncIterator[BACnetClient]:
    client = BACnetClient(interface="127.0.0.1", port=0, broadcast_address="127.255.255.255", apdu_timeout_ms=3000)
    async with client:
        yield client


def udp_socket(*, broadcast_port: int | None = None) -> socket.socket:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.setblocking(False)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    if broadcast_port is not None:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    udp.bind(("127.0.0.1", 0) if broadcast_port is None else ("127.255.255.255", broadcast_port))
    return udp


async def discover(target: str, port: int, expected: int, *, function: int, apdu: bytes = WHO_IS) -> dict[int, str]:
    """Send Who-Is; the device instances that said I-Am, with the host each answered from."""
    loop = asyncio.get_running_loop()
    found: dict[int, str] = {}
    with closing(udp_socket()) as udp:
        await loop.sock_sendto(udp, bytes((0x81, function, 0, len(apdu) + 4)) + apdu, (target, port))
        async with asyncio.timeout(REPLY_SECONDS):
            while len(found) < expected:
                octets, sender = await loop.sock_recvfrom(udp, 2048)
                assert octets[6:9] == b"\x10\x00\xc4"
                assert sender[1] == port
                found[int.from_bytes(octets[9:13], "big") & 0x3FFFFF] = sender[0]
    return found


async def read(client: BACnetClient, device: SimulatedDevice, obj: ObjectIdentifier, prop: PropertyIdentifier) -> PropertyValue:
    value = await client.read_property(at(device), obj, prop)
    assert isinstance(value, PropertyValue)
    return value


async def read_many(
    client: BACnetClient, device: SimulatedDevice, objects: Sequence[SimulatedObject], properties: Iterable[PropertyIdentifier]
) -> list[list[PropertyValue | None]]:
    """For each object the values of the properties in one ReadPropertyMultiple, None where the device answered an error."""
    wanted: list[tuple[PropertyIdentifier, int | None]] = [(prop, None) for prop in properties]
    answered = await client.read_property_multiple(at(device), [(identifier(described), wanted) for described in objects])
    rows = []
    for result in answered:
        values = [item["value"] for item in result["results"]]
        assert not [value for value in values if isinstance(value, bytes)]
        rows.append([value if isinstance(value, PropertyValue) else None for value in values])
    return rows


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def log_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("simulator") / "answers.jsonl"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def building(log_path: Path) -> AsyncIterator[SimulatedBuilding]:
    async with SimulatedBuilding(port=0, tick_seconds=None, log_path=log_path) as started:
        yield started


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_broadcast_who_is_finds_every_device_at_its_own_address(building):
    found = await discover(building.broadcast, building.port, len(building.devices), function=0x0B)
    assert found == {device.instance: device.address.host for device in building.devices}
    assert len(set(found.values())) == len(building.devices) >= 11


async def test_a_global_broadcast_who_is_with_a_range_finds_those_in_the_range(building):
    apdu = bytes.fromhex("0120ffff00ff 1008 0a07d3 1a07d4")
    found = await discover(building.broadcast, building.port, 2, function=0x0B, apdu=apdu)
    assert set(found) == {2003, 2004}


async def test_a_directed_who_is_finds_the_device_asked(building):
    device = building.devices[4]
    assert await discover(device.address.host, building.port, 1, function=0x0A) == {device.instance: device.address.host}


async def test_another_listener_of_broadcasts_may_share_the_port(building):
    with closing(udp_socket(broadcast_port=building.port)) as listener:
        await discover(building.broadcast, building.port, len(building.devices), function=0x0B)
        async with asyncio.timeout(REPLY_SECONDS):
            octets, _ = await asyncio.get_running_loop().sock_recvfrom(listener, 100)
    assert octets.endswith(WHO_IS)


async def test_object_lists_names_and_descriptions_are_as_described(building):
    async with rusty_client() as client:
        for device in (building.devices[0], building.devices[-1]):
            listed = await read(client, device, ObjectIdentifier(RustyObjectType.DEVICE, device.instance), P.OBJECT_LIST)
            assert set(listed.value) >= {identifier(described) for described in device.objects}
            for some in (device.objects[:12], device.objects[-12:]):
                rows = await read_many(client, device, some, [P.OBJECT_NAME, P.DESCRIPTION])
                for described, row in zip(some, rows, strict=True):
                    assert [value and value.value for value in row] == [described.name, described.description]


async def test_all_nine_types_are_read_with_their_datatype_and_optional_properties(building):
    first_of_type = {described.type: described for described in reversed(building.devices[0].objects)}
    assert set(first_of_type) == set(ObjectType)
    async with rusty_client() as client:
        for object_type, described in first_of_type.items():
            value = await read(client, building.devices[0], identifier(described), P.PRESENT_VALUE)
            assert value.tag == ("real" if object_type.is_analog else "enumerated" if object_type.is_binary else "unsigned")
            wanted = SERVED_OPTIONAL if object_type.is_analog else SERVED_OPTIONAL - ONLY_ANALOG
            if not object_type.value.endswith("Input"):
                wanted = wanted | {P.PRIORITY_ARRAY, P.RELINQUISH_DEFAULT}
            (row,) = await read_many(client, building.devices[0], [described], wanted)
            assert None not in row
            assert len(row) == len(wanted)


async def test_the_log_has_each_answer_as_the_client_received_it(building, log_path):
    device = building.devices[1]
    before = len(lines(log_path))
    async with rusty_client() as client:
        rows = await read_many(client, device, device.objects, [P.PRESENT_VALUE, P.STATUS_FLAGS, P.UNITS])
        single = await read(client, device, identifier(device.objects[0]), P.UNITS)
    logged = lines(log_path)[before:]
    received = [(described, value) for described, row in zip(device.objects, rows, strict=True) for value in row]
    assert len(logged) == len(received) + 1
    for line, (described, value) in zip(logged[:-1], received, strict=True):
        assert (line["device"], line["address"]) == (device.instance, at(device))
        assert (line["object_type"], line["instance"]) == (described.type.value, described.instance)
        assert line["error"] == ([2, 32] if value is None else None)
        assert line["octets"] == ("91029120" if value is None else value.octets.hex())
        if value is not None and value.tag in ("real", "enumerated", "unsigned"):
            assert line["value"] == value.value
    assert (logged[-1]["property"], logged[-1]["value"]) == ("units", single.value)


async def test_what_somebody_commands_moves_the_model_until_it_is_relinquished(building):
    device = building.devices[0]
    fan = next(x for x in device.objects if x.name.endswith(".SupplyFanCommand"))
    building.state = replace(building.state, seconds=3 * 3600.0)
    await building.tick()
    assert not building.state.ahu.running
    async with rusty_client() as client:
        await client.write_property(at(device), identifier(fan), P.PRESENT_VALUE, PropertyValue.enumerated(1), 8)
        await building.tick()
        await building.tick()
        assert building.state.ahu.running
        await client.write_property(at(device), identifier(fan), P.PRESENT_VALUE, PropertyValue.null(), 8)
    await building.tick()
    assert not building.state.ahu.running


async def test_an_unknown_object_is_answered_with_an_error(building):
    async with rusty_client() as client:
        with pytest.raises(BacnetError, match="class=1 code=31"):
            await client.read_property(
                at(building.devices[0]), ObjectIdentifier(RustyObjectType.ANALOG_INPUT, 999), P.PRESENT_VALUE
            )


async def test_in_test_mode_every_reading_says_what_it_is_of():
    async with SimulatedBuilding(port=0, test_mode=True, tick_seconds=None) as building, rusty_client() as client:
        encoding = building.encoding
        for tick in range(3):
            assert building.ticks == tick
            for k, device in enumerate(building.devices, start=1):
                rows = await read_many(client, device, device.objects, [P.PRESENT_VALUE])
                for j, (described, (value,)) in enumerate(zip(device.objects, rows, strict=True), start=1):
                    assert value is not None
                    if described.type.is_analog:
                        assert encoding.decode(value.value) == (k, j, tick)
                    elif described.type.is_binary:
                        assert value.value == encoding.binary(k, j, tick)
            await building.tick()


async def test_it_ticks_by_itself():
    class Counted(SimulatedBuilding):
        third = asyncio.Event()

        async def tick(self) -> None:
            await super().tick()
            if self.ticks == 3:
                self.third.set()

    async with Counted(port=0, tick_seconds=0.05) as building:
        began = building.state.seconds
        async with asyncio.timeout(REPLY_SECONDS):
            await building.third.wait()
        assert building.state.seconds == pytest.approx(began + 0.05 * building.ticks)


async def test_a_long_answer_in_segments_is_logged_once_and_whole(tmp_path):
    log_path = tmp_path / "answers.jsonl"
    async with SimulatedBuilding(port=0, devices=1, points=600, log_path=log_path, tick_seconds=None) as building:
        device = building.devices[0]
        async with rusty_client() as client:
            listed = await read(client, device, ObjectIdentifier(RustyObjectType.DEVICE, device.instance), P.OBJECT_LIST)
        (line,) = lines(log_path)
    assert line["octets"] == listed.octets.hex()
    assert len(line["value"]) == len(listed.value) > 600


async def test_a_taken_port_is_refused_and_zero_or_none_finds_another(building):
    with pytest.raises(TransportError, match=f"UDP port {building.port} is not free"):
        async with SimulatedBuilding(port=building.port):
            pass
    async with SimulatedBuilding(tick_seconds=None) as first, SimulatedBuilding(tick_seconds=None) as second:
        assert len({first.port, second.port, building.port}) == 3


async def test_a_log_that_cannot_be_written_is_a_configuration_error(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be written"):
        async with SimulatedBuilding(port=0, log_path=tmp_path / "missing" / "answers.jsonl"):
            pass


async def test_without_rusty_bacnet_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "rusty_bacnet", None)
    with pytest.raises(ConfigurationError, match="rusty-bacnet") as caught:
        async with SimulatedBuilding(port=0):
            pass
    assert caught.value.hint == "pip install 'bms-iot[demo]'"


async def test_nothing_is_left_open_afterwards():
    async with SimulatedBuilding(port=0, devices=2, points=9, fronts=True):
        pass  # the first one starts what rusty-bacnet keeps for the process
    process, tasks = psutil.Process(), asyncio.all_tasks()
    before = process.num_fds()
    for _ in range(3):
        async with SimulatedBuilding(port=0, devices=3, points=9, fronts=True) as building:
            await discover(building.broadcast, building.port, 3, function=0x0B)
    assert process.num_fds() <= before
    assert asyncio.all_tasks() == tasks


async def test_a_start_that_is_cancelled_leaves_the_port_free():
    starting = SimulatedBuilding(port=0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05), starting:
            pytest.fail("it started too soon to be interrupted")
    assert starting.port
    async with SimulatedBuilding(port=starting.port, tick_seconds=None) as building:
        assert building.port == starting.port


@pytest.mark.parametrize(
    "arguments",
    [{"port": 65536}, {"devices": 0}, {"speed": 0.0}, {"devices": 2000, "points": 4000}, {"tick_seconds": 0.0}],
)
async def test_arguments_out_of_range_are_refused(arguments):
    with pytest.raises(ValueError, match="it must be from"):
        SimulatedBuilding(**arguments)


async def test_a_log_without_fronts_is_refused(tmp_path):
    with pytest.raises(ValueError, match="needs fronts"):
        SimulatedBuilding(log_path=tmp_path / "answers.jsonl", fronts=False)
