"""What the device itself keeps of its points, and how it is read."""

import asyncio
import csv
import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from bms_iot.cli.root import app
from bms_iot.domain.delivery import HistoryBounds
from bms_iot.domain.points import ObjectType
from bms_iot.domain.readings import Quality, Reading
from bms_iot.gateway.image import CurrentImage
from bms_iot.gateway.monitor import keep_configuration
from bms_iot.gateway.record import Record
from bms_iot.storage import history
from bms_iot.storage.database import open_database
from bms_iot.storage.history import Entry
from tests.clock import VirtualClock
from tests.databases import fresh_database, make_database
from tests.integration.gateways import configured, running_gateway

AI = ObjectType.ANALOG_INPUT
NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)


@pytest.fixture
async def database(tmp_path):
    async with fresh_database(tmp_path) as database:
        yield database


def reading(seconds, value, quality=Quality.GOOD, point_id=1):
    return Reading(point_id=point_id, acquired_at=NOW + timedelta(seconds=seconds), present_value=value, quality=quality)


async def recorder(database, **bounds):
    _, stored = await database.write(keep_configuration, [configured(7, (AI, 1), (AI, 2))], NOW)
    image = CurrentImage(stored)
    record = Record(database=database, image=image, clock=VirtualClock(), bounds=HistoryBounds(**bounds))
    return record, image


async def kept(database, point_id=1, since=NOW - timedelta(days=1), until=NOW + timedelta(days=40)):
    return [entry async for entry in history.read(database, point_id, since=since, until=until)]


async def test_a_value_is_kept_when_it_changed_and_once_an_hour(database):
    record, _ = await recorder(database)
    for seconds, value in ((0, "21.5"), (10, "21.5"), (20, "21.6"), (30, "21.6"), (3619, "21.6"), (3620, "21.6"), (3630, "21.6")):
        record.take([reading(seconds, value)])
    await record.flush()
    assert [(entry.acquired_at, entry.present_value) for entry in await kept(database)] == [
        (NOW, "21.5"),
        (NOW + timedelta(seconds=20), "21.6"),
        (NOW + timedelta(seconds=3620), "21.6"),
    ]


async def test_a_change_within_the_increment_is_not_kept_but_a_slow_drift_is(database):
    record, image = await recorder(database)
    image.apply([reading(0, "20.0").carrying({"cov_increment": 0.5})])
    for seconds, value in enumerate(("20.0", "20.4", "20.5", "20.6", "21.1", "nan", "nan", "21.2")):
        record.take([reading(seconds, value)])
    await record.flush()
    assert [entry.present_value for entry in await kept(database)] == ["20.0", "20.6", "nan", "21.2"]


async def test_another_quality_is_kept_whatever_the_value(database):
    record, _ = await recorder(database)
    record.take([reading(0, "20.0"), reading(10, "20.0", Quality.UNCERTAIN), reading(20, None, Quality.BAD)])
    await record.flush()
    assert [entry.quality for entry in await kept(database)] == [Quality.GOOD, Quality.UNCERTAIN, Quality.BAD]


async def test_two_readings_of_one_moment_are_one_entry(database):
    record, _ = await recorder(database)
    record.take([reading(0, "20.0"), reading(0, "25.0")])
    await record.flush()
    assert [entry.present_value for entry in await kept(database)] == ["20.0"]


async def test_history_is_bounded_by_age_and_by_bytes(database):
    record, _ = await recorder(database, max_age=timedelta(days=30), max_bytes=history.ROW_BYTES * 10)
    record.take([reading(seconds, str(seconds)) for seconds in range(25)])
    await record.flush()
    await record.prune(NOW)
    assert [entry.present_value for entry in await kept(database)] == [str(seconds) for seconds in range(15, 25)]
    await record.prune(NOW + timedelta(days=30, seconds=20))
    assert [entry.present_value for entry in await kept(database)] == [str(seconds) for seconds in range(20, 25)]
    record.take([reading(100 + seconds, str(seconds)) for seconds in range(10)])
    await record.flush()
    await record.prune(NOW)
    assert len(await kept(database)) == 10


async def test_long_histories_are_read_in_pages_without_gap_or_repetition(database, monkeypatch):
    monkeypatch.setattr(history, "PAGE_ROWS", 7)
    entries = [
        Entry(acquired_at=NOW + timedelta(seconds=s), point_id=p, present_value=str(s), quality=Quality.GOOD)
        for s in range(50)
        for p in (1, 2)
    ]
    await database.write(history.insert, entries)
    read = await kept(database, since=NOW + timedelta(seconds=5), until=NOW + timedelta(seconds=40))
    assert [entry.present_value for entry in read] == [str(seconds) for seconds in range(5, 40)]


async def test_the_gateway_keeps_history_and_writes_what_is_left_at_the_stop(tmp_path, database):
    async with running_gateway(database, tmp_path, [configured(7, (AI, 1))]) as running:
        await running.poll_round(21.0)
        assert rows(tmp_path, "SELECT count(*) FROM history") == [(0,)]
    assert rows(tmp_path, "SELECT point_id, present_value, quality FROM history") == [(1, "21.7", "GOOD")]


async def test_no_history_is_kept_where_none_is_wanted(tmp_path, database):
    record, _ = await recorder(database, max_bytes=0)
    record.take([reading(0, "1")])
    await record.flush()
    assert await kept(database) == []


def rows(tmp_path, query):
    with closing(sqlite3.connect(tmp_path / "bms_bacnet.db")) as connection:
        return connection.execute(query).fetchall()


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs `bms-iot points history` over three values of two points: exit code and stdout."""

    async def fill():
        async with open_database(make_database(tmp_path)) as database:
            await database.write(keep_configuration, [configured(1200, (AI, 1), (AI, 2))], NOW)
            entries = [
                Entry(acquired_at=NOW + timedelta(minutes=m), point_id=p, present_value=v, quality=q)
                for m, p, v, q in (
                    (0, 1, "21.5", Quality.GOOD),
                    (1, 1, None, Quality.BAD),
                    (2, 1, 'a "text", é', Quality.GOOD),
                    (1, 2, "7", Quality.GOOD),
                )
            ]
            await database.write(history.insert, entries)

    asyncio.run(fill())
    monkeypatch.setenv("BMS_DATA_DIRECTORY", str(tmp_path))

    def run(*arguments):
        result = CliRunner().invoke(app, ["points", "history", *arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout

    return run


SINCE = ("--since", "2026-11-22T08:00Z")


def test_history_is_printed_as_csv_and_ndjson_and_json_alike(command):
    printed_csv = list(csv.DictReader(command("1200/AI1", *SINCE, "--csv")[1].splitlines()))
    printed_lines = [json.loads(line) for line in command("1200/AI1", *SINCE, "--ndjson")[1].splitlines()]
    printed_list = json.loads(command("1200/AI1", *SINCE, "--json")[1])
    assert printed_lines == printed_list
    assert [{**row, "present_value": row["present_value"] or ""} for row in printed_list] == printed_csv
    assert [(row["acquired_at"], row["point"], row["present_value"], row["quality"]) for row in printed_list] == [
        ("2026-11-22T08:00:00.000Z", "1200/analog-input:1", "21.5", "good"),
        ("2026-11-22T08:01:00.000Z", "1200/analog-input:1", None, "bad"),
        ("2026-11-22T08:02:00.000Z", "1200/analog-input:1", 'a "text", é', "good"),
    ]


def test_a_range_of_time_counts_its_first_moment_and_not_its_last(command):
    options = ("--since", "2026-11-22T08:01Z", "--until", "2026-11-22T08:02:00Z", "--ndjson")
    assert [json.loads(line)["present_value"] for line in command("1200/AI1", *options)[1].splitlines()] == [None]


def test_a_pattern_prints_its_points_one_after_the_other(command):
    lines = command("1200", *SINCE)[1].splitlines()
    assert [line.split()[1] for line in lines] == ["1200/analog-input:1"] * 3 + ["1200/analog-input:2"]


def test_nothing_kept_is_an_empty_list(command):
    assert command("1200/AI1", "--since", "2027-01-01", "--until", "2027-01-02", "--json") == (0, "[]\n")


@pytest.mark.parametrize("arguments", [("--since", "yesterday"), ("--until", "25:00"), ("--csv", "--json")])
def test_what_is_no_time_or_one_form_too_many_is_wrong_use(command, arguments):
    assert command("1200/AI1", *arguments)[0] == 2
