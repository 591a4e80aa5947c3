"""Which device is asked for what, when, and what is kept of it."""

import sqlite3
from contextlib import closing

import pytest

from bms_iot.domain.classes import ClassRule, PollingClass
from bms_iot.domain.points import DeviceAddress, ObjectType
from bms_iot.storage.classes import save_classes
from tests.databases import fresh_database
from tests.integration.gateways import configured, running_gateway

AI, BV = ObjectType.ANALOG_INPUT, ObjectType.BINARY_VALUE
RULES = [ClassRule.parse("fast */analog-input"), ClassRule.parse("slow */binary-value")]


@pytest.fixture
async def database(tmp_path):
    async with fresh_database(tmp_path) as opened:
        yield opened


def rows(directory, query):
    with closing(sqlite3.connect(directory / "bms_bacnet.db")) as connection:
        return connection.execute(query).fetchall()


def objects_of(points):
    return [str(point.object) for point in points]


async def test_each_class_is_read_on_its_own_beat_and_together_where_beats_meet(tmp_path, database):
    devices = [configured(7, (AI, 1), (BV, 1))]
    async with running_gateway(database, tmp_path, devices, rules=RULES) as running:
        await running.poll_round(61.0)
        fast, both = ["analogInput:1"], ["analogInput:1", "binaryValue:1"]
        assert [objects_of(points) for points in running.network.read] == [both, *([fast] * 29), both]
        assert [optional for _, _, optional in running.network.polls] == [True, *([False] * 30)]
        same = {id(points) for points in running.network.read[1:-1]}
        assert len(same) == 1


async def test_points_that_the_device_reports_are_read_as_slow(tmp_path, database):
    async with running_gateway(database, tmp_path, [configured(7, (AI, 1), (AI, 2))], rules=RULES) as running:
        await running.poll_round(3.0)
        running.gateway.poll.report({running.network.read[0][0].id})
        await running.poll_round(7.0)
        assert {tuple(objects_of(points)) for points in running.network.read[-3:]} == {("analogInput:2",)}


async def test_what_is_set_on_site_counts_within_half_a_minute(tmp_path, database):
    async with running_gateway(database, tmp_path, [configured(7, (AI, 1))]) as running:
        await running.poll_round(20.0)
        (key,) = rows(tmp_path, "SELECT iot_device_point_id FROM controller_points")[0]
        await database.write(save_classes, [key], PollingClass.FAST, running.clock.now())
        await running.poll_round(21.0)
        before = len(running.network.read)
        await running.poll_round(10.0)
        assert len(running.network.read) - before == 5
        await database.write(save_classes, [key], None, running.clock.now())
        await running.poll_round(31.0)
        before = len(running.network.read)
        await running.poll_round(10.0)
        assert len(running.network.read) - before == 1


async def test_a_silent_device_costs_one_probe_a_pause_and_the_others_nothing(tmp_path, database):
    async with running_gateway(database, tmp_path, [configured(7, (AI, 1)), configured(8, (AI, 1))]) as running:
        await running.poll_round(1.0)
        running.network.silent.add(8)
        await running.poll_round(120.0)
        probes = [at for at, device in running.network.probes if device == 8 and at > 10.5]
        assert len(probes) == 3  # 10, 20 and 40 seconds, and up to a tenth, after each other
        assert len([at for at, device, _ in running.network.polls if device == 8]) == 2
        assert len([at for at, device, _ in running.network.polls if device == 7]) == 13
        running.network.silent.clear()
        await running.poll_round(44.0)
        assert running.network.polls[-1][1] == 8 or running.network.polls[-2][1] == 8
        bad = [p for m in running.bulk() for p in m["points"] if p["controller_device_id"] == "8" and p["quality"] == "bad"]
        assert [p["error_info"]["error_code"] for p in bad] == ["timeout"]


async def test_nothing_is_kept_of_another_device_at_the_same_address(tmp_path, database):
    device = configured(7, (AI, 1))
    async with running_gateway(database, tmp_path, [device]) as running:
        await running.poll_round(11.0)
        running.network.answering = {device.device.address: 9}
        running.network.value = lambda _point: "999"
        running.gateway.poll.doubt(device.device)
        await running.poll_round(30.0)
        points = [point for message in running.bulk() for point in message["points"]]
        assert "999" not in {point["present_value"] for point in points}
        assert points[-1]["error_info"] == {"error_class": "communication", "error_code": "unknown-device"}
        running.network.answering = {}
        running.network.value = lambda _point: "22"
        await running.poll_round(44.0)
        assert [p for m in running.bulk() for p in m["points"]][-1]["present_value"] == "22"


async def test_a_device_that_was_exchanged_before_the_start_is_not_read(tmp_path, database):
    device = configured(7, (AI, 1))
    async with running_gateway(database, tmp_path, [device]) as running:
        running.network.answering = {DeviceAddress(host=device.device.address.host): 9}
        await running.poll_round(30.0)
        assert running.network.read == []


async def test_being_woken_costs_one_look_at_what_is_due_and_no_more(tmp_path, database, monkeypatch):
    seven = configured(7, (AI, 1))
    async with running_gateway(database, tmp_path, [seven]) as running:
        await running.poll_round(2.0)
        poll, looks = running.gateway.poll, 0
        next_due = poll._next_due

        def counted(now):
            nonlocal looks
            looks += 1
            return next_due(now)

        monkeypatch.setattr(poll, "_next_due", counted)
        for _ in range(5):
            poll.resume()
            await running.clock.advance(0.01)
        assert 5 <= looks <= 6


async def test_a_device_that_leaves_the_plan_and_comes_back_while_it_is_asked_is_read_on(tmp_path, database):
    async with running_gateway(database, tmp_path, [configured(7, (AI, 1))]) as running:
        await running.poll_round(2.0)
        poll, network = running.gateway.poll, running.network
        (device,) = poll.devices
        points = network.read[0]
        network.delays[7] = 5.0
        asked = len(network.read)
        await running.poll_round(10.0)
        assert len(network.read) == asked + 1
        poll.replan({})
        poll.replan({device: points})
        network.delays.clear()
        await running.poll_round(30.0)
        assert len(network.read) >= asked + 3


async def test_of_a_device_that_left_the_plan_while_it_was_asked_nothing_is_said(tmp_path, database):
    async with running_gateway(database, tmp_path, [configured(7, (AI, 1))]) as running:
        await running.poll_round(2.0)
        running.network.delays[7] = 5.0
        await running.poll_round(10.0)
        running.gateway.poll.replan({})
        running.network.silent.add(7)
        await running.poll_round(20.0)
        assert not running.state.silent_devices
        assert not running.state.heard_devices
