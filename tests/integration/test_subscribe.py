"""Changes of value and polls of one point, as the gateway brings them together."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bms_iot.domain.classes import PointPattern
from bms_iot.domain.points import ObjectType
from bms_iot.domain.readings import Condition, Quality, Reading, StatusFlag
from bms_iot.gateway.subscribe import complete
from bms_iot.storage.database import Database
from tests.databases import fresh_database
from tests.integration.gateways import Running, configured, running_gateway

AI, BV = ObjectType.ANALOG_INPUT, ObjectType.BINARY_VALUE
ANALOG_INPUTS = (PointPattern.parse("7/AI"),)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with fresh_database(tmp_path) as database:
        yield database


def change(running: Running, value: str, *, seconds_ago: float = 0.0) -> Reading:
    (point_id,) = running.image.reported
    return Reading(
        point_id=point_id,
        acquired_at=running.clock.now() - timedelta(seconds=seconds_ago),
        present_value=value,
        quality=Quality.GOOD,
        event_state="normal",
        out_of_service=False,
        reliability="no-fault-detected",
    )


def values(running: Running) -> list[str]:
    """What was published of the analog input."""
    points = [point for message in running.bulk() for point in message["points"]]
    return [point["present_value"] for point in points if point["bacnet_object_type"] == "analogInput"]


async def test_points_that_a_pattern_fits_or_behind_a_router_are_followed_and_polled_slowly(
    tmp_path: Path, database: Database
) -> None:
    devices = [configured(7, (AI, 1), (BV, 1)), configured(8, (AI, 1)), configured(9, (AI, 1), host="2001:0c")]
    async with running_gateway(database, tmp_path, devices, cov=ANALOG_INPUTS) as running:
        await running.until(lambda: len(running.network.followed) == 2)
        await running.poll_round(2.0)
        assert sorted(device.instance for device in running.network.followed) == [7, 9]
        before = len(running.network.read)
        for _ in range(5):
            await running.poll_round()
        polled = [point for points in running.network.read[before:] for point in points]
        counts = {
            (instance, kind): sum(point.device.instance == instance and point.object.type is kind for point in polled)
            for instance, kind in ((7, AI), (7, BV), (8, AI), (9, AI))
        }
    assert counts[7, BV] == counts[8, AI] == 5
    assert counts[7, AI] <= 1
    assert counts[9, AI] <= 1


async def test_a_change_reaches_the_broker_and_an_older_answer_does_not_take_its_place(tmp_path: Path, database: Database) -> None:
    async with running_gateway(database, tmp_path, [configured(7, (AI, 1))], cov=ANALOG_INPUTS) as running:
        await running.until(lambda: bool(running.network.followed))
        await running.poll_round(2.0)
        (deliver,) = running.network.followed.values()
        deliver(change(running, "30.5"))
        await running.until(lambda: running.gateway.subscribe._changes == [])
        await running.poll_round(1.0)
        await running.until(lambda: values(running)[-1:] == ["30.5"])
        late = change(running, "29.5", seconds_ago=5.0)
        assert running.image.apply([late]) == [late]
        assert [row.reading.present_value for row in running.image.take_changes()] == ["30.5"]
        again = change(running, "31.5")
        running.image.apply([again])
        assert [row.reading.present_value for row in running.image.take_changes()] == ["31.5"]


async def test_many_changes_of_one_moment_all_reach_the_outbox_in_order(tmp_path: Path, database: Database) -> None:
    async with running_gateway(database, tmp_path, [configured(7, (AI, 1))], cov=ANALOG_INPUTS) as running:
        await running.until(lambda: bool(running.network.followed))
        await running.poll_round(2.0)
        (deliver,) = running.network.followed.values()
        for n in range(500):
            deliver(change(running, str(n)))
        await running.poll_round(2.0)
        await running.until(lambda: values(running)[-1:] == ["499"])
        assert values(running)[-500:] == [str(n) for n in range(500)]


async def test_stopping_monitoring_ends_the_subscriptions_and_starting_takes_them_up(tmp_path: Path, database: Database) -> None:
    async with running_gateway(database, tmp_path, [configured(7, (AI, 1))], cov=ANALOG_INPUTS) as running:
        await running.until(lambda: bool(running.network.followed))
        await running.poll_round(2.0)
        await running.monitor.stop()
        await running.until(lambda: not running.network.followed)
        await running.poll_round(2.0)
        assert running.image.reported == frozenset()
        await running.monitor.start()
        await running.until(lambda: bool(running.network.followed))


async def test_without_patterns_nothing_on_our_own_network_is_followed(tmp_path: Path, database: Database) -> None:
    async with running_gateway(database, tmp_path, [configured(7, (AI, 1))]) as running:
        await running.poll_round(3.0)
        assert running.network.followed == {}


def condition(*flags: StatusFlag, event_state: str | None = None, reliability: str | None = None) -> Condition:
    return Condition(quality=Quality.GOOD, status_flags=flags, event_state=event_state, reliability=reliability)


@pytest.mark.parametrize(
    ("said", "known", "expected"),
    [
        (
            condition(event_state="normal", reliability="no-fault-detected"),
            condition(event_state="high-limit"),
            ("normal", "no-fault-detected"),
        ),
        (condition(StatusFlag.IN_ALARM), condition(event_state="high-limit"), ("high-limit", None)),
        (condition(StatusFlag.IN_ALARM), condition(event_state="normal"), (None, None)),
        (condition(StatusFlag.FAULT), condition(reliability="no-sensor"), (None, "no-sensor")),
        (condition(StatusFlag.FAULT), condition(reliability="no-fault-detected"), (None, None)),
        (condition(StatusFlag.FAULT), None, (None, None)),
    ],
)
def test_a_change_in_alarm_or_fault_keeps_what_was_read_of_it(
    said: Condition, known: Condition | None, expected: tuple[str | None, str | None]
) -> None:
    reading = Reading.of(1, datetime(2026, 11, 22, tzinfo=UTC), "1", said)
    completed = complete(reading, known)
    assert (completed.event_state, completed.reliability) == expected
    assert completed.present_value == "1"
