"""Who answers at an address, and what was learned of a device, over real UDP."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bms_iot.bacnet import BacnetNetwork
from bms_iot.domain.points import Device, DeviceAddress, ObjectIdentifier, ObjectType
from bms_iot.domain.ports import FoundDevice
from bms_iot.domain.profiles import AbsentProperty, LearnedProfile
from bms_iot.errors import DeviceUnreachable, WrongDevice
from bms_iot.simulator import Fault, SimulatedBuilding
from tests.integration.bacnet_responder import SystemClock, free_port


def network(**options):
    return BacnetNetwork(host="127.0.0.1", port=free_port(), timeout_seconds=0.3, clock=SystemClock(), **options)


@pytest.fixture(scope="module")
def building_options():
    return {"port": 0, "devices": 3, "points": 9, "tick_seconds": None, "fronts": True}


def known(simulated):
    return Device(address=simulated.address, instance=simulated.instance, controller_id="c")


async def test_a_device_proves_who_it_is_by_one_request(building_options):
    async with SimulatedBuilding(**building_options) as building, network() as ours:
        await ours.probe(known(building.devices[0]))
        assert ours.counters.requests == 1


async def test_another_device_at_the_address_is_named(building_options):
    async with SimulatedBuilding(**building_options) as building, network() as ours:
        first, second, _ = building.devices
        with pytest.raises(WrongDevice) as caught:
            await ours.probe(replace(known(first), address=second.address))
        assert caught.value.instance == second.instance


async def test_a_probe_of_a_silent_device_is_one_datagram_where_one_try_is_asked_for(building_options):
    async with SimulatedBuilding(**building_options) as building, network() as ours:
        building.set_fault(building.devices[0].instance, Fault.SILENT)
        with pytest.raises(DeviceUnreachable):
            await ours.probe(known(building.devices[0]), tries=1)
        assert (ours.counters.requests, ours.counters.retries) == (1, 0)


async def test_every_i_am_is_told_as_long_as_somebody_listens(building_options):
    async with SimulatedBuilding(**building_options) as building, network() as ours:
        heard: list[FoundDevice] = []
        stop = ours.listen(heard.append)
        device = known(building.devices[0])
        await ours.who_is(address=device.address, low=device.instance, high=device.instance, wait_seconds=1.0)
        assert [(found.instance, found.address) for found in heard] == [(device.instance, device.address)]
        stop()
        await ours.who_is(address=device.address, low=device.instance, high=device.instance, wait_seconds=1.0)
        assert len(heard) == 1


async def test_what_was_learned_is_taken_over_by_the_next_start(building_options):
    async with SimulatedBuilding(**building_options) as building:
        simulated = building.devices[0]
        building.set_fault(simulated.instance, Fault.NO_RPM)
        device = known(simulated)
        async with network() as ours:
            listed = await ours.read_object_list(device)
            await ours.describe_objects(device, listed.objects[:2])
            learned = ours.learned(device)
        assert learned is not None
        assert learned.has_rpm is False
        async with network() as ours:
            ours.recall(device, learned)
            again = ours.learned(device)
            assert again == replace(learned, learned_at=again.learned_at)
            assert abs(again.learned_at - learned.learned_at) < timedelta(seconds=1)
            await ours.describe_objects(device, listed.objects[:2])
            refused = ours.counters.refused
        assert refused == 0


def test_what_is_old_is_asked_again_and_sizes_stay():
    async def round_trip(age):
        clock = SystemClock()
        device = Device(address=DeviceAddress(host="127.0.0.9", port=47999), instance=7, controller_id="c")
        lacking = AbsentProperty(object=ObjectIdentifier(type=ObjectType.ANALOG_INPUT, instance=1), property=65)
        learned = LearnedProfile(
            max_apdu=480, segmentation="none", budget=240, learned_at=datetime.now(UTC) - age, has_rpm=False, has_cov=False,
            is_list_by_index=True, absent=frozenset({lacking}),
        )  # fmt: skip
        async with BacnetNetwork(host="127.0.0.1", port=free_port(), clock=clock) as ours:
            ours.recall(device, learned)
            return learned, ours.learned(device)

    learned, young = asyncio.run(round_trip(timedelta(hours=23)))
    assert replace(young, learned_at=learned.learned_at) == learned
    _, old = asyncio.run(round_trip(timedelta(hours=25)))
    assert (old.max_apdu, old.segmentation, old.budget) == (480, "none", 240)
    assert (old.has_rpm, old.has_cov, old.is_list_by_index, old.absent) == (None, None, None, frozenset())
    _, future = asyncio.run(round_trip(timedelta(hours=-25)))
    assert future.absent == frozenset()
