"""What was learned of the devices is kept over a restart."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from bms_iot.domain.points import ObjectIdentifier, ObjectType
from bms_iot.domain.profiles import AbsentProperty, LearnedProfile
from bms_iot.gateway.remember import EVERY_SECONDS
from bms_iot.storage.profiles import load_profiles, save_profiles
from tests.databases import fresh_database
from tests.integration.gateways import configured, running_gateway

AI = ObjectType.ANALOG_INPUT
MOMENT = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
PROFILE = LearnedProfile(
    max_apdu=480,
    segmentation="none",
    budget=240,
    learned_at=MOMENT,
    has_rpm=True,
    has_cov=False,
    absent=frozenset(
        AbsentProperty(object=ObjectIdentifier(type=object_type, instance=instance), property=number)
        for object_type in (AI, ObjectType.BINARY_VALUE)
        for instance in (1, 4_194_302)
        for number in (65, 4_194_303)
    ),
)


@pytest.fixture
async def database(tmp_path):
    async with fresh_database(tmp_path) as opened:
        yield opened


def writes(directory):
    with closing(sqlite3.connect(directory / "bms_bacnet.db")) as connection:
        return connection.execute("SELECT updated_at FROM device_profiles").fetchall()


async def test_a_profile_comes_back_as_it_was(database):
    seven = configured(7).device
    bare = LearnedProfile(max_apdu=50, segmentation="both", budget=24, learned_at=MOMENT)
    profiles = {(7, seven.address): PROFILE, (8, seven.address): bare}
    await database.write(save_profiles, profiles, MOMENT)
    await database.write(save_profiles, {(8, seven.address): bare}, MOMENT)
    assert await database.read(load_profiles) == profiles


async def test_what_was_learned_is_written_at_the_end_and_recalled_at_the_start(tmp_path, database):
    seven = configured(7, (AI, 1))
    async with running_gateway(database, tmp_path, [seven]) as running:
        running.network.profiles[seven.device] = PROFILE
        await running.poll_round(1.0)
        assert writes(tmp_path) == []
    async with running_gateway(database, tmp_path, [seven]) as running:
        assert running.network.profiles == {seven.device: PROFILE}


async def test_it_is_written_behind_and_only_when_it_changed(tmp_path, database):
    seven = configured(7, (AI, 1))
    async with running_gateway(database, tmp_path, [seven]) as running:
        running.network.profiles[seven.device] = PROFILE
        remember = running.gateway.remember
        await remember.write()
        first = writes(tmp_path)
        running.network.profiles[seven.device] = replace(PROFILE, learned_at=MOMENT.replace(minute=1))
        await running.clock.advance(EVERY_SECONDS)
        await remember.write()
        assert writes(tmp_path) == first
        running.network.profiles[seven.device] = replace(PROFILE, budget=120)
        await remember.write()
        assert writes(tmp_path) != first


async def test_a_device_that_is_not_read_any_more_is_forgotten(tmp_path, database):
    seven, eight = configured(7, (AI, 1)), configured(8, (AI, 1))
    async with running_gateway(database, tmp_path, [seven, eight]) as running:
        running.network.profiles = {seven.device: PROFILE, eight.device: PROFILE}
        await running.gateway.remember.write()
        await running.monitor.reconfigure([seven])
        await running.gateway.remember.write()
        assert {instance for instance, _ in await database.read(load_profiles)} == {7}
