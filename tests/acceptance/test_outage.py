"""An hour without the broker, over a real database, by a clock that does not make anybody wait."""

from collections import Counter
from datetime import datetime, timedelta

import pytest

from tests.databases import fresh_database
from tests.integration.deliveries import open_delivery


@pytest.fixture
async def database(tmp_path):
    async with fresh_database(tmp_path) as database:
        yield database


def values(broker):
    """How often each (point, value) arrived."""
    return Counter((point["id"], point["present_value"]) for message in broker.messages() for point in message["points"])


@pytest.mark.timeout(180)
async def test_an_hour_without_the_broker_loses_nothing_and_holds_up_no_live_value(database):
    """1,000 points every 10 s; what was missed is drained beside what is read meanwhile."""
    async with open_delivery(database, devices=20, connected=False) as delivery:
        clock, broker, outbox = delivery.clock, delivery.broker, delivery.outbox
        for _ in range(360):
            await delivery.poll()
            await clock.advance(10.0)
        assert outbox.readings == 360_000
        broker.come()
        newest, began = outbox.newest()[1], clock.now()
        drained = await delivery.run_until(lambda: not outbox.messages, step=0.5, polls=True)
        assert sorted(broker.seqs()) == list(range(1, outbox.newest()[1] + 1))
        assert values(broker) == {(point, f"{poll}.5"): 1 for point in delivery.ids for poll in range(1, delivery.polls + 1)}
        assert 360_000 / drained >= 2_000
        old = [seq for seq in broker.seqs() if seq <= newest]
        live = [(at, message) for at, message in broker.took if message["seq"] > newest]
        assert old == sorted(old)
        assert [message["seq"] for _, message in live] == sorted(message["seq"] for _, message in live)
        assert delivery.polls > 360
        ages = [at - datetime.fromisoformat(message["points"][0]["acquired_at"]) for at, message in live]
        assert max(ages, default=timedelta(0)) < timedelta(seconds=20)
        assert broker.took[-1][0] - began < timedelta(seconds=180)
