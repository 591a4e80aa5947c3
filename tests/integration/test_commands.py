"""The life of a command over a real database: journalled first, carried out at most once, one final answer."""

import asyncio
import json
import sqlite3
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from bms_iot.domain.commands import JournalState
from bms_iot.domain.readings import ReadingError
from bms_iot.domain.writing import SlotHolder, WriteState
from bms_iot.errors import DeviceUnreachable, PublishRefused, TransportError
from bms_iot.gateway import execute
from bms_iot.storage import commands
from bms_iot.storage.commands import Arrival
from tests.clock import VirtualClock
from tests.databases import fresh_database
from tests.integration.commanding import (
    DEVICES,
    ON,
    answer,
    answers,
    key,
    leave,
    rows,
    script,
    send,
    set_value,
)
from tests.integration.gateways import running_gateway


@pytest.fixture
async def database(tmp_path):
    async with fresh_database(tmp_path) as database:
        yield database


async def test_a_value_is_written_once_and_the_answer_says_what_came_of_it(tmp_path, database):
    async with running_gateway(database, tmp_path, DEVICES, writes=ON) as running:
        body = set_value(tmp_path, controllerId="controller-7", pointInstanceId=1, commandType="set", stateText="half")
        said = await answer(running, "set_value_to_point", body)
        assert (said["success"], said["state"], said["commandId"], said["priority"]) == (True, "done", "c", 8)
        assert said["duration_ms"] >= 0
        assert [(write.value, write.priority) for write in running.network.writes] == [(50.0, 8)]
    ((state, source, boot, asked, answered),) = rows(tmp_path, "SELECT state, source, boot, request, answered_at FROM commands")
    assert (state, source, boot) == ("DONE", "mqtt", 1)
    assert json.loads(asked)["write"] == {"value": 50.0, "priority": 8}
    assert answered is not None


async def test_a_command_that_comes_five_times_is_written_once_and_repeated_from_the_journal_also_after_a_restart(
    tmp_path, database
):
    async with running_gateway(database, tmp_path, DEVICES, writes=ON) as running:
        body = set_value(tmp_path)
        for _ in range(3):
            send(running, "set_value_to_point", body)
        await running.until(lambda: len(answers(running, "set_value_to_point")) == 3)
        first, *repeats = answers(running, "set_value_to_point")
        assert len(running.network.writes) == 1
        assert len(running.broker.acknowledged) == 3
    async with running_gateway(database, tmp_path, DEVICES, writes=ON) as running:
        for _ in range(2):
            send(running, "set_value_to_point", body, retain=True)
        await running.until(lambda: len(answers(running, "set_value_to_point")) == 2)
        repeats += answers(running, "set_value_to_point")
        assert running.network.writes == []
    assert first["state"] == "done"
    assert repeats == [{**first, "state": "duplicate", "first_state": "done"}] * 4
    assert rows(tmp_path, "SELECT count(*), max(duplicates) FROM commands") == [(1, 4)]


async def test_an_id_used_for_something_else_before_does_nothing_and_says_so(tmp_path, database):
    async with running_gateway(database, tmp_path, DEVICES, writes=ON) as running:
        await answer(running, "set_value_to_point", set_value(tmp_path))
        said = await answer(running, "set_value_to_point", set_value(tmp_path, value=60.0))
        assert said["state"] == "duplicate"
        assert "something else" in said["message"]
        assert [write.value for write in running.network.writes] == [50.0]


@pytest.mark.parametrize(
    ("outcome", "state", "expected"),
    [
        (
            {"state": WriteState.DONE, "before": "20", "after": "40", "priority": 9, "holder": SlotHolder(priority=5, value="40")},
            "done",
            {"before": 20.0, "after": 40.0, "priority": 9, "holder": {"priority": 5, "value": 40.0}},
        ),
        (
            {"state": WriteState.REFUSED, "error": ReadingError(error_class="property", error_code="write-access-denied")},
            "failed",
            {"error_class": "property", "error_code": "write-access-denied"},
        ),
        ({"state": WriteState.REFUSED, "before": "20"}, "rejected", {"before": 20.0}),
        ({"state": WriteState.FAILED, "after": "19.5"}, "failed", {"after": 19.5}),
        ({"state": WriteState.UNKNOWN}, "unknown", {"after": None}),
    ],
)
async def test_every_outcome_of_a_write_is_told_as_it_is(tmp_path, database, outcome, state, expected):
    async with running_gateway(database, tmp_path, DEVICES, writes=ON) as running:
        script(running, reason="because", **outcome)
        said = await answer(running, "set_value_to_point", set_value(tmp_path))
        assert (said["state"], said["message"], said["success"]) == (state, "because", state == "done")
        assert expected.items() <= said.items()


async def test_a_device_that_does_not_answer_before_the_write_leaves_it_unwritten(tmp_path, database):
    async with running_gateway(database, tmp_path, DEVICES, writes=ON) as running:
        script(running, DeviceUnreachable("device 7 did not answer"))
        said = await answer(running, "set_value_to_point", set_value(tmp_path, leaseSeconds=5))
        assert (said["state"], "nothing was written" in said["message"]) == ("failed", True)
    assert rows(tmp_path, "SELECT count(*) FROM leases") == [(0,)]


@pytest.mark.parametrize(("shows", "state"), [("50", "done"), ("20", "failed"), (None, "unknown")])
async def test_a_write_whose_answer_was_cut_off_is_decided_by_reading_back(tmp_path, database, shows, state):
    async with running_gateway(database, tmp_path, DEVICES, writes=ON) as running:
        script(running, TransportError("the BACnet port was closed"))
        running.network.value = lambda _point: shows
        said = await answer(running, "set_value_to_point", set_value(tmp_path))
        assert said["state"] == state
        assert len(running.network.writes) == 1


@pytest.mark.parametrize(
    "case",
    [
        ("set_value_to_point", "received", "50", "failed", "nothing was done"),
        ("set_value_to_point", "written", "50", "done", "reading back shows it written"),
        ("set_value_to_point", "written", "20", "failed", "not written"),
        ("set_value_to_point", "written", None, "unknown", "cannot be told"),
        ("get_config", "started", "50", "failed", "interrupted"),
        ("get_config", "received", "50", "failed", "interrupted"),
        ("resend", "started", "50", "failed", "interrupted"),
        ("start_monitoring", "started", "50", "done", "monitoring is on"),
        ("stop_monitoring", "started", "50", "failed", "monitoring is on"),
        ("stop_monitoring", "received", "50", "failed", "nothing was done"),
        ("reboot", "received", "50", "done", "restarted"),
        ("reboot", "started", "50", "done", "restarted"),
    ],
)
async def test_what_an_earlier_start_left_unfinished_is_answered_once_and_not_carried_out_again(tmp_path, database, case):
    name, step, shows, state, says = case
    async with running_gateway(database, tmp_path, DEVICES):
        pass
    await leave(database, name=name, step=step, point=key(tmp_path))
    async with running_gateway(database, tmp_path, DEVICES, writes=ON, value=lambda _point: shows) as running:
        await running.until(lambda: bool(answers(running, name)))
        again = await answer(running, name, {"commandId": "c", "iotDevicePointId": key(tmp_path), "presentValue": 50.0})
        first = answers(running, name)[0]
        assert (first["state"], first["commandId"], first["success"]) == (state, "c", state == "done")
        assert says in first["message"]
        assert (again["state"], again["first_state"]) == ("duplicate", state)
        assert running.network.writes == []
        assert running.state.restart is False


async def test_an_answer_the_broker_has_not_taken_is_given_after_the_next_start(tmp_path, database):
    async with running_gateway(database, tmp_path, DEVICES, writes=ON) as running:
        running.broker.go()
        send(running, "set_value_to_point", set_value(tmp_path))
        await running.until(lambda: bool(running.network.writes))
    assert len(running.broker.acknowledged) == 1
    async with running_gateway(database, tmp_path, DEVICES, writes=ON) as running:
        await running.until(lambda: bool(answers(running, "set_value_to_point")))
        assert answers(running, "set_value_to_point")[0]["state"] == "done"
        assert running.network.writes == []


async def test_an_answer_the_broker_refuses_holds_nothing_up(tmp_path, database):
    async with running_gateway(database, tmp_path, DEVICES, writes=ON) as running:
        running.broker.fail_next["response"] = PublishRefused("not authorized", reason_code=0x87)
        send(running, "set_value_to_point", set_value(tmp_path, "a"))
        await running.until(lambda: not running.broker.fail_next)
        assert (await answer(running, "set_value_to_point", set_value(tmp_path, "b")))["commandId"] == "b"


async def test_reboot_answers_and_then_ends_and_never_twice_for_one_id(tmp_path, database):
    async with running_gateway(database, tmp_path, DEVICES) as running:
        message = send(running, "reboot", {"commandId": "r"})
        await asyncio.wait_for(asyncio.shield(running.task), 10)
        assert (answers(running, "reboot")[0]["state"], running.state.restart) == ("done", True)
        assert running.on("status/update")[-1]["reason"] == "shutdown"
    async with running_gateway(database, tmp_path, DEVICES) as running:
        running.broker.incoming.put_nowait(message)
        await running.until(lambda: bool(answers(running, "reboot")))
        assert answers(running, "reboot")[0]["state"] == "duplicate"
        assert not running.task.done()


async def test_reboot_goes_also_when_the_broker_does_not_take_the_answer(tmp_path, database, monkeypatch):
    monkeypatch.setattr(execute, "REBOOT_PATIENCE_SECONDS", 0.2)
    async with running_gateway(database, tmp_path, DEVICES, connected=False) as running:
        send(running, "reboot", {"commandId": "r"})
        await asyncio.wait_for(asyncio.shield(running.task), 20)
        assert running.state.restart is True
    async with running_gateway(database, tmp_path, DEVICES) as running:
        await running.until(lambda: bool(answers(running, "reboot")))
        assert answers(running, "reboot")[0]["state"] == "done"


async def test_the_journal_forgets_what_is_old_or_too_much_but_never_what_is_not_answered(tmp_path, database, monkeypatch):
    monkeypatch.setattr(commands, "KEPT_COMMANDS", 50)
    monkeypatch.setattr(commands, "KEPT_WHATEVER_THEIR_AGE", 10)
    now = VirtualClock().now()
    refused: dict[str, Any] = {"refused": JournalState.REJECTED, "refusal": {"message": "no"}}

    async def fill(connection: AsyncConnection) -> None:
        for number in range(100):
            long_ago = now - timedelta(days=0 if number >= 80 else 91)
            arrival = Arrival(name="reboot", command_id=str(number), boot=1, **refused)
            entry, _ = await commands.receive(connection, arrival, long_ago)
            if number != 3:
                await commands.mark_answered(connection, entry.id, 1, long_ago)
        await commands.prune(connection, now)

    await database.write(fill)
    kept = [int(found) for (found,) in rows(tmp_path, "SELECT command_id FROM commands ORDER BY id")]
    assert kept == [3, *range(80, 100)]


async def test_resend_publishes_what_is_kept_again_and_names_what_is_not_there(tmp_path, database):
    async with running_gateway(database, tmp_path, DEVICES) as running:
        await running.poll_round(20.0)
        await answer(running, "stop_monitoring", {"commandId": "quiet"})
        await running.poll_round(2.0)
        await running.until(lambda: running.outbox.messages == 0 and len(running.bulk()) >= 2)
        first = running.bulk()
        send(running, "resend", {"commandId": "s", "boot": 1, "first_seq": 1, "last_seq": len(first) + 5})
        async with asyncio.timeout(10):
            while not answers(running, "resend"):
                await running.clock.advance(0.5)
                await asyncio.sleep(0.01)
        said = answers(running, "resend")[0]
        assert running.bulk() == first * 2
        assert (said["state"], said["messages"]) == ("done", len(first))
        assert said["missing"] == [{"first_seq": len(first) + 1, "last_seq": len(first) + 5}]


async def test_a_command_that_cannot_be_journalled_is_refused_and_the_gateway_takes_the_next(tmp_path, database):
    async with running_gateway(database, tmp_path, DEVICES, writes=ON) as running:
        with closing(sqlite3.connect(tmp_path / "bms_bacnet.db", isolation_level=None, check_same_thread=False)) as connection:
            full = "CREATE TRIGGER full BEFORE INSERT ON commands BEGIN SELECT RAISE(ABORT, 'disk full'); END"
            await asyncio.to_thread(connection.execute, full)
            message = send(running, "set_value_to_point", set_value(tmp_path))
            async with asyncio.timeout(10):
                while not running.broker.acknowledged:
                    await running.clock.advance(0.5)
                    await asyncio.sleep(0.01)
            await asyncio.to_thread(connection.execute, "DROP TRIGGER full")
        assert running.broker.acknowledged == [message]
        said = answers(running, "set_value_to_point")[0]
        assert (said["state"], "disk full" in said["message"]) == ("rejected", True)
        assert running.network.writes == []
        assert (await answer(running, "set_value_to_point", set_value(tmp_path)))["state"] == "done"


async def test_an_outcome_that_cannot_be_kept_yet_is_kept_later_and_answered_once(tmp_path, database):
    async with running_gateway(database, tmp_path, DEVICES, writes=ON) as running:
        with closing(sqlite3.connect(tmp_path / "bms_bacnet.db", isolation_level=None, check_same_thread=False)) as connection:
            full = "CREATE TRIGGER full BEFORE UPDATE OF outcome ON commands BEGIN SELECT RAISE(ABORT, 'disk full'); END"
            await asyncio.to_thread(connection.execute, full)  # a transaction of the gateway may have to end first
            send(running, "set_value_to_point", set_value(tmp_path))
            await running.until(lambda: bool(running.network.writes))
            await running.clock.advance(5.0)
            assert answers(running, "set_value_to_point") == []
            await asyncio.to_thread(connection.execute, "DROP TRIGGER full")
        async with asyncio.timeout(10):
            while not answers(running, "set_value_to_point"):
                await running.clock.advance(1.0)
                await asyncio.sleep(0.01)
        assert answers(running, "set_value_to_point")[0]["state"] == "done"
        assert len(running.network.writes) == 1
