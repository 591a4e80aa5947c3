"""The journal of commands and the leases over PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from bms_iot.domain.commands import JournalState
from bms_iot.schema import commands as migrations
from bms_iot.storage import commands, leases
from bms_iot.storage.commands import Arrival
from bms_iot.storage.database import Database, open_database
from bms_iot.storage.leases import Lease

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    await asyncio.to_thread(migrations.upgrade, url)
    async with open_database(url) as database:
        yield database


async def test_a_command_goes_forwards_once_and_is_found_again(database: Database) -> None:
    arrival = Arrival(name="set_value_to_point", command_id="c", boot=3, request={"presentValue": 21.5}, iot_device_point_id="p")
    entry, is_new = await database.write(commands.receive, arrival, NOW)
    again, is_new_again = await database.write(commands.receive, arrival, NOW)
    assert (is_new, is_new_again, again.id, again.duplicates) == (True, False, entry.id, 1)
    assert [found.id for found in await database.read(commands.unfinished)] == [entry.id]
    assert await database.write(commands.start, entry.id, NOW, writes=True)
    outcome = {"success": True, "message": "written", "after": 21.5}
    assert await database.write(commands.finish, entry.id, JournalState.DONE, outcome, NOW)
    assert not await database.write(commands.finish, entry.id, JournalState.FAILED, {}, NOW)
    assert not await database.write(commands.start, entry.id, NOW)
    (waiting,) = await database.read(commands.unanswered, 10)
    assert (waiting.state, waiting.outcome, waiting.written_at) == (JournalState.DONE, outcome, NOW)
    await database.write(commands.mark_answered, entry.id, 2, NOW)
    assert await database.read(commands.unanswered, 10) == []
    (kept,) = await database.read(commands.newest, 5)
    assert (kept.attempts, kept.answered_at) == (2, NOW)
    await database.write(commands.prune, NOW + timedelta(days=1000))
    assert await database.read(commands.counts) == {JournalState.DONE: 1}


async def test_a_place_has_one_lease_which_ends_once(database: Database) -> None:
    lease = Lease(iot_device_point_id="p", priority=8, command_id="a", boot=3, value="21.5", seconds=20.0, granted_at=NOW)
    await database.write(leases.grant, lease)
    newer = Lease(iot_device_point_id="p", priority=8, command_id="b", boot=3, value="22", seconds=30.0, granted_at=NOW)
    await database.write(leases.grant, newer)
    await database.write(leases.note_failure, newer, "device 7 did not answer", NOW)
    (active,) = await database.read(leases.active)
    assert (active.key, active.attempts, active.last_error) == (newer.key, 1, "device 7 did not answer")
    await database.write(leases.end, newer.place, {"released": True}, NOW)
    assert await database.read(leases.active) == []
    await database.write(leases.prune, NOW + timedelta(days=1000))
