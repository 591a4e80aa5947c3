"""The outbox over a real database: its bounds, what they cost, and what is told of it."""

import base64
import os
import random
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from bms_iot.domain.delivery import Bounds
from bms_iot.domain.readings import Quality, Reading
from bms_iot.storage.outbox import FIRST, Outbox
from tests.databases import fresh_database

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
async def database(tmp_path):
    async with fresh_database(tmp_path) as database:
        yield database


def batch(number, count=1, text="21.7"):
    """Readings of one second, that many seconds after NOW."""
    at = NOW + timedelta(seconds=number)
    return [Reading(point_id=p, acquired_at=at, present_value=text, quality=Quality.GOOD) for p in range(1, count + 1)]


async def fill(outbox, messages, count=1, created_at=NOW):
    for number in range(1, messages + 1):
        await outbox.append([batch(number, count)], created_at=created_at)


async def waiting(outbox):
    return [message.seq for message in await outbox.following(FIRST, limit=1000, until=outbox.newest())]


async def gaps(outbox, now=NOW):
    """What is announced, and that it was."""
    async with outbox.unannounced_gaps() as found:
        for gap in found:
            await outbox.announce(gap, now)
    return found


def stored(tmp_path, query="SELECT boot, seq FROM outbox ORDER BY boot, seq"):
    with closing(sqlite3.connect(tmp_path / "bms_bacnet.db")) as connection:
        return connection.execute(query).fetchall()


async def test_the_oldest_that_wait_go_first_and_a_gap_names_exactly_them(database):
    outbox = Outbox(database, boot=3, bounds=Bounds(max_rows=10))
    await fill(outbox, 14, count=5)
    assert await waiting(outbox) == list(range(5, 15))
    (gap,) = await gaps(outbox)
    assert (gap.boot, gap.first_seq, gap.last_seq, gap.readings) == (3, 1, 4, 20)
    assert (gap.first_at, gap.last_at) == (NOW + timedelta(seconds=1), NOW + timedelta(seconds=4))
    assert (outbox.messages, outbox.readings, outbox.rows, outbox.evicted) == (10, 50, 10, 20)


async def test_what_was_delivered_goes_before_what_waits(tmp_path, database):
    outbox = Outbox(database, boot=3, bounds=Bounds(max_rows=10))
    await fill(outbox, 10)
    messages = await outbox.following(FIRST, limit=10, until=outbox.newest())
    outbox.acknowledge([message for message in messages if message.seq in (2, 3, 7)], NOW)
    await fill(outbox, 3)
    assert await gaps(outbox) == []
    assert await waiting(outbox) == [1, 4, 5, 6, 8, 9, 10, 11, 12, 13]
    await fill(outbox, 1)
    assert [(gap.first_seq, gap.last_seq) for gap in await gaps(outbox)] == [(1, 1)]


async def test_gaps_leave_out_what_was_delivered_between(database):
    outbox = Outbox(database, boot=3, bounds=Bounds(max_rows=6))
    await fill(outbox, 6)
    messages = await outbox.following(FIRST, limit=10, until=outbox.newest())
    outbox.acknowledge([message for message in messages if message.seq == 3], NOW)
    await fill(outbox, 5)
    assert [(gap.first_seq, gap.last_seq, gap.readings) for gap in await gaps(outbox)] == [(1, 2, 2), (4, 5, 2)]


async def test_a_gap_grows_until_it_is_announced_and_never_after(database):
    outbox = Outbox(database, boot=3, bounds=Bounds(max_rows=5))
    await fill(outbox, 7)
    async with outbox.unannounced_gaps() as found:
        assert [(gap.first_seq, gap.last_seq) for gap in found] == [(1, 2)]
        await fill(outbox, 1)
        await outbox.announce(found[0], NOW)
    await fill(outbox, 1)
    assert [(gap.first_seq, gap.last_seq) for gap in await gaps(outbox)] == [(3, 4)]
    assert await gaps(outbox) == []


async def test_what_is_under_way_to_the_broker_is_not_given_up(database):
    outbox = Outbox(database, boot=3, bounds=Bounds(max_rows=5))
    await fill(outbox, 5)
    async with outbox.lend(FIRST, limit=1, until=outbox.newest()):
        await fill(outbox, 2)
    assert await waiting(outbox) == [1, 4, 5, 6, 7]
    assert [(gap.first_seq, gap.last_seq) for gap in await gaps(outbox)] == [(2, 3)]


async def test_a_gap_survives_a_restart_and_counts_go_on(database):
    outbox = Outbox(database, boot=3, bounds=Bounds(max_rows=5))
    await fill(outbox, 9)
    before = (outbox.messages, outbox.readings, outbox.rows, outbox.disk_bytes)
    again = Outbox(database, boot=4, bounds=Bounds(max_rows=5))
    await again.open()
    assert (again.messages, again.readings, again.rows, again.disk_bytes) == before
    assert [(gap.boot, gap.first_seq, gap.last_seq) for gap in await gaps(again)] == [(3, 1, 4)]


async def test_the_disk_stays_within_its_bound(tmp_path, database):
    """With messages of every size, of what does not compress: pages, indexes, deliveries, gaps and the log included."""
    limit, source = 16 << 20, random.Random(6)
    outbox = Outbox(database, boot=3, bounds=Bounds(max_bytes=limit))
    for number in range(450):
        size = source.choice((10, 300, 2_000, 10_000, 60_000, 150_000))
        text = base64.b85encode(source.randbytes(size)).decode()
        await outbox.append([batch(number, 1, text)], created_at=NOW)
        if number % 9 == 0:
            outbox.acknowledge(await outbox.following(FIRST, limit=1, until=outbox.newest()), NOW)
    assert outbox.evicted > 20
    used = sum(os.path.getsize(file) for file in tmp_path.glob("bms_bacnet.db*"))  # noqa: ASYNC240 - at the end
    assert used <= limit * 1.1
    assert used >= limit * 0.6


async def test_what_waits_too_long_is_given_up_but_for_what_an_older_version_left(tmp_path, database):
    for boot in (0, 3):
        await fill(Outbox(database, boot=boot), 2)
    young = Outbox(database, boot=4, bounds=Bounds(max_age=2 * DAY))
    await young.open()
    await fill(young, 1, created_at=NOW + 2 * DAY)
    await young.prune(NOW + DAY)
    assert len(stored(tmp_path)) == 5
    await young.prune(NOW + 3 * DAY)
    assert stored(tmp_path) == [(0, 1), (0, 2), (4, 1)]
    assert [(gap.boot, gap.first_seq, gap.last_seq) for gap in await gaps(young)] == [(3, 1, 2)]


async def test_an_unset_clock_gives_nothing_up(tmp_path, database):
    outbox = Outbox(database, boot=3, bounds=Bounds(max_age=DAY))
    await fill(outbox, 2, created_at=datetime(1970, 1, 1, 0, 5, tzinfo=UTC))
    await outbox.prune(NOW)
    assert await waiting(outbox) == [1, 2]


async def test_what_was_delivered_is_kept_for_the_replay_window_and_no_longer(tmp_path, database):
    outbox = Outbox(database, boot=3, bounds=Bounds(replay=DAY))
    await fill(outbox, 3)
    outbox.acknowledge((await outbox.following(FIRST, limit=10, until=outbox.newest()))[:2], NOW)
    await outbox.prune(NOW + DAY)
    assert stored(tmp_path) == [(3, 1), (3, 2), (3, 3)]
    assert [message.seq for message in await outbox.kept(3, 1, 9, limit=10)] == [1, 2, 3]
    await outbox.prune(NOW + DAY + timedelta(seconds=1))
    assert stored(tmp_path) == [(3, 3)]
    assert stored(tmp_path, "SELECT count(*) FROM deliveries") == [(0,)]
    assert (outbox.rows, outbox.messages) == (1, 1)


async def test_what_was_acknowledged_is_written_with_a_later_message(tmp_path, database):
    outbox = Outbox(database, boot=3)
    await fill(outbox, 2)
    outbox.acknowledge((await outbox.following(FIRST, limit=1, until=outbox.newest())), NOW)
    assert await waiting(outbox) == [2]
    assert stored(tmp_path, "SELECT boot, seq FROM deliveries") == []
    await fill(outbox, 1, created_at=NOW + timedelta(seconds=30))
    assert stored(tmp_path, "SELECT boot, seq, state FROM deliveries") == [(3, 1, "DELIVERED")]
    assert await waiting(outbox) == [2, 3]


@pytest.mark.parametrize("column", ["created_at", "first_at", "last_at"])
async def test_a_spoiled_date_costs_nothing(tmp_path, database, column):
    outbox = Outbox(database, boot=3, bounds=Bounds(max_rows=4, max_age=DAY))
    await fill(outbox, 3)
    outbox.acknowledge((await outbox.following(FIRST, limit=1, until=outbox.newest())), NOW)
    await outbox.settle()
    with closing(sqlite3.connect(tmp_path / "bms_bacnet.db", isolation_level=None)) as connection:
        connection.execute(f"UPDATE outbox SET {column} = 'the day before yesterday'")
        connection.execute("UPDATE deliveries SET delivered_at = 'tomorrow'")
    again = Outbox(database, boot=4, bounds=Bounds(max_rows=4, max_age=DAY))
    await again.open()
    assert [message.seq for message in await again.following(FIRST, limit=10, until=(3, 9))] == [2, 3]
    await again.oldest_at()
    await again.prune(NOW)
    await fill(again, 4)
    assert [gap.last_seq for gap in await gaps(again)] == [3]
