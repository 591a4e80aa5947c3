"""The profiles for people: last values, retained, and Home Assistant's device discovery."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bms_iot.domain.points import ObjectType
from bms_iot.errors import ConfigurationError
from bms_iot.gateway.mirror import Mirror
from bms_iot.mqtt.topics import Topics
from bms_iot.settings import load_settings
from tests.databases import fresh_database
from tests.integration.gateways import BASE, Running, configured, running_gateway

AI, BV, MV = ObjectType.ANALOG_INPUT, ObjectType.BINARY_VALUE, ObjectType.MULTI_STATE_VALUE
TOPICS = Topics(organization_id="org_test", site_id="site", iot_device_id="gateway")


@pytest.fixture
async def database(tmp_path):
    async with fresh_database(tmp_path) as database:
        yield database


@asynccontextmanager
async def mirrored(running: Running, prefix: str | None = None) -> AsyncIterator[Mirror]:
    mirror = Mirror(
        broker=running.broker, image=running.image, monitor=running.monitor, topics=TOPICS, clock=running.clock,
        home_assistant_prefix=prefix,
    )  # fmt: skip
    task = asyncio.create_task(mirror.run())
    try:
        yield mirror
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def last_values(running: Running) -> list[tuple[str, dict[str, object]]]:
    return [
        (topic, json.loads(payload) if payload else {})
        for topic, payload, retain in running.broker.published
        if retain and topic.startswith(f"{BASE}/7/")
    ]


async def test_the_last_value_of_each_point_is_retained_and_only_changes_are_published_again(database, tmp_path):
    values = {AI: "21.5", BV: "active", MV: "3"}
    async with running_gateway(database, tmp_path, [configured(7, (AI, 1), (BV, 1), (MV, 1))]) as running:
        running.network.value = lambda point: values[point.object.type]
        async with mirrored(running):
            await running.poll_round(15.0)
            await running.until(lambda: len(last_values(running)) >= 3)
            assert {topic.split("/")[-1] for topic, _ in last_values(running)} == {
                point.iot_device_point_id for point, _ in running.monitor.planned()
            }
            assert {json.dumps(payload["value"]) for _, payload in last_values(running)} == {"21.5", "true", "3"}
            before = len(last_values(running))
            await running.poll_round(20.0)
            assert len(last_values(running)) == before
            values[AI] = "22.5"
            await running.poll_round(15.0)
            await running.until(lambda: len(last_values(running)) > before)
            assert [payload["value"] for _, payload in last_values(running)[before:]] == [22.5]


async def test_all_comes_again_after_a_connect_and_what_is_read_no_more_is_taken_back(database, tmp_path):
    async with running_gateway(database, tmp_path, [configured(7, (AI, 1), (BV, 1))]) as running, mirrored(running) as mirror:
        await running.poll_round(15.0)
        await running.until(lambda: len(last_values(running)) == 2)
        mirror.connected()
        await running.poll_round(2.0)
        await running.until(lambda: len(last_values(running)) == 4)
        gone = next(point for point, _ in running.monitor.planned() if point.object.type is BV)
        await running.monitor.reconfigure([configured(7, (AI, 1))])
        await running.poll_round(2.0)
        topic = f"{BASE}/7/{gone.iot_device_point_id}"
        await running.until(lambda: (topic, {}) in last_values(running))


async def test_home_assistant_is_told_each_controller_as_a_device_with_its_points(database, tmp_path):
    objects = [(AI, instance) for instance in range(1, 150)]
    async with running_gateway(database, tmp_path, [configured(7, *objects, (BV, 1))]) as running:
        async with mirrored(running, "homeassistant"):
            await running.poll_round(15.0)
            await running.until(lambda: len(last_values(running)) >= 150)
        found = {
            topic: json.loads(p) for topic, p, retain in running.broker.published if topic.startswith("homeassistant/") and retain
        }
    assert list(found) == [f"homeassistant/device/bms_iot_gateway_controller-7_7_{number}/config" for number in (1, 2)]
    assert all(len(json.dumps(body)) < 131_072 for body in found.values())
    first, second = found.values()
    assert first["device"] == second["device"]
    assert "'online'" in first["availability_template"]
    entities = {**first["components"], **second["components"]}
    assert len(entities) == 150
    points = {point.iot_device_point_id: point for point, _ in running.monitor.planned()}
    for key, entity in entities.items():
        assert entity["unique_id"] == key
        assert entity["state_topic"] == f"{BASE}/7/{key}"
        assert entity["platform"] == ("binary_sensor" if points[key].object.type is BV else "sensor")


async def test_a_broker_that_refuses_retained_messages_disturbs_nothing_else(database, tmp_path):
    async with running_gateway(database, tmp_path, [configured(7, (AI, 1))]) as running, mirrored(running):
        running.broker.max_bytes = 0
        await running.poll_round(12.0)
        running.broker.max_bytes = None
        await running.poll_round(40.0)
        await running.until(lambda: bool(running.bulk()))


def test_both_are_off_unless_set_and_home_assistant_needs_the_values(tmp_path):
    there = {"BMS_DATA_DIRECTORY": str(tmp_path)}
    assert not load_settings(there).profiles.last_values
    with pytest.raises(ConfigurationError, match="last_values"):
        load_settings({**there, "BMS_PROFILES__HOME_ASSISTANT": "true"})
