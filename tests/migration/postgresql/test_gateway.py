"""The gateway over PostgreSQL: the verbs that touch its database, and the gate at its start."""

import asyncio
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from bms_iot.bootstrap import open_gateway
from bms_iot.database import manifest
from bms_iot.database.postgresql import LOCK
from bms_iot.domain.classes import PollingClass
from bms_iot.domain.points import DeviceAddress, ObjectIdentifier, ObjectType
from bms_iot.domain.profiles import AbsentProperty, LearnedProfile
from bms_iot.domain.readings import Quality, Reading
from bms_iot.errors import DatabaseLocked, SchemaBehind, StorageError
from bms_iot.provisioning import check_schema
from bms_iot.schema import commands
from bms_iot.settings import load_settings
from bms_iot.storage.classes import load_classes, save_classes
from bms_iot.storage.configuration import load_configuration, next_boot, prune, save_configuration, save_deployment
from bms_iot.storage.database import Database, open_database
from bms_iot.storage.outbox import Outbox
from bms_iot.storage.points import ImageRow, load_points, register, write_images
from bms_iot.storage.profiles import forget_profiles, load_profiles, save_profiles
from tests.integration.gateways import DEPLOYMENT, configured, running_gateway
from tests.migration.postgresql.server import free_port

AI, BV = ObjectType.ANALOG_INPUT, ObjectType.BINARY_VALUE
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    await asyncio.to_thread(commands.upgrade, url)
    async with open_database(url) as database:
        yield database


def reading(point_id: int, at: int = 0, value: str = "21.5") -> Reading:
    return Reading(point_id=point_id, acquired_at=NOW + timedelta(seconds=at), present_value=value, quality=Quality.GOOD)


async def rows(database: Database, query: str) -> list[tuple[Any, ...]]:
    async def fetch(connection: AsyncConnection) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in await connection.execute(sa.text(query))]

    return await database.read(fetch)


async def test_points_are_registered_once_move_and_carry_their_image(database: Database) -> None:
    first = await database.write(register, [configured(7, (AI, 1), (BV, 1))], NOW)
    moved = await database.write(register, [configured(7, (AI, 1), (BV, 1), host="10.9.9.9")], NOW)
    image = ImageRow(reading=reading(first[0].point.id), optional={"high_limit": 30.0, "limit_enable": {"lowLimitEnable": True}})
    await database.write(write_images, [image])

    assert [stored.point.id for stored in moved] == [stored.point.id for stored in first]
    assert {stored.point.device.address for stored in moved} == {DeviceAddress(host="10.9.9.9")}
    loaded = {stored.point.id: stored for stored in await database.read(load_points)}
    assert loaded[first[0].point.id].optional == image.optional
    query = "SELECT present_value, created_at_unix_milli_timestamp FROM controller_points ORDER BY id"
    assert await rows(database, query) == [
        ("21.5", int(NOW.timestamp()) * 1000),
        (None, int(NOW.timestamp()) * 1000),
    ]


async def test_classes_and_profiles_are_kept(database: Database) -> None:
    address = DeviceAddress(host="12:0a")
    lacking = AbsentProperty(object=ObjectIdentifier(type=AI, instance=4_194_302), property=65)
    profile = LearnedProfile(
        max_apdu=480, segmentation="none", budget=240, learned_at=NOW, has_cov=False, absent=frozenset({lacking})
    )
    await database.write(save_classes, ["a", "b"], PollingClass.FAST, NOW)
    await database.write(save_classes, ["b"], None, NOW)
    for _ in range(2):
        await database.write(save_profiles, {(4_194_302, address): profile}, NOW)

    assert await database.read(load_classes) == {"a": PollingClass.FAST}
    assert await database.read(load_profiles) == {(4_194_302, address): profile}
    await database.write(forget_profiles, but=[])
    assert await database.read(load_profiles) == {}


async def test_the_outbox_keeps_its_order_and_forgets_what_was_delivered(database: Database) -> None:
    boots = [await database.write(next_boot, floor=floor, version="test", now=NOW) for floor in (0, 2**40)]
    for boot in boots:
        outbox = Outbox(database, boot)
        await outbox.open()
        await outbox.append([[reading(1, at)] for at in range(3)], created_at=NOW)

    waiting = await outbox.following((0, 0), limit=100)
    outbox.acknowledge(waiting[:2], NOW)

    assert boots == [1, 2**40 + 1]
    assert [message.key for message in waiting] == [(boot, seq) for boot in boots for seq in (1, 2, 3)]
    assert [message.key for message in await outbox.following((boots[0], 3), limit=2)] == [(boots[1], 1), (boots[1], 2)]
    assert waiting[0].readings()[0].reading == reading(1)
    assert await outbox.oldest_at() == NOW + timedelta(seconds=2)
    assert (outbox.messages, outbox.readings) == (4, 4)


async def test_the_newest_configuration_wins_and_the_oldest_are_forgotten(database: Database) -> None:
    for instance in range(1, 9):
        await database.write(save_configuration, [configured(instance, (AI, 1))], NOW)
    await database.write(prune)

    [device] = await database.read(load_configuration)
    assert device.device.instance == 8
    assert await rows(database, "SELECT count(*) FROM bacnet_config") == [(5,)]


async def test_a_gateway_reads_delivers_and_remembers(database: Database, tmp_path: Path) -> None:
    async with running_gateway(database, tmp_path, [configured(7, (AI, 1))]) as running:
        await running.poll_round(1.0)
        await running.until(lambda: bool(running.bulk()) and running.outbox.messages == 0)
        assert running.bulk()[0]["points"][0]["present_value"] == "21.7"

    assert await rows(database, "SELECT boot, seq, state FROM deliveries") == [(1, 1, "DELIVERED")]
    assert await rows(database, "SELECT present_value FROM controller_points") == [("21.7",)]


async def test_a_reader_cannot_write_and_sees_one_moment(database: Database) -> None:
    async def read(connection: AsyncConnection) -> tuple[Any, Any]:
        query = sa.text("SELECT count(*) FROM boots")
        before = (await connection.execute(query)).scalar()
        await database.write(next_boot, floor=0, version="test", now=NOW)
        return before, (await connection.execute(query)).scalar()

    assert await database.read(read) == (0, 0)
    with pytest.raises(StorageError, match="read-only"):
        await database.read(save_deployment, DEPLOYMENT, NOW)


async def test_a_writer_beside_a_migration_is_told_so(database: Database, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def short(connection: AsyncConnection) -> None:
        await connection.execute(sa.text("SET lock_timeout = '200ms'"))

    await database.write(short)  # the pool gives the same connection again
    engine = create_async_engine(url)
    try:
        async with engine.begin() as migration:
            await migration.execute(sa.text(LOCK))
            with pytest.raises(DatabaseLocked):
                await database.write(save_deployment, DEPLOYMENT, NOW)
    finally:
        await engine.dispose()
    await database.write(save_deployment, DEPLOYMENT, NOW)


async def test_a_server_that_is_gone_is_an_error_of_storage() -> None:
    async with open_database(f"postgresql+asyncpg://bms@127.0.0.1:{free_port()}/site") as database:
        with pytest.raises(StorageError):
            await database.read(load_points)


def settings(url: str, directory: Path) -> Any:
    return load_settings(
        {
            "BMS_DATABASE_URL": url,
            "BMS_DATA_DIRECTORY": str(directory),
            "BMS_ORGANIZATION_ID": "org_test",
            "BMS_SITE_ID": "site",
            "BMS_DEVICE_ID": "gateway",
            "BMS_MQTT__HOST": "127.0.0.1",
            "BMS_MQTT__PORT": str(free_port()),
            "BMS_BACNET__ADDRESS": "127.0.0.1",
            "BMS_BACNET__PORT": str(free_port(socket.SOCK_DGRAM)),
        }
    )


def test_the_gate_names_the_command_a_database_waits_for(url: str, tmp_path: Path) -> None:
    for revision in (None, "f0a65dd2e313"):
        if revision:
            commands.upgrade(url, revision)
        with pytest.raises(SchemaBehind) as refusal:
            check_schema(settings(url, tmp_path))
        assert refusal.value.hint == "bms-iot db upgrade"

    commands.upgrade(url)
    assert check_schema(settings(url, tmp_path)) == manifest.head()


async def test_the_whole_gateway_opens_on_it(database: Database, url: str, tmp_path: Path) -> None:
    async with open_gateway(settings(url, tmp_path)) as gateway:
        assert gateway.state.schema_revision == manifest.head()
        assert await rows(database, "SELECT boot FROM boots") == [(gateway.state.boot,)]
