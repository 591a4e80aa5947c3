"""Readings taken before the box knew the time, and clocks that are set while it runs."""

import itertools
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from bms_iot.domain.points import ObjectType
from tests.databases import fresh_database
from tests.integration.gateways import configured, running_gateway

FIFTY_YEARS = timedelta(days=-50 * 365)
TRUE_START = "2026-11-22T08:00"


@pytest.fixture
async def database(tmp_path):
    async with fresh_database(tmp_path) as database:
        yield database


def devices():
    return [configured(1200, (ObjectType.ANALOG_INPUT, 1), (ObjectType.BINARY_VALUE, 1))]


def times(message):
    return [point["acquired_at"] for point in message["points"]]


async def test_what_is_sent_before_the_clock_is_trusted_is_marked(database, tmp_path):
    async with running_gateway(database, tmp_path, devices(), wrong_time=FIFTY_YEARS) as running:
        await running.poll_round()
        await running.until(lambda: bool(running.bulk()))
        message = running.bulk()[0]
        assert message["clock"] == "untrusted"
        assert all(time.startswith("1976-") for time in times(message))


async def test_what_is_not_sent_yet_is_dated_again_and_marked_and_what_follows_is_not(database, tmp_path):
    async with running_gateway(database, tmp_path, devices(), connected=False, wrong_time=FIFTY_YEARS) as running:
        await running.poll_round(30.0)
        early = running.outbox.newest()[1]
        assert early >= 3
        running.clock.is_set = True
        await running.poll_round(30.0)
        running.broker.come()
        await running.until(lambda: not running.outbox.messages)
        bulk = sorted(running.bulk(), key=lambda message: message["seq"])
        marks = [message.get("clock") for message in bulk]
        assert marks[:early] == ["corrected"] * early
        assert set(marks[early + 1 :]) == {None}
        assert all(time.startswith(TRUE_START) for message in bulk for time in times(message))
        moments = [datetime.fromisoformat(times(message)[0]) for message in bulk]
        steps = {round((later - earlier).total_seconds()) for earlier, later in itertools.pairwise(moments)}
        assert steps == {10}


async def test_a_year_that_was_none_ages_nothing_and_the_history_is_dated_again(database, tmp_path):
    year = timedelta(days=-365)
    async with running_gateway(database, tmp_path, devices(), connected=False, wrong_time=year) as running:
        await running.poll_round(130.0)
        early = running.outbox.newest()[1]
        running.clock.is_set = True
        await running.poll_round(5.0)
        await running.outbox.prune(running.clock.now())
        assert running.outbox.evicted == 0
        oldest = await running.outbox.oldest_at()
        assert oldest is not None
        assert running.clock.now() - oldest < timedelta(minutes=3)
        running.broker.come()
        await running.poll_round(10.0)
        await running.until(lambda: len({message["seq"] for message in running.bulk()}) >= early)
    with closing(sqlite3.connect(tmp_path / "bms_bacnet.db")) as connection:
        kept = connection.execute("SELECT min(acquired_at), count(*) FROM history").fetchone()
    assert kept[1] >= 2
    assert datetime.fromtimestamp(kept[0] / 1e6, UTC).year == 2026


async def test_a_boot_of_the_same_run_of_the_kernel_is_dated_again_by_the_next(database, tmp_path):
    async with running_gateway(database, tmp_path, devices(), connected=False, wrong_time=FIFTY_YEARS) as running:
        await running.poll_round(20.0)
        first_boot, early = running.outbox.newest()
    async with running_gateway(database, tmp_path, [], wrong_time=None) as running:
        await running.until(lambda: len(running.bulk()) >= early)
        old = [message for message in running.bulk() if message["boot"] == first_boot]
        assert {message["clock"] for message in old} == {"corrected"}
        assert all(time.startswith(TRUE_START) for message in old for time in times(message))


async def test_a_boot_of_an_earlier_run_of_the_kernel_stays_marked(database, tmp_path, monkeypatch):
    async with running_gateway(database, tmp_path, devices(), connected=False, wrong_time=FIFTY_YEARS) as running:
        await running.poll_round(20.0)
        first_boot, early = running.outbox.newest()
    other = tmp_path / "another-kernel"
    other.write_text("another")
    monkeypatch.setattr("bms_iot.gateway.date.KERNEL", other)
    async with running_gateway(database, tmp_path, [], wrong_time=None) as running:
        await running.until(lambda: len(running.bulk()) >= early)
        old = [message for message in running.bulk() if message["boot"] == first_boot]
        assert {message["clock"] for message in old} == {"untrusted"}


@pytest.mark.parametrize("step", [3600.0, -3600.0, 86_400.0, -86_400.0, 50 * 365 * 86_400.0])
async def test_a_clock_that_is_set_makes_no_burst_and_loses_nothing(database, tmp_path, step):
    async with running_gateway(database, tmp_path, devices()) as running:
        await running.poll_round(30.0)
        running.clock.step(step)
        await running.poll_round(65.0)
        polls = [moment for moment, _, _ in running.network.polls]
        assert {round(later - earlier) for earlier, later in itertools.pairwise(polls)} == {10}
        await running.until(lambda: sum(len(message["points"]) for message in running.bulk()) == 2 * len(polls))
        assert sorted(message["seq"] for message in running.bulk()) == list(range(1, len(running.bulk()) + 1))


async def test_a_damaged_file_of_early_dates_is_as_none(database, tmp_path):
    (tmp_path / "early-dates.json").write_bytes(b"\x00{")
    async with running_gateway(database, tmp_path, devices()) as running:
        await running.poll_round()
        await running.until(lambda: bool(running.bulk()))
        assert "clock" not in running.bulk()[0]
