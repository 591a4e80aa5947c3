"""Who says I-Am, and what the gateway makes of it."""

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from bms_iot.domain.points import DeviceAddress, ObjectType
from bms_iot.domain.ports import FoundDevice
from tests.databases import fresh_database
from tests.integration.gateways import configured, running_gateway

AI = ObjectType.ANALOG_INPUT
ELSEWHERE = DeviceAddress(host="10.9.9.9")


@pytest.fixture
async def database(tmp_path):
    async with fresh_database(tmp_path) as opened:
        yield opened


def rows(directory, query):
    with closing(sqlite3.connect(directory / "bms_bacnet.db")) as connection:
        return connection.execute(query).fetchall()


def device(instance, *, vendor=8, **more):
    made = configured(instance, (AI, 1), **more)
    return replace(made, device=replace(made.device, vendor_id=vendor))


def i_am(instance, address, vendor=8):
    return FoundDevice(address=address, instance=instance, vendor_id=vendor, max_apdu=1476, segmentation="none")


def reported(running):
    return [entry for update in running.on("status/update") if "drift" in update for entry in update["drift"]["drift"]]


async def test_a_silent_device_that_says_i_am_is_read_at_once(tmp_path, database):
    seven = device(7)
    async with running_gateway(database, tmp_path, [seven]) as running:
        running.network.silent.add(7)
        await running.poll_round(100.0)
        running.network.silent.clear()
        before = len(running.network.read)
        running.network.say_i_am(i_am(7, seven.device.address))
        await running.until(lambda: len(running.network.read) > before)


async def test_a_device_that_moved_is_followed_with_its_points(tmp_path, database):
    seven = device(7)
    async with running_gateway(database, tmp_path, [seven, device(8)]) as running:
        await running.poll_round(2.0)
        before = rows(tmp_path, "SELECT id, iot_device_point_id FROM controller_points")
        running.network.dead.add(seven.device.address)
        running.network.say_i_am(i_am(7, ELSEWHERE))
        await running.until(lambda: bool(running.gateway.poll.at(ELSEWHERE)))
        await running.poll_round(4.0)
        await running.until(lambda: bool(reported(running)))
        assert reported(running) == [
            {"kind": "moved", "device_instance": 7, "address": "10.0.0.7", "was": "10.0.0.7", "now": "10.9.9.9"}
        ]
        assert rows(tmp_path, "SELECT id, iot_device_point_id FROM controller_points") == before
        assert rows(tmp_path, "SELECT controller_ip_address FROM controller_points ORDER BY id") == [("10.9.9.9",), ("10.0.0.8",)]
    async with running_gateway(database, tmp_path, []) as running:
        assert running.gateway.poll.at(ELSEWHERE)


async def test_a_poll_of_the_old_address_that_ends_after_the_move_says_nothing_of_the_new_one(tmp_path, database):
    seven = device(7)
    async with running_gateway(database, tmp_path, [seven]) as running:
        await running.poll_round(2.0)
        before = len(running.network.polls)
        running.network.delays[7] = 8.0
        running.network.dead.add(seven.device.address)
        while len(running.network.polls) == before:
            await running.poll_round(0.5)
        running.network.delays.clear()
        running.network.say_i_am(i_am(7, ELSEWHERE))
        await running.until(lambda: bool(running.gateway.poll.at(ELSEWHERE)))
        assert running.state.polls_under_way
        await running.poll_round(20.0)
        assert {known.address for known in running.state.heard_devices} == {ELSEWHERE}
        assert running.state.silent_devices == set()
        points = [point for message in running.bulk() for point in message["points"]]
        assert ("10.9.9.9", "good") in {(point["controller_ip_address"], point["quality"]) for point in points}
        assert [point for point in points if point["quality"] == "bad"] == []


async def test_a_second_device_of_one_instance_is_reported_and_the_first_is_read_on(tmp_path, database):
    seven = device(7)
    async with running_gateway(database, tmp_path, [seven]) as running:
        await running.poll_round(2.0)
        for _ in range(1000):
            running.network.say_i_am(i_am(7, ELSEWHERE))
        await running.poll_round(20.0)
        await running.until(lambda: bool(reported(running)))
        assert [(entry["kind"], entry["now"]) for entry in reported(running)] == [("id-conflict", "10.9.9.9")]
        assert [known.address for known in running.gateway.poll.devices] == [seven.device.address]


async def test_another_vendors_device_is_not_followed(tmp_path, database):
    seven = device(7)
    async with running_gateway(database, tmp_path, [seven]) as running:
        await running.poll_round(1.0)
        running.network.dead.add(seven.device.address)
        running.network.say_i_am(i_am(7, ELSEWHERE, vendor=9))
        await running.poll_round(4.0)
        await running.until(lambda: bool(reported(running)))
        assert reported(running)[0]["kind"] == "id-conflict"
        assert not running.gateway.poll.at(ELSEWHERE)


async def test_two_devices_that_swap_addresses_keep_their_values_apart(tmp_path, database):
    seven, eight = device(7), device(8)
    homes = {7: seven.device.address, 8: eight.device.address}
    async with running_gateway(database, tmp_path, [seven, eight]) as running:
        running.network.value_at = {homes[7]: "7", homes[8]: "8"}
        await running.poll_round(5.0)
        running.network.value_at = {homes[7]: "8", homes[8]: "7"}
        running.network.answering = {homes[7]: 8, homes[8]: 7}
        running.network.say_i_am(i_am(7, homes[8]))
        running.network.say_i_am(i_am(8, homes[7]))
        await running.until(lambda: [d.instance for d in running.gateway.poll.at(homes[7])] == [8])
        await running.poll_round(30.0)
        points = [point for message in running.bulk() for point in message["points"] if point["quality"] == "good"]
        assert {(point["controller_device_id"], point["present_value"]) for point in points} == {("7", "7"), ("8", "8")}
        assert len(points) > 6


async def test_a_device_that_stays_silent_is_sought(tmp_path, database):
    seven = device(7)
    async with running_gateway(database, tmp_path, [seven]) as running:
        running.network.dead.add(seven.device.address)
        running.network.found = [i_am(7, ELSEWHERE)]
        await running.poll_round(2.0)
        await running.until(lambda: bool(running.gateway.poll.at(ELSEWHERE)))


async def test_strangers_cost_nothing(tmp_path, database):
    async with running_gateway(database, tmp_path, [device(7)]) as running:
        await running.poll_round(2.0)
        before = len(running.network.probes)
        for instance in range(1000, 3000):
            running.network.say_i_am(i_am(instance, DeviceAddress(host=f"10.7.{instance % 250}.1")))
        await running.poll_round(5.0)
        assert len(running.network.probes) == before
        assert reported(running) == []
