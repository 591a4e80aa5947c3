"""Overrides that release themselves."""

import json

import pytest

from bms_iot.domain.readings import ReadingError
from bms_iot.domain.writing import WriteState
from bms_iot.storage import leases
from tests.databases import fresh_database
from tests.integration.commanding import DEVICES, ON, a_lease, answer, answers, key, leave, rows, script, set_value
from tests.integration.gateways import running_gateway


@pytest.fixture
async def database(tmp_path):
    async with fresh_database(tmp_path) as database:
        yield database


async def test_a_lease_releases_itself_at_its_end_with_the_broker_away(tmp_path, database):
    async with running_gateway(database, tmp_path, DEVICES, writes=ON) as running:
        said = await answer(running, "set_value_to_point", set_value(tmp_path, leaseSeconds=20, priority=9))
        assert said["lease"] == {"seconds": 20.0, "expires_at": "2026-11-22T08:00:20.000Z"}
        running.broker.go()
        await running.clock.advance(19.0)
        assert [write.value for write in running.network.writes] == [50.0]
        await running.clock.advance(2.0)
        await running.until(lambda: len(running.network.writes) == 2)
        assert [(write.value, write.priority) for write in running.network.writes] == [(50.0, 9), (None, 9)]
        await running.until(lambda: rows(tmp_path, "SELECT released_at IS NOT NULL FROM leases") == [(1,)])
        await running.clock.advance(300.0)
        assert len(running.network.writes) == 2


async def test_what_an_earlier_start_overrode_is_released_at_once_with_the_broker_away(tmp_path, database):
    async with running_gateway(database, tmp_path, DEVICES):
        pass
    await leave(database, name="set_value_to_point", step="written", point=key(tmp_path), lease=True)
    async with running_gateway(database, tmp_path, DEVICES, connected=False) as running:
        await running.until(lambda: len(running.network.writes) == 1)
        assert [(write.value, write.priority) for write in running.network.writes] == [(None, 9)]


async def test_a_release_that_fails_is_tried_again_and_said(tmp_path, database):
    async with running_gateway(database, tmp_path, DEVICES, writes=ON) as running:
        await answer(running, "set_value_to_point", set_value(tmp_path, leaseSeconds=5))
        running.network.silent.add(7)
        await running.clock.advance(6.0)
        await running.until(lambda: bool(running.state.overdue_leases))
        await running.clock.advance(3.0)
        await running.until(lambda: rows(tmp_path, "SELECT attempts, released_at FROM leases") == [(2, None)])
        running.network.silent.clear()
        await running.clock.advance(60.0)
        await running.until(lambda: rows(tmp_path, "SELECT released_at IS NOT NULL FROM leases") == [(1,)])
        await running.until(lambda: running.state.overdue_leases == set())


@pytest.mark.parametrize(
    ("newer", "released_after"),
    [({"value": 60.0}, None), ({"value": None}, None), ({"value": 60.0, "leaseSeconds": 100}, 100.0)],
)
async def test_what_a_newer_command_wrote_is_not_released_at_the_end_of_the_older_lease(tmp_path, database, newer, released_after):
    async with running_gateway(database, tmp_path, DEVICES, writes=ON) as running:
        await answer(running, "set_value_to_point", set_value(tmp_path, "a", leaseSeconds=20))
        await answer(running, "set_value_to_point", set_value(tmp_path, "b", **newer))
        await running.clock.advance(30.0)
        assert len(running.network.writes) == 2
        await running.clock.advance(100.0)
        await running.until(lambda: len(running.network.writes) == (2 if released_after is None else 3))


async def test_a_newer_command_that_wrote_nothing_leaves_the_older_lease_to_its_end(tmp_path, database):
    async with running_gateway(database, tmp_path, DEVICES, writes=ON) as running:
        await answer(running, "set_value_to_point", set_value(tmp_path, "a", leaseSeconds=20))
        error = ReadingError(error_class="property", error_code="value-out-of-range")
        script(running, state=WriteState.REFUSED, reason="refused", error=error)
        await answer(running, "set_value_to_point", set_value(tmp_path, "b", value=60.0, leaseSeconds=100))
        script(running, state=WriteState.DONE, reason="relinquished")
        await running.clock.advance(21.0)
        await running.until(lambda: [write.value for write in running.network.writes] == [50.0, 60.0, None])


async def test_a_lease_on_another_priority_is_a_lease_of_its_own(tmp_path, database):
    async with running_gateway(database, tmp_path, DEVICES, writes=ON) as running:
        await answer(running, "set_value_to_point", set_value(tmp_path, "a", leaseSeconds=20, priority=8))
        await answer(running, "set_value_to_point", set_value(tmp_path, "b", priority=9))
        await running.clock.advance(21.0)
        await running.until(lambda: len(running.network.writes) == 3)
        assert (running.network.writes[-1].value, running.network.writes[-1].priority) == (None, 8)


async def test_a_newer_write_that_a_kill_left_undecided_is_not_released_by_an_older_lease(tmp_path, database):
    async with running_gateway(database, tmp_path, DEVICES):
        pass
    await leave(database, name="set_value_to_point", step="written", point=key(tmp_path))
    older = a_lease(key(tmp_path), command_id="older")
    await database.write(leases.grant, older)
    async with running_gateway(database, tmp_path, DEVICES, writes=ON, value=lambda _point: "50") as running:
        await running.until(lambda: bool(answers(running, "set_value_to_point")))
        await running.clock.advance(60.0)
        assert running.network.writes == []
    assert json.loads(rows(tmp_path, "SELECT outcome FROM leases")[0][0]) == {"superseded_by": "c"}
