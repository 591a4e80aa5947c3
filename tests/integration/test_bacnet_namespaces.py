"""Real subnets: hosts that broadcast, a BACnet router between two networks, a BBMD, and two interfaces of ours."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from bacpypes3.ipv4.app import BBMDApplication, NormalApplication
from bacpypes3.local.analog import AnalogValueObject
from bacpypes3.local.device import DeviceObject
from bacpypes3.pdu import IPv4Address

from bms_iot.bacnet import BacnetNetwork
from bms_iot.domain.configuration import Reader
from bms_iot.domain.points import DEFAULT_PORT, Device, DeviceAddress, ObjectIdentifier, ObjectType, Point
from bms_iot.domain.ports import ControllerNetwork, FoundDevice
from bms_iot.errors import DeviceUnreachable
from bms_iot.gateway.readers import Readers
from tests.integration.bacnet_responder import Responder, SystemClock, analog
from tests.integration.bacnet_router import Leg, Router, SerialNetwork
from tests.integration.namespaces import Internet, internet
from tests.integration.test_bacnet_routers import station

pytestmark = pytest.mark.namespaces

WEST, EAST, SERIAL = 1, 2, 2001
"""Network numbers: two IP networks, and an MS/TP network behind the router."""
GATEWAY, BOILER, CHILLER = "10.77.1.10", "10.77.1.11", "10.77.1.12"
FAN, BBMD = "10.77.2.11", "10.77.2.2"
FAN_BEHIND_THE_ROUTER = f"{EAST}:0a4d020bbac0"


@pytest.fixture(scope="module")
def subnets() -> Iterator[Internet]:
    """A gateway and two hosts in the west, two in the east, and `between` them one that is on both and passes IP packets on."""
    with internet() as made:
        made.subnet("west")
        made.subnet("east")
        made.connect("gateway", "west", GATEWAY)
        made.connect("boiler", "west", BOILER)
        made.connect("chiller", "west", CHILLER)
        made.connect("fan", "east", FAN)
        made.connect("bbmd", "east", BBMD)
        made.connect("between", "west", "10.77.1.1")
        made.connect("between", "east", "10.77.2.1", "eth1")
        made.forward("between")
        for host, router in (("gateway", "10.77.1.1"), ("boiler", "10.77.1.1"), ("fan", "10.77.2.1"), ("bbmd", "10.77.2.1")):
            made.default_route(host, router)
        yield made


@asynccontextmanager
async def device(made: Internet, host: str, address: str, instance: int, kind: Any = NormalApplication) -> AsyncIterator[Any]:
    """A bacpypes3 device whose analog value 1 is its instance."""
    identity = DeviceObject(
        objectIdentifier=("device", instance),
        objectName=host,
        maxApduLengthAccepted=1476,
        segmentationSupported="segmentedBoth",
        vendorIdentifier=999,
    )
    with made.inside(host):
        application = kind(identity, IPv4Address(f"{address}/24"))
        application.add_object(
            AnalogValueObject(
                objectIdentifier=("analog-value", 1), objectName="AV", presentValue=float(instance), units=62, statusFlags=[0] * 4
            )
        )
        server = application.normal.server if kind is NormalApplication else application.server
        await asyncio.gather(*server._transport_tasks)
    if kind is BBMDApplication:
        application.add_peer(IPv4Address(f"{address}/24"))  # itself: else it does not broadcast on its own subnet
    try:
        yield application
    finally:
        application.close()
        await asyncio.sleep(0)


@asynccontextmanager
async def ours(made: Internet, *, bbmd: str | None = None, ttl: int = 60) -> AsyncIterator[BacnetNetwork]:
    network = BacnetNetwork(
        host=GATEWAY, broadcast="10.77.1.255", timeout_seconds=0.5, bbmd=bbmd, bbmd_ttl_seconds=ttl, clock=SystemClock()
    )
    with made.inside("gateway"):
        await network.__aenter__()
    async with AsyncExitStack() as stack:
        stack.push_async_exit(network)
        yield network
        assert network.open_transactions == 0


@asynccontextmanager
async def router(made: Internet) -> AsyncIterator[Router]:
    """Between west and east, with an MS/TP network of two stations."""
    stations = {
        bytes((mac,)): station(Responder({(2, 1): analog(3000.0 + mac)}, instance=3000 + mac, max_apdu=480)) for mac in (4, 5)
    }
    with made.inside("between"):
        west = Leg(WEST, "10.77.1.1", DEFAULT_PORT, "10.77.1.255")
        east = Leg(EAST, "10.77.2.1", DEFAULT_PORT, "10.77.2.255")
    async with Router([west, east], {SERIAL: SerialNetwork(stations)}) as opened:
        yield opened


def places(found: Sequence[FoundDevice]) -> list[tuple[int, str]]:
    return sorted((each.instance, str(each.address)) for each in found)


async def value(network: ControllerNetwork, host: str, instance: int) -> str | None:
    at = Device(address=DeviceAddress(host=host), instance=instance, controller_id=host)
    identifier = ObjectIdentifier(type=ObjectType.ANALOG_VALUE, instance=1)
    (reading,) = await network.read_points(at, [Point(id=1, device=at, object=identifier, iot_device_point_id="p")])
    return reading.present_value


async def test_every_host_of_the_subnet_is_found_by_broadcast_and_read(subnets: Internet) -> None:
    async with device(subnets, "boiler", BOILER, 1001), device(subnets, "chiller", CHILLER, 1002), ours(subnets) as network:
        assert places(await network.who_is(wait_seconds=1)) == [(1001, BOILER), (1002, CHILLER)]
        assert places(await network.who_is(low=1002, high=1002, wait_seconds=1)) == [(1002, CHILLER)]
        assert places(await network.who_is(address=DeviceAddress(host=BOILER), wait_seconds=1)) == [(1001, BOILER)]
        assert [await value(network, BOILER, 1001), await value(network, CHILLER, 1002)] == ["1001", "1002"]


async def test_what_is_behind_a_router_is_found_told_apart_and_read(subnets: Internet) -> None:
    """Also a device with the instance of another one on this side."""
    async with (
        device(subnets, "boiler", BOILER, 1001),
        device(subnets, "fan", FAN, 1001),
        router(subnets),
        ours(subnets) as network,
    ):
        assert places(await network.who_is(wait_seconds=1)) == sorted(
            [(1001, BOILER), (1001, FAN_BEHIND_THE_ROUTER), (3004, "2001:04"), (3005, "2001:05")]
        )
        for host, instance in ((BOILER, 1001), (FAN_BEHIND_THE_ROUTER, 1001), ("2001:04", 3004), ("2001:05", 3005)):
            assert await value(network, host, instance) == str(instance)
        here, there = DeviceAddress(host="*"), DeviceAddress(host=f"{EAST}:*")
        assert places(await network.who_is(address=here, wait_seconds=0.5)) == [(1001, BOILER)]
        assert places(await network.who_is(address=there, wait_seconds=0.5)) == [(1001, FAN_BEHIND_THE_ROUTER)]


async def test_a_static_address_behind_a_router_is_read_without_discovery(subnets: Internet) -> None:
    async with device(subnets, "fan", FAN, 1003), router(subnets) as between, ours(subnets) as network:
        assert await value(network, FAN_BEHIND_THE_ROUTER, 1003) == "1003"
        assert await value(network, "2001:05", 3005) == "3005"
        assert between.asked == [EAST, SERIAL]


async def test_as_a_foreign_device_we_find_and_read_what_is_beyond_our_broadcasts(subnets: Internet) -> None:
    """And what is near us as well."""
    async with (
        device(subnets, "boiler", BOILER, 1001),
        device(subnets, "fan", FAN, 1003),
        device(subnets, "bbmd", BBMD, 1004, BBMDApplication) as bbmd,
    ):
        async with ours(subnets) as network:
            assert places(await network.who_is(wait_seconds=1)) == [(1001, BOILER)]
        async with ours(subnets, bbmd=BBMD) as network:
            assert network.registration == "registered"
            assert [str(entry.fdAddress) for entry in bbmd.bbmd.bbmdFDT] == [GATEWAY]
            assert places(await network.who_is(wait_seconds=1)) == [(1001, BOILER), (1003, FAN), (1004, BBMD)]
            assert await value(network, FAN, 1003) == "1003"


async def test_a_bbmd_that_was_restarted_is_registered_with_again(subnets: Internet) -> None:
    """This one distributes for strangers, too, so only the renewal shows it."""
    async with device(subnets, "fan", FAN, 1003), AsyncExitStack() as later:
        async with device(subnets, "bbmd", BBMD, 1004, BBMDApplication):
            network = await later.enter_async_context(ours(subnets, bbmd=BBMD, ttl=2))
        async with device(subnets, "bbmd", BBMD, 1004, BBMDApplication) as bbmd:
            assert not bbmd.bbmd.bbmdFDT
            before = network.counters.registrations
            async with asyncio.timeout(10):
                while network.counters.registrations == before:
                    await asyncio.sleep(0.05)
            assert [str(entry.fdAddress) for entry in bbmd.bbmd.bbmdFDT] == [GATEWAY]
            assert places(await network.who_is(wait_seconds=1)) == [(1003, FAN), (1004, BBMD)]


async def test_a_controller_is_reached_through_our_other_interface_when_the_first_loses_its_cable(subnets: Internet) -> None:
    subnets.connect("both", "west", "10.77.1.20")
    subnets.connect("both", "east", "10.77.2.20", "eth1")
    subnets.default_route("both", "10.77.2.1")
    west, east = Reader(id="west", host="10.77.1.20"), Reader(id="east", host="10.77.2.20")

    def opened(reader: Reader) -> BacnetNetwork:
        return BacnetNetwork(host=reader.host, broadcast=reader.broadcast, timeout_seconds=0.2, tries=2, clock=SystemClock())

    async with device(subnets, "boiler", BOILER, 1001), device(subnets, "fan", FAN, 1003), Readers(opened) as readers:
        with subnets.inside("both"):
            await readers.use([west, east])
        assert places(await readers.who_is(wait_seconds=1)) == [(1001, BOILER), (1003, FAN)]
        assert await value(readers, BOILER, 1001) == "1001"
        subnets.unplug("both")
        with pytest.raises(DeviceUnreachable):
            await value(readers, BOILER, 1001)
        boiler = Device(address=DeviceAddress(host=BOILER), instance=1001, controller_id="boiler")
        await readers.probe(boiler)
        assert await value(readers, BOILER, 1001) == "1001"
        assert await value(readers, FAN, 1003) == "1003"
