"""Devices behind a router (ASHRAE 135 clause 6): found, read, told apart, and in bounded time when the router is not well."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest

from bms_iot.bacnet import BacnetNetwork
from bms_iot.domain.points import Device, DeviceAddress
from bms_iot.domain.readings import Quality
from bms_iot.errors import DeviceUnreachable, TransportError
from tests.integration.bacnet_responder import Responder, SystemClock, analog, free_port, parse_request
from tests.integration.bacnet_router import Leg, Router, SerialNetwork, Station
from tests.integration.segmenting_device import SegmentingDevice

TIMEOUT = 0.2
NETWORK = 2001
LOOPBACK_BROADCAST = "127.255.255.255"


def station(responder: Responder) -> Station:
    """What `responder` would answer on a wire of its own."""

    def answer(apdu: bytes) -> list[bytes]:
        if apdu == b"\x10\x08" or (apdu[:2] == b"\x10\x08" and _asked_for(apdu, responder.instance)):
            return [responder.i_am()[6:]]
        request = parse_request(b"\x81\x0a\x00\x00\x01\x04" + apdu)
        if request is None:
            return []
        responder.requests.append(request)
        return [datagram[6:] for datagram in responder.behaviour(responder, request)]

    return answer


def _asked_for(apdu: bytes, instance: int) -> bool:
    low_length = apdu[2] & 7
    low = int.from_bytes(apdu[3 : 3 + low_length], "big")
    high = int.from_bytes(apdu[4 + low_length :], "big")
    return low <= instance <= high


def device_at(host: str, instance: int) -> Device:
    return Device(address=DeviceAddress(host=host), instance=instance, controller_id=f"controller {host}")


def responder(instance: int, *, values: int = 4) -> Responder:
    objects = {(2, number): analog(instance + number / 8) for number in range(1, values + 1)}
    return Responder(objects, instance=instance, max_apdu=480)


@dataclass
class Site:
    router: Router
    leg: Leg
    serial: SerialNetwork
    behind: dict[str, Responder]
    ours: BacnetNetwork
    port: int

    async def values(self, host: str) -> list[str | None]:
        at = self.behind[host]
        points = [replace(point, device=device_at(host, at.instance)) for point in at.points()]
        readings = await self.ours.read_points(points[0].device, points)
        assert {reading.quality for reading in readings} == {Quality.GOOD}
        return [reading.present_value for reading in readings]


@asynccontextmanager
async def site(
    *, seconds_per_answer: float = 0.0, stations: int = 3, values: int = 4, timeout_seconds: float = TIMEOUT
) -> AsyncIterator[Site]:
    """A router at 127.0.6.1 with an MS/TP network behind it, and us at 127.0.6.100."""
    port = free_port()
    behind = {f"{NETWORK}:{mac:02x}": responder(100 + mac, values=values) for mac in range(1, stations + 1)}
    serial = SerialNetwork({bytes((int(host[-2:], 16),)): station(each) for host, each in behind.items()}, seconds_per_answer)
    leg = Leg(1, "127.0.6.1", port, LOOPBACK_BROADCAST)
    async with (
        Router([leg], {NETWORK: serial}) as router,
        BacnetNetwork(
            host="127.0.6.100",
            port=port,
            broadcast=LOOPBACK_BROADCAST,
            timeout_seconds=timeout_seconds,
            clock=SystemClock(),
        ) as ours,
    ):
        yield Site(router, leg, serial, behind, ours, port)
        assert ours.open_transactions == 0


def expected(instance: int, values: int = 4) -> list[str]:
    return [str(instance + number / 8).removesuffix(".0") for number in range(1, values + 1)]


async def test_a_static_address_behind_a_router_is_read_through_the_router_that_says_it_leads_there() -> None:
    async with site() as here:
        assert await here.values("2001:02") == expected(102)
        assert here.router.asked == [NETWORK]
        assert await here.values("2001:01") == expected(101)
        assert here.router.asked == [NETWORK]
        assert here.ours.counters.routes_learned == 1


async def test_everybody_behind_the_router_is_found_by_one_who_is_and_read_without_asking_for_the_way() -> None:
    async with site() as here:
        found = await here.ours.who_is(wait_seconds=0.3)
        assert {(device.address.host, device.instance) for device in found} == {
            ("2001:01", 101),
            ("2001:02", 102),
            ("2001:03", 103),
        }
        assert await here.values("2001:03") == expected(103)
        assert here.router.asked == []


@pytest.mark.parametrize(
    ("host", "low", "instances"),
    [("2001:02", 102, [102]), ("2001:*", None, [101, 102, 103]), ("*", None, []), ("2001:02", 103, []), ("7:*", None, [])],
)
async def test_who_is_asks_one_station_or_one_network_and_hears_nobody_else(
    host: str, low: int | None, instances: list[int]
) -> None:
    async with site() as here:
        for _ in range(2):  # without a route, and with one
            found = await here.ours.who_is(address=DeviceAddress(host=host), low=low, high=low, wait_seconds=0.2)
            assert [device.instance for device in found] == instances
            await here.values("2001:01")


async def test_the_object_list_is_read_through_the_router() -> None:
    async with site(values=200) as here:
        listed = await here.ours.read_object_list(device_at("2001:02", 102))
        assert listed.complete
        assert len(listed.objects) == 200


async def test_one_request_at_a_time_is_on_its_way_to_a_serial_network_and_none_is_too_long_for_it() -> None:
    async with site(seconds_per_answer=0.01, values=100) as here:
        answers = await asyncio.gather(*map(here.values, here.behind))
        assert answers == [expected(instance, 100) for instance in (101, 102, 103)]
        assert here.serial.most_at_once == 1
        assert here.serial.overlong == 0


async def test_an_answer_in_segments_comes_through_the_router_and_is_acknowledged_through_it() -> None:
    listed = b"".join(b"\xc4" + (2 << 22 | instance).to_bytes(4, "big") for instance in range(1, 301))
    value = b"\x0c\x02\x00\x00\x65\x19\x4c\x3e" + listed + b"\x3f"
    async with site() as here, SegmentingDevice(value, window=4, size=400) as sending:

        def through_the_router(apdu: bytes) -> None:
            here.leg.send(bytes((1, 0x08)) + NETWORK.to_bytes(2, "big") + b"\x01\x09" + apdu, here.ours.address)

        def on_the_wire(apdu: bytes) -> list[bytes]:
            sending._received(apdu, here.ours.address)
            return []

        sending.send = through_the_router  # type: ignore[method-assign]
        here.serial.stations = {b"\x09": on_the_wire}
        objects = await here.ours.read_object_list(device_at("2001:09", 101))
        assert [wanted.instance for wanted in objects.objects] == list(range(1, 301))
        assert here.ours.counters.segments == 2 * len(sending.segments), "the list, and what it takes for its length"
        assert here.ours.counters.retries == 0


async def test_two_devices_with_one_instance_are_both_found_and_each_is_read_for_itself() -> None:
    async with site() as here:
        here.behind["2001:02"].instance = 101
        found = await here.ours.who_is(wait_seconds=0.2)
        assert sorted(device.address.host for device in found if device.instance == 101) == ["2001:01", "2001:02"]
        assert await here.values("2001:01") == expected(101)
        assert await here.values("2001:02") == expected(102)


async def test_an_answer_of_another_station_behind_the_same_router_is_not_taken() -> None:
    async with site() as here:
        real, forger = here.behind["2001:01"], here.behind["2001:03"]
        stations = dict(here.serial.stations)

        def from_another(apdu: bytes) -> list[bytes]:
            for answer in station(forger)(apdu):
                here.leg.send(bytes((1, 8)) + NETWORK.to_bytes(2, "big") + b"\x01\x03" + answer, here.ours.address)
            return list(station(real)(apdu))

        stations[b"\x01"] = from_another
        here.serial.stations = stations
        assert await here.values("2001:01") == expected(101)
        assert here.ours.counters.foreign >= 1


async def test_a_network_nobody_leads_to_is_unreachable_in_bounded_time_and_the_next_request_at_once() -> None:
    async with site() as here:
        here.router.is_silent = True
        loop = asyncio.get_running_loop()
        device = device_at("2002:01", 5)
        started = loop.time()
        with pytest.raises(DeviceUnreachable, match="no router"):
            await here.ours.read_object_list(device)
        assert loop.time() - started < 6 * TIMEOUT + 1
        started = loop.time()
        with pytest.raises(DeviceUnreachable, match="no router"):
            await here.ours.read_object_list(device)
        assert loop.time() - started < 3 * TIMEOUT


async def test_a_router_that_comes_back_is_used_at_once() -> None:
    async with site(timeout_seconds=2) as here:
        here.router.is_silent = True
        reading = asyncio.create_task(here.values("2001:01"))
        while here.ours.counters.routers_asked == 0:
            await asyncio.sleep(0)
        here.router.is_silent = False
        here.router.announce(here.leg)
        assert await asyncio.wait_for(reading, 1) == expected(101)


async def test_a_network_the_router_lost_is_unreachable_at_once() -> None:
    async with site(timeout_seconds=2) as here:
        await here.values("2001:01")
        here.router.unreachable.add(NETWORK)
        with pytest.raises(DeviceUnreachable, match="leads to no such network"):
            await asyncio.wait_for(here.values("2001:01"), 1)
        assert here.ours.counters.rejected_by_router == 1
        here.router.unreachable.clear()
        here.router.announce(here.leg)
        assert await here.values("2001:01") == expected(101)


async def test_a_busy_router_is_waited_for_until_it_says_that_it_is_available() -> None:
    async with site(timeout_seconds=0.1) as here:
        await here.values("2001:01")
        here.router.is_busy = True
        reading = asyncio.create_task(here.values("2001:01"))
        while not here.ours.counters.rejected_by_router:
            await asyncio.sleep(0)
        held_for = asyncio.wait_for(asyncio.shield(reading), 0.6)
        with pytest.raises(TimeoutError):
            await held_for
        assert here.ours.counters.rejected_by_router == 1
        here.router.is_busy = False
        here.router.announce(here.leg, 5, [NETWORK])
        assert await asyncio.wait_for(reading, 1) == expected(101)


async def test_a_router_that_is_busy_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bms_iot.bacnet.transactions.sending.BUSY_SECONDS", 0.2)
    monkeypatch.setattr("bms_iot.bacnet.network.routers.BUSY_SECONDS", 0.2)
    async with site(timeout_seconds=0.1) as here:
        await here.values("2001:01")
        here.router.is_busy = True
        with pytest.raises(DeviceUnreachable, match="busy"):
            await asyncio.wait_for(here.values("2001:01"), 5)


async def test_another_router_takes_over_when_the_first_falls_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bms_iot.bacnet.network.routers.ASK_AGAIN_SECONDS", 0.0)
    async with site() as here:
        await here.values("2001:01")
        here.router.is_silent = True
        async with Router([Leg(1, "127.0.6.2", here.port, LOOPBACK_BROADCAST)], {NETWORK: here.serial}):
            assert await here.values("2001:01") == expected(101)
            assert here.ours.counters.routes_learned == 2


async def test_a_second_router_is_not_taken_while_the_first_answers() -> None:
    async with site() as here:
        await here.values("2001:01")
        async with Router([Leg(1, "127.0.6.2", here.port, LOOPBACK_BROADCAST)], {NETWORK: here.serial}) as second:
            second.announce(second.legs[0])
            await asyncio.sleep(0.05)
            await here.values("2001:01")
            assert second.forwarded == []


async def test_a_dead_station_does_not_take_the_network_from_the_others() -> None:
    async with site(timeout_seconds=0.1) as here:
        here.serial.stations = {**here.serial.stations, b"\x02": lambda _apdu: []}

        async def unreachable() -> None:
            with pytest.raises(DeviceUnreachable, match="2001 station 02"):
                await here.values("2001:02")

        started = asyncio.get_running_loop().time()
        await asyncio.gather(unreachable(), here.values("2001:01"), here.values("2001:03"))
        assert asyncio.get_running_loop().time() - started < 2


async def test_all_stations_of_a_network_cannot_be_read() -> None:
    async with site() as here:
        with pytest.raises(DeviceUnreachable, match="more than one device"):
            await here.ours.read_object_list(device_at("2001:*", 5))


async def test_without_a_broadcast_address_a_network_is_unreachable_and_who_is_says_why() -> None:
    async with BacnetNetwork(host="127.0.6.100", port=free_port(), timeout_seconds=0.05, clock=SystemClock()) as ours:
        with pytest.raises(DeviceUnreachable, match="no router"):
            await ours.read_object_list(device_at("2001:01", 101))
        with pytest.raises(TransportError, match="no broadcast address"):
            await ours.who_is(address=DeviceAddress(host="2001:*"), wait_seconds=0.1)
