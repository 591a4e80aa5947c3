"""Each ill-mannered device of the simulator, read over real UDP: the right value or the right error, in bounded time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from bms_iot.bacnet import BacnetNetwork
from bms_iot.domain.ports import FoundDevice
from bms_iot.domain.readings import Quality
from bms_iot.simulator import SimulatedBuilding, SimulatedDevice
from bms_iot.simulator.adversary.catalogue import Manners
from tests.integration.ill_manners import EXPECTED, TIMEOUT, TRIES, check, network, points_of, read

MAX_SILENCES = 3
BOUND_SECONDS = 2 + 2 * MAX_SILENCES * TRIES * TIMEOUT + 18 * TIMEOUT
"""Nothing waits longer: a few whole silences, and a try for each point."""


@asynccontextmanager
async def rude(*manners: str, seed: int = 0) -> AsyncIterator[SimulatedBuilding]:
    async with SimulatedBuilding(devices=0, ill_mannered=manners, port=0, test_mode=True, tick_seconds=None, seed=seed) as building:
        yield building


def test_every_manner_has_its_expectation() -> None:
    assert {words.partition("=")[0] for words in EXPECTED} == {manner.value for manner in Manners}


@pytest.mark.parametrize("manners", EXPECTED)
async def test_an_ill_mannered_device_gives_right_values_or_the_right_error(manners: str) -> None:
    async with rude(manners) as building, network() as ours:
        (device,) = building.devices
        async with asyncio.timeout(3 * BOUND_SECONDS):
            for _ in range(3):
                ticks = [building.ticks]
                check(building, 1, await read(ours, points_of(device)), ticks, EXPECTED[manners])
                await building.tick()
        assert ours.open_transactions == 0


async def found_by(ours: BacnetNetwork, device: SimulatedDevice) -> int:
    found = await ours.who_is(address=device.address, wait_seconds=0.3)
    return len(found)


@pytest.mark.parametrize("manners", ["truncated-object-list", "index-only", "no-segmentation=128", "abort=1", "no-rpm"])
async def test_the_object_list_is_complete_however_it_has_to_be_read(manners: str) -> None:
    async with rude(manners) as building, network() as ours:
        (device,) = building.devices
        found = await ours.read_object_list(points_of(device)[0].device)
        assert found.complete
        assert found.other == 1
        assert [(each.type, each.instance) for each in found.objects] == [(each.type, each.instance) for each in device.objects]
        assert ours.open_transactions == 0


async def test_fifty_thousand_objects_are_listed_to_the_last() -> None:
    async with rude("many-objects") as building, network(timeout_seconds=1.0) as ours:
        (device,) = building.devices
        async with asyncio.timeout(60):
            found = await ours.read_object_list(points_of(device)[0].device)
        assert found.complete
        assert len(found.objects) == 50_000 + len(device.objects)
        assert ours.open_transactions == 0


@pytest.mark.parametrize(
    ("manners", "names"),
    [
        # What the declared set can decode is taken as declared: every octet is a character of ISO 8859-1.
        ("mislabelled-strings", {"Größe", "Größe".encode().decode("latin-1")}),
        ("empty-names", {None}),
        ("nul-in-strings", None),
    ],
)
async def test_names_are_read_whatever_their_octets_say(manners: str, names: set[str | None] | None) -> None:
    async with rude(manners) as building, network() as ours:
        (device,) = building.devices
        points = points_of(device)
        described = await ours.describe_objects(points[0].device, [point.object for point in points])
        expected = names or {each.name for each in device.objects}
        assert {each.name for each in described} == expected


async def test_vendor_numbers_are_told_as_numbers() -> None:
    async with rude("vendor-numbers") as building, network() as ours:
        (device,) = building.devices
        points = points_of(device)
        readings = await ours.read_points(points[0].device, points)
        found = await ours.read_object_list(points[0].device)
        described = await ours.describe_objects(points[0].device, [point.object for point in points])
        assert {(each.event_state, each.reliability) for each in readings} == {("64", "900")}
        assert {each.units for each in described} == {"unit-1000", None}
        assert (len(found.objects), found.other, found.complete) == (len(device.objects), 2, True)


async def test_a_short_priority_array_has_sixteen_slots_and_an_entry_in_tags_its_value() -> None:
    async with rude("short-priority-arrays", "constructed-values") as building, network() as ours:
        for device in building.devices:
            points = points_of(device)
            readings = await ours.read_points(points[0].device, points, optional=True)
            arrays = [each.optional["priority_array"] for each in readings if each.optional and "priority_array" in each.optional]
            assert len(arrays) == 12
            assert all(isinstance(array, list) and len(array) == 16 for array in arrays)
            assert any(array[-1] is not None or array[2] is not None for array in arrays if isinstance(array, list))


async def test_two_devices_of_one_instance_are_told_apart_by_address() -> None:
    async with rude("nan", "duplicate-instance=2001") as building, network(broadcast_port=building.port) as ours:
        found = await ours.who_is(low=2001, high=2001, wait_seconds=0.4)
        assert [each.address for each in found] == [device.address for device in building.devices]
        for k, device in enumerate(building.devices, start=1):
            expected = EXPECTED[device.manners.replace("2001", "2002")]
            check(building, k, await read(ours, points_of(device)), [0], expected)


async def test_a_moved_device_is_silent_at_the_old_address_and_found_at_the_new_one() -> None:
    async with rude("moved-address=1") as building, network(broadcast_port=building.port) as ours:
        (device,) = building.devices
        found = [FoundDevice(address=device.address, instance=2001, vendor_id=0, max_apdu=0, segmentation="")]
        async with asyncio.timeout(20):
            while found[0].address == device.address:
                found = await ours.who_is(low=2001, high=2001, wait_seconds=0.2) or found
        assert (await ours.who_is(address=device.address, wait_seconds=0.2)) == []
        moved = replace(device, address=found[0].address)
        check(building, 1, await read(ours, points_of(moved)), [0], EXPECTED["no-rpm"])


async def test_an_i_am_storm_is_bounded_and_the_real_device_is_in_it() -> None:
    async with rude("i-am-storm=5000") as building, network(broadcast_port=building.port) as ours:
        (device,) = building.devices
        found = await ours.who_is(wait_seconds=1.0)
        assert (device.address, device.instance) in {(each.address, each.instance) for each in found}
        assert len(found) <= 20_000
        (reading, *_) = await ours.read_points(points_of(device)[0].device, points_of(device))
        assert reading.quality is Quality.GOOD
