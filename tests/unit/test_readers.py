"""Which of our BACnet interfaces reaches a controller."""

import asyncio
from collections.abc import Callable
from contextlib import asynccontextmanager

import pytest

from bms_iot.domain.configuration import Reader
from bms_iot.domain.points import Device, DeviceAddress
from bms_iot.domain.ports import FoundDevice, ObjectList
from bms_iot.domain.subscriptions import CovTerms
from bms_iot.errors import DeviceUnreachable, TransportError
from bms_iot.gateway.readers import Readers
from tests.clock import VirtualClock
from tests.fakes import FakeNetwork

NORTH, SOUTH = Reader(id="n", host="10.1.0.2"), Reader(id="s", host="10.2.0.2", prefix_length=16)


class Interfaces:
    def __init__(self, *broken: str) -> None:
        self.networks: dict[str, FakeNetwork] = {}
        self.closed: list[str] = []
        self.broken = set(broken)

    @asynccontextmanager
    async def open(self, reader):
        if reader.id in self.broken:
            raise TransportError(f"{reader.host} is taken")
        network = FakeNetwork(VirtualClock())
        network.objects = {7: ObjectList(objects=(), other=ord(reader.id), complete=True)}
        self.networks[reader.id] = network
        yield network
        self.closed.append(reader.id)


def device(host: str) -> Device:
    return Device(address=DeviceAddress(host=host), instance=7, controller_id="c")


async def reached_by(readers: Readers, host: str) -> str:
    return chr((await readers.read_object_list(device(host))).other)


async def test_a_controller_is_reached_through_the_reader_whose_network_contains_it():
    async with Readers(Interfaces().open) as readers:
        await readers.use([NORTH, SOUTH])
        assert [await reached_by(readers, host) for host in ("10.1.0.77", "10.2.200.1")] == ["n", "s"]


async def test_a_controller_outside_every_network_is_reached_through_the_reader_that_found_it_else_the_first():
    interfaces = Interfaces()
    async with Readers(interfaces.open) as readers:
        await readers.use([NORTH, SOUTH])
        address = DeviceAddress(host="192.0.2.1")
        interfaces.networks["s"].found = [FoundDevice(address=address, instance=7, vendor_id=1, max_apdu=480, segmentation="none")]
        assert await reached_by(readers, "192.0.2.1") == "n"
        assert [found.instance for found in await readers.who_is()] == [7]
        assert await reached_by(readers, "192.0.2.1") == "s"
        assert await reached_by(readers, "5:0a") == "n"


async def test_changing_readers_opens_the_new_and_closes_the_old_only():
    interfaces = Interfaces()
    async with Readers(interfaces.open) as readers:
        await readers.use([NORTH])
        kept = interfaces.networks["n"]
        await readers.use([NORTH, SOUTH])
        assert interfaces.networks["n"] is kept
        await readers.use([SOUTH])
        assert interfaces.closed == ["n"]
    assert interfaces.closed == ["n", "s"]


async def test_one_broken_reader_does_not_stop_the_others_but_all_broken_is_an_error():
    async with Readers(Interfaces("n").open) as readers:
        await readers.use([NORTH, SOUTH])
        assert await reached_by(readers, "10.1.0.77") == "s"
    async with Readers(Interfaces("n", "s").open) as readers:
        with pytest.raises(TransportError, match=r"10\.1\.0\.2 is taken"):
            await readers.use([NORTH, SOUTH])


async def test_when_none_of_the_new_readers_can_be_opened_the_old_ones_go_on():
    interfaces = Interfaces("s")
    async with Readers(interfaces.open) as readers:
        await readers.use([NORTH])
        with pytest.raises(TransportError):
            await readers.use([SOUTH])
        assert await reached_by(readers, "10.2.0.9") == "n"


@pytest.mark.parametrize(
    ("text", "reader"),
    [
        ("10.1.0.2/24", Reader(id="r", host="10.1.0.2")),
        ("10.1.0.2:47809/16", Reader(id="r", host="10.1.0.2", port=47809, prefix_length=16)),
        ("10.1.0.2/24@10.9.0.5", Reader(id="r", host="10.1.0.2", bbmd="10.9.0.5:47808")),
        (" 10.1.0.2/24@10.9.0.5:47810 ", Reader(id="r", host="10.1.0.2", bbmd="10.9.0.5:47810")),
    ],
)
def test_a_reader_is_spelled_as_an_interface(text, reader):
    assert Reader.parse(text, reader_id="r") == reader


@pytest.mark.parametrize(
    "text", ["", "10.1.0.2", "10.1.0.2/33", "10.1.0/24", "10.1.0.2:0/24", "10.1.0.2/24@", "10.1.0.2/24@x", "10.1.0.2:/24"]
)
def test_what_is_no_interface_is_refused(text):
    with pytest.raises(ValueError, match=r".+"):
        Reader.parse(text, reader_id="r")


def test_the_broadcast_address_is_that_of_the_readers_network():
    assert NORTH.broadcast == "10.1.0.255"
    assert SOUTH.broadcast == "10.2.255.255"
    assert Reader(id="x", host="0.0.0.0", prefix_length=0).broadcast == "255.255.255.255"
    assert Reader(id="x", host="127.0.0.1").broadcast == "127.255.255.255"


async def test_the_narrowest_network_that_contains_a_controller_wins():
    wide = Reader(id="w", host="10.0.0.2", prefix_length=8)
    async with Readers(Interfaces().open) as readers:
        await readers.use([wide, NORTH])
        assert [await reached_by(readers, host) for host in ("10.1.0.77", "10.9.0.1")] == ["n", "w"]


def unreachable(interfaces: Interfaces, reader: str) -> None:
    interfaces.networks[reader].silent.add(7)


async def test_a_controller_silent_through_its_reader_is_reached_through_another_that_its_probe_found():
    interfaces = Interfaces()
    async with Readers(interfaces.open) as readers:
        await readers.use([NORTH, SOUTH])
        unreachable(interfaces, "n")
        await readers.probe(device("10.1.0.77"))
        assert await reached_by(readers, "10.1.0.77") == "s"
        interfaces.networks["n"].silent.clear()
        unreachable(interfaces, "s")
        await readers.probe(device("10.1.0.77"))
        assert await reached_by(readers, "10.1.0.77") == "n"


async def test_a_controller_silent_through_every_reader_is_unreachable_and_stays_where_it_was():
    interfaces = Interfaces()
    async with Readers(interfaces.open) as readers:
        await readers.use([NORTH, SOUTH])
        unreachable(interfaces, "n")
        unreachable(interfaces, "s")
        with pytest.raises(DeviceUnreachable):
            await readers.probe(device("10.1.0.77"))
        interfaces.networks["n"].silent.clear()
        assert await reached_by(readers, "10.1.0.77") == "n"


async def test_a_silent_controller_that_says_i_am_to_another_reader_is_reached_through_that_one():
    interfaces = Interfaces()
    async with Readers(interfaces.open) as readers:
        await readers.use([NORTH, SOUTH])
        heard = FoundDevice(address=DeviceAddress(host="10.1.0.77"), instance=7, vendor_id=1, max_apdu=480, segmentation="none")
        interfaces.networks["s"].say_i_am(heard)
        assert await reached_by(readers, "10.1.0.77") == "n"
        unreachable(interfaces, "n")
        with pytest.raises(DeviceUnreachable):
            await readers.read_points(device("10.1.0.77"), [])
        interfaces.networks["s"].say_i_am(heard)
        assert await reached_by(readers, "10.1.0.77") == "s"


async def test_when_its_reader_is_closed_a_controller_is_reached_through_what_is_left():
    interfaces = Interfaces()
    async with Readers(interfaces.open) as readers:
        await readers.use([NORTH, SOUTH])
        await readers.use([SOUTH])
        assert await reached_by(readers, "10.1.0.77") == "s"


async def test_every_reader_is_asked_for_a_routed_network_until_one_finds_it():
    interfaces = Interfaces()
    async with Readers(interfaces.open) as readers:
        await readers.use([NORTH, SOUTH])
        address = DeviceAddress(host="5:0a")
        interfaces.networks["s"].found = [FoundDevice(address=address, instance=7, vendor_id=1, max_apdu=480, segmentation="none")]
        assert [found.instance for found in await readers.who_is(address=address)] == [7]
        assert await reached_by(readers, "5:0a") == "s"


async def test_a_reader_that_cannot_broadcast_does_not_stop_the_others():
    interfaces = Interfaces()
    async with Readers(interfaces.open) as readers:
        await readers.use([NORTH, SOUTH])

        async def refuse(**_asked: object) -> list[FoundDevice]:
            raise TransportError("there is no broadcast address")

        interfaces.networks["n"].who_is = refuse  # type: ignore[method-assign]
        assert await readers.who_is() == []
        interfaces.networks["s"].who_is = refuse  # type: ignore[method-assign]
        with pytest.raises(TransportError):
            await readers.who_is()


@pytest.fixture
async def following():
    """Starts to follow a device; what is followed ends with the test."""
    tasks: list[asyncio.Task[None]] = []

    def start(readers: Readers, host: str) -> None:
        follow = readers.follow(device(host), [], CovTerms(), deliver=lambda _reading: None, report=lambda *_: None)
        tasks.append(asyncio.get_running_loop().create_task(follow))

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0)


async def test_what_is_followed_goes_on_through_the_reader_that_takes_over(following):
    interfaces = Interfaces()
    async with Readers(interfaces.open) as readers:
        await readers.use([NORTH, SOUTH])
        north, south = interfaces.networks["n"], interfaces.networks["s"]
        following(readers, "10.1.0.77")
        await until(lambda: north.followed)
        unreachable(interfaces, "n")
        await readers.probe(device("10.1.0.77"))
        await until(lambda: south.followed)
        assert not north.followed
        await readers.use([NORTH])
        await until(lambda: north.followed)
        assert not south.followed


async def test_what_is_followed_ends_with_the_last_reader_and_stays_where_it_is_while_others_change(following):
    interfaces = Interfaces()
    async with Readers(interfaces.open) as readers:
        await readers.use([NORTH])
        following(readers, "10.1.0.77")
        north = interfaces.networks["n"]
        await until(lambda: north.followed)
        followed = list(north.followed.values())
        await readers.use([NORTH, SOUTH])
        await asyncio.sleep(0)
        assert list(north.followed.values()) == followed
        await readers.use([])
        await until(lambda: not north.followed)


async def test_readers_that_are_changed_while_others_are_opened_are_opened_once(monkeypatch):
    monkeypatch.setattr("bms_iot.gateway.readers.RETRY_SECONDS", 0.0)
    opened: list[str] = []
    going_on = asyncio.Event()

    class Slow(Interfaces):
        @asynccontextmanager
        async def open(self, reader):
            opened.append(reader.id)
            async with super().open(reader) as network:
                await going_on.wait()
                yield network

    interfaces = Slow("s")
    async with Readers(interfaces.open) as readers:
        going_on.set()
        await readers.use([NORTH, SOUTH])
        going_on.clear()
        interfaces.broken.clear()
        retrying = asyncio.get_running_loop().create_task(readers.keep_open())
        await until(lambda: opened == ["n", "s", "s"])
        using = asyncio.get_running_loop().create_task(readers.use([SOUTH]))
        await asyncio.sleep(0)
        going_on.set()
        await using
        retrying.cancel()
        assert opened == ["n", "s", "s"]
        assert await reached_by(readers, "10.1.0.77") == "s"
