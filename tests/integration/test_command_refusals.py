"""Commands that are refused: each with its reason, and nothing is written."""

from datetime import timedelta

import pytest

from bms_iot.sections import WritesSettings
from tests.databases import fresh_database
from tests.integration.commanding import DEVICES, ON, answer, answers, lanes_of, rows, send, set_value
from tests.integration.gateways import running_gateway


@pytest.fixture
async def database(tmp_path):
    async with fresh_database(tmp_path) as database:
        yield database


@pytest.mark.parametrize(
    "case",
    [
        (WritesSettings(), {}, {}, "rejected", "writing is off"),
        (ON, {}, {"retain": True}, "rejected", "retained"),
        (ON, {"expiresAt": "2026-11-22T07:59:59Z"}, {}, "expired", "expired"),
        (ON, {"presentValue": [1]}, {}, "rejected", "presentValue"),
        (ON, {"presentValue": "warm"}, {}, "rejected", "no number"),
        (ON, {"iotDevicePointId": "other"}, {}, "rejected", "iotDevicePointId"),
        (ON, {"controllerId": "other"}, {}, "rejected", "controllerId"),
        (ON, {"pointInstanceId": 2}, {}, "rejected", "pointInstanceId"),
        (WritesSettings(enabled=True, points=("7/BO/*",)), {}, {}, "rejected", "writes.points"),
        (WritesSettings(enabled=True, ranges=("0..40 */AO/*",)), {}, {}, "rejected", "above 40"),
        (ON, {"priority": 1}, {}, "rejected", "priority"),
        (ON, {"priority": 7}, {}, "rejected", "priority"),
    ],
)
async def test_what_is_refused_says_why_and_writes_nothing(tmp_path, database, case):
    settings, change, more, state, says = case
    async with running_gateway(database, tmp_path, DEVICES, writes=settings) as running:
        said = await answer(running, "set_value_to_point", {**set_value(tmp_path), **change}, **more)
        assert (said["success"], said["state"], said["commandId"]) == (False, state, "c")
        assert says in said["message"]
        assert running.network.writes == []
        assert not running.task.done()
    assert rows(tmp_path, "SELECT state, written_at FROM commands") == [(state.upper(), None)]


@pytest.mark.parametrize(
    "case",
    [
        (b'{"commandId": "c", "presentValue": ', {}, "c", "not JSON"),
        (b"\xff\xfe", {}, None, "UTF-8"),
        (b'{"commandId": "c", "x": "' + b"y" * 300_000 + b'"}', {}, "c", "bytes"),
        (b'{"commandId": "c", "x": "yyyy', {"cut_from": 2_000_000}, "c", "2000000 bytes"),
        (b"[]", {}, None, "object"),
    ],
)
async def test_what_is_no_command_is_answered_where_it_can_be(tmp_path, database, case):
    payload, more, command_id, says = case
    async with running_gateway(database, tmp_path, DEVICES, writes=ON) as running:
        message = send(running, "set_value_to_point", payload, **more)
        await running.until(lambda: running.broker.acknowledged == [message] and bool(answers(running, "set_value_to_point")))
        said = answers(running, "set_value_to_point")[0]
        assert (said["state"], said.get("commandId")) == ("rejected", command_id)
        assert says in said["message"]
        assert running.network.writes == []


async def test_without_a_trusted_clock_only_commands_that_never_expire_are_carried_out(tmp_path, database):
    async with running_gateway(database, tmp_path, DEVICES, writes=ON, wrong_time=timedelta(days=-400)) as running:
        refused = await answer(running, "set_value_to_point", set_value(tmp_path, "a", expiresAt="2036-01-01T00:00:00Z"))
        assert (refused["state"], "time" in refused["message"]) == ("rejected", True)
        assert (await answer(running, "set_value_to_point", set_value(tmp_path, "b")))["state"] == "done"
        assert len(running.network.writes) == 1


async def test_a_command_that_expires_while_it_waits_is_not_carried_out(tmp_path, database):
    async with running_gateway(database, tmp_path, DEVICES, writes=ON) as running:
        moment = (running.clock.now() + timedelta(seconds=5)).isoformat()
        device = DEVICES[0].device
        async with lanes_of(running.gateway.execute).of(device):
            send(running, "set_value_to_point", set_value(tmp_path, expiresAt=moment))
            await running.until(lambda: bool(rows(tmp_path, "SELECT 1 FROM commands")))
            await running.clock.advance(6.0)
        await running.until(lambda: bool(answers(running, "set_value_to_point")))
        assert answers(running, "set_value_to_point")[0]["state"] == "expired"
        assert running.network.writes == []


async def test_too_many_writes_are_refused_until_time_has_passed(tmp_path, database):
    async with running_gateway(database, tmp_path, DEVICES, writes=WritesSettings(enabled=True, per_minute=2)) as running:
        states = [(await answer(running, "set_value_to_point", set_value(tmp_path, str(number))))["state"] for number in range(3)]
        assert states == ["done", "done", "rejected"]
        assert "too fast" in answers(running, "set_value_to_point")[-1]["message"]
        await running.clock.advance(30.0)
        assert (await answer(running, "set_value_to_point", set_value(tmp_path, "later")))["state"] == "done"
        assert len(running.network.writes) == 3
