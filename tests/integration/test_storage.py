"""The queries, over a real database: identity of points, rows as older versions left them, messages that become two."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from bms_iot.domain.points import ObjectType
from bms_iot.domain.readings import Quality, Reading
from bms_iot.gateway.monitor import keep_configuration
from bms_iot.storage.configuration import load_configuration, load_monitoring, load_readers, prune
from bms_iot.storage.outbox import Outbox
from bms_iot.storage.points import load_points
from tests.databases import fresh_database
from tests.integration.gateways import configured

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
AI = ObjectType.ANALOG_INPUT
STAMP = "'2026-01-01 00:00:00.000000'"


@pytest.fixture
async def database(tmp_path):
    async with fresh_database(tmp_path) as database:
        yield database


def execute(tmp_path, statement):
    with closing(sqlite3.connect(tmp_path / "bms_bacnet.db", isolation_level=None)) as connection:
        return connection.execute(statement).fetchall()


async def keys(database):
    """(controller id, host) → (row id, key) of each point."""
    return {
        (s.point.device.controller_id, s.point.device.address.host): (s.point.id, s.point.iot_device_point_id)
        for s in await database.read(load_points)
    }


async def test_two_controllers_that_swap_addresses_keep_their_own_points(database):
    one, two = configured(100, (AI, 1), host="10.0.0.1", controller="a"), configured(100, (AI, 1), host="10.0.0.2", controller="b")
    await database.write(keep_configuration, [one, two], NOW)
    before = await keys(database)
    swapped = [configured(100, (AI, 1), host="10.0.0.2", controller="a"), configured(100, (AI, 1), host="10.0.0.1", controller="b")]
    await database.write(keep_configuration, swapped, NOW)
    assert await keys(database) == {("a", "10.0.0.2"): before["a", "10.0.0.1"], ("b", "10.0.0.1"): before["b", "10.0.0.2"]}


async def test_a_chain_of_moves_keeps_every_point(database):
    first = [configured(100, (AI, 1), host=f"10.0.0.{n}", controller=c) for n, c in ((1, "a"), (2, "b"))]
    await database.write(keep_configuration, first, NOW)
    before = await keys(database)
    moved = [configured(100, (AI, 1), host=f"10.0.0.{n}", controller=c) for n, c in ((2, "a"), (3, "b"))]
    await database.write(keep_configuration, moved, NOW)
    assert await keys(database) == {("a", "10.0.0.2"): before["a", "10.0.0.1"], ("b", "10.0.0.3"): before["b", "10.0.0.2"]}


async def test_a_controller_that_moves_to_where_a_forgotten_one_was_does_not_become_it(database):
    both = [configured(100, (AI, 1), host="10.0.0.1", controller="a"), configured(100, (AI, 1), host="10.0.0.2", controller="gone")]
    await database.write(keep_configuration, both, NOW)
    before = await keys(database)
    await database.write(keep_configuration, [configured(100, (AI, 1), host="10.0.0.2", controller="a")], NOW)
    after = await keys(database)
    assert after["a", "10.0.0.2"] == before["a", "10.0.0.1"]
    assert after["gone", "10.0.0.1"] == before["gone", "10.0.0.2"]


async def test_a_newcomer_at_a_moved_controllers_old_address_gets_points_of_its_own(database):
    await database.write(keep_configuration, [configured(100, (AI, 1), host="10.0.0.1", controller="a")], NOW)
    before = await keys(database)
    later = [configured(100, (AI, 1), host="10.0.0.2", controller="a"), configured(100, (AI, 1), host="10.0.0.1", controller="c")]
    await database.write(keep_configuration, later, NOW)
    after = await keys(database)
    assert after["a", "10.0.0.2"] == before["a", "10.0.0.1"]
    assert after["c", "10.0.0.1"] != before["a", "10.0.0.1"]


async def test_one_controller_configured_twice_counts_once(database):
    twice = [configured(100, (AI, 1), host="10.0.0.1", controller="a"), configured(100, (AI, 1), host="10.0.0.2", controller="a")]
    _, stored = await database.write(keep_configuration, twice, NOW)
    assert [s.point.device.address.host for s in stored] == ["10.0.0.1"]


@pytest.mark.parametrize(
    "change",
    [
        "controller_device_id = 'abc'",
        "bacnet_object_type = 'LOOP'",
    ],
)
async def test_a_point_row_that_cannot_be_one_is_passed_over(tmp_path, database, change):
    await database.write(keep_configuration, [configured(1, (AI, 1)), configured(2, (AI, 1))], NOW)
    execute(tmp_path, f"UPDATE controller_points SET {change} WHERE controller_device_id = '1'")
    assert [s.point.device.instance for s in await database.read(load_points)] == [2]


@pytest.mark.parametrize(
    "text", ["not json", "[[[[", '{"a": 1}', '[{"device_id": 1e999, "controller_id": "c", "controller_ip_address": "x"}]']
)
async def test_a_configuration_that_cannot_be_read_is_passed_over(tmp_path, database, text):
    await database.write(keep_configuration, [configured(7, (AI, 1))], NOW)
    execute(tmp_path, f"INSERT INTO bacnet_config (bacnet_devices, created_at, updated_at) VALUES ('{text}', {STAMP}, {STAMP})")
    assert [c.device.instance for c in await database.read(load_configuration)] == [7]
    await database.write(prune)
    assert [c.device.instance for c in await database.read(load_configuration)] == [7]


@pytest.mark.parametrize(("mask", "prefix"), [("24", 24), ("'255.255.0.0'", 16)])
async def test_a_readers_mask_is_a_prefix_length_or_a_netmask(tmp_path, database, mask, prefix):
    insert_reader(tmp_path, mask=mask)
    assert [reader.prefix_length for reader in await database.read(load_readers)] == [prefix]


@pytest.mark.parametrize("odd", [{"mask": "255"}, {"host": "'eth0'"}, {"port": "0"}, {"host": "'10.0.0.2/24'"}])
async def test_a_reader_that_cannot_be_one_is_passed_over(tmp_path, database, odd):
    insert_reader(tmp_path, **odd)
    insert_reader(tmp_path, key="'good'")
    assert [reader.id for reader in await database.read(load_readers)] == ["good"]


def insert_reader(tmp_path, *, key="'odd'", host="'10.0.0.2'", mask="24", port="47808"):
    execute(
        tmp_path,
        "INSERT INTO bacnet_readers (id, iot_device_id, ip_address, subnet_mask, bacnet_device_id, port, bbmd_enabled, is_active, "
        f"created_at, updated_at) VALUES ({key}, 'd', {host}, {mask}, 1, {port}, 0, 1, {STAMP}, {STAMP})",
    )


async def test_an_unknown_monitoring_status_counts_as_none(tmp_path, database):
    execute(
        tmp_path,
        "INSERT INTO iot_device_status (iot_device_id, organization_id, site_id, monitoring_status, payload, created_at, "
        f"updated_at, received_at) VALUES ('d', 'o', 's', 'DREAMING', '{{}}', {STAMP}, {STAMP}, {STAMP})",
    )
    assert await database.read(load_monitoring) is None


async def test_a_split_message_becomes_two_with_all_their_readings(database):
    outbox = Outbox(database, boot=5)
    readings = [
        Reading(
            point_id=n,
            acquired_at=NOW + timedelta(seconds=n),
            present_value=str(n),
            quality=Quality.GOOD,
            optional={"units": "volts"},
        )
        for n in range(5)
    ]
    await outbox.append([readings], created_at=NOW)
    (message,) = await outbox.following((-1, 0), limit=10)
    await outbox.split(message)
    halves = await outbox.following((-1, 0), limit=10)
    assert [(half.key, half.count) for half in halves] == [((5, 1), 2), ((5, 2), 3)]
    assert [stored.reading.present_value for half in halves for stored in half.readings()] == ["0", "1", "2", "3", "4"]
    assert all(stored.columns == {"units": "volts"} for half in halves for stored in half.readings())
    assert (outbox.messages, outbox.readings) == (2, 5)
