"""From what was read to what the broker has: outages, refusals, hang-ups, restarts, replays."""

import asyncio
from collections import Counter
from datetime import timedelta

import pytest

from bms_iot.domain.delivery import Bounds
from bms_iot.domain.readings import Reading
from bms_iot.errors import PublishRefused
from bms_iot.storage.outbox import FIRST
from tests.databases import fresh_database
from tests.integration.deliveries import NORMAL, open_delivery

NOT_AUTHORIZED, INVALID_FORMAT = 0x87, 0x99


@pytest.fixture
async def database(tmp_path):
    async with fresh_database(tmp_path) as database:
        yield database


def refusal(code):
    return PublishRefused("the broker refused the message", reason_code=code)


def fault(delivery):
    """What health says."""
    return delivery.state.delivery_fault


def values(broker):
    """How often each (point, value) arrived."""
    return Counter((point["id"], point["present_value"]) for message in broker.messages() for point in message["points"])


async def test_a_crash_anywhere_loses_nothing_and_repeats_only_what_was_not_written_down(database):
    async with open_delivery(database) as first:
        clock, broker = first.clock, first.broker
        for _ in range(6):
            await first.poll()
        await first.publish._deliver(FIRST, at_most=2)
    assert broker.seqs() == [1, 2]
    async with open_delivery(database, boot=2, clock=clock, broker=broker) as second:
        await second.poll()
        await second.run_until(lambda: not second.outbox.messages)
    assert Counter(broker.seqs(1)) == {1: 2, 2: 2, 3: 1, 4: 1, 5: 1, 6: 1}
    assert broker.seqs(2) == [1]
    async with open_delivery(database, boot=3, clock=clock, broker=broker) as third:
        assert third.outbox.messages == 0


async def test_readings_given_up_in_an_outage_are_announced_before_the_rest_arrives(database):
    async with open_delivery(database, connected=False, bounds=Bounds(max_rows=100)) as delivery:
        for _ in range(130):
            await delivery.poll(3)
        delivery.broker.come()
        await delivery.run_until(lambda: not delivery.outbox.messages and bool(delivery.broker.gaps()))
        (gap,) = delivery.broker.gaps()
        first, last, readings = gap
        assert first == 1
        assert readings == 3 * last
        assert delivery.broker.seqs() == list(range(last + 1, 131))


async def test_a_message_that_makes_the_broker_hang_up_holds_nothing_up_and_costs_one_reading(database):
    async with open_delivery(database) as delivery:
        broker = delivery.broker
        broker.hangs_up = lambda payload: b'"present_value":"poison"' in payload
        for number in range(5):
            await delivery.poll()
            if number == 2:
                poisoned = delivery.ids[7]
                readings = [_reading(delivery, point, "poison" if point == poisoned else "1.0") for point in delivery.ids]
                await delivery.store.put(readings)
                await delivery.store.flush()
        await delivery.run_until(lambda: not delivery.outbox.messages and bool(broker.gaps()))
        assert [readings for _, _, readings in broker.gaps()] == [1]
        arrived = values(broker)
        assert (poisoned, "poison") not in arrived
        assert {key: n for key, n in arrived.items() if key[1] == "1.0"} == {(p, "1.0"): 1 for p in delivery.ids if p != poisoned}
        assert all(arrived[point, f"{poll}.5"] == 1 for point in delivery.ids for poll in range(1, 6))
        gap = broker.gaps()[0]
        assert gap[0] not in broker.seqs()


async def test_a_connection_that_breaks_again_and_again_costs_no_reading(database):
    async with open_delivery(database) as delivery:
        broker = delivery.broker
        breaks = iter([True, False, True, True, False, False] * 3)
        broker.hangs_up = lambda _payload: next(breaks, False)
        for _ in range(10):
            await delivery.poll(5)
        await delivery.run_until(lambda: not delivery.outbox.messages)
        assert broker.gaps() == []
        assert set(values(broker)) == {(point, f"{poll}.5") for point in delivery.ids[:5] for poll in range(1, 11)}


async def test_a_message_the_broker_refuses_is_kept_and_tried_again_while_others_go_on(database):
    async with open_delivery(database) as delivery:
        broker = delivery.broker
        broker.refuses = lambda payload: refusal(INVALID_FORMAT) if b'"present_value":"odd"' in payload else None
        await delivery.poll()
        await delivery.poll(text="odd")
        await delivery.poll()
        await delivery.run_until(lambda: delivery.outbox.messages == 1)
        assert broker.seqs() == [1, 3]
        assert fault(delivery) == "the broker refused the message"
        await delivery.run_until(lambda: delivery.clock.monotonic() >= 100, step=2.0)
        assert delivery.outbox.messages == 1
        broker.refuses = lambda _payload: None
        await delivery.run_until(lambda: not delivery.outbox.messages)
        assert broker.seqs() == [1, 3, 2]
        assert fault(delivery) is None
        assert broker.gaps() == []


async def test_a_broker_that_refuses_everything_is_asked_ever_more_rarely_and_nothing_is_lost(database):
    async with open_delivery(database) as delivery:
        asked = []

        def refuse(_payload):
            asked.append(delivery.clock.monotonic())
            return refusal(NOT_AUTHORIZED)

        delivery.broker.refuses = refuse
        for _ in range(3):
            await delivery.poll()
        await delivery.run_until(lambda: delivery.clock.monotonic() >= 1000, step=5.0)
        attempts = sorted(set(asked))
        assert len(attempts) <= 8
        assert fault(delivery) is not None
        delivery.broker.refuses = lambda _payload: None
        await delivery.run_until(lambda: not delivery.outbox.messages, step=5.0)
        assert sorted(delivery.broker.seqs()) == [1, 2, 3]
        assert fault(delivery) is None


async def test_a_range_is_sent_again_and_what_is_gone_is_named(database):
    async with open_delivery(database, bounds=Bounds(replay=timedelta(hours=1))) as delivery:
        broker = delivery.broker
        for _ in range(4):
            await delivery.poll(2)
        await delivery.run_until(lambda: not delivery.outbox.messages)
        await delivery.clock.advance(3700.0)
        for _ in range(3):
            await delivery.poll(2)
        await delivery.outbox.prune(delivery.clock.now())
        await delivery.run_until(lambda: not delivery.outbox.messages)
        first = {message["seq"]: message for message in broker.messages()}
        broker.took.clear()
        resent = await _with_time(delivery, delivery.publish.resend(1, 3, 9))
        assert broker.messages() == [first[seq] for seq in (5, 6, 7)]
        assert (resent.messages, resent.readings, resent.missing) == (3, 6, ((3, 4), (8, 9)))
        nothing = await _with_time(delivery, delivery.publish.resend(99, 1, 2))
        assert (nothing.messages, nothing.missing) == (0, ((1, 2),))


async def _with_time(delivery, work):
    """Do this while the clock goes on."""
    task = asyncio.create_task(work)
    while not task.done():
        await delivery.clock.advance(0.1)
        await asyncio.sleep(0.005)
    return task.result()


def _reading(delivery, point, value):
    return Reading.of(point, delivery.clock.now(), value, NORMAL, None)
