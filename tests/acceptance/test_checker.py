"""The checker passes a sound history and names each way in which one can be unsound."""

import copy
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.acceptance.checker import OWN, History, check

START = 1_795_334_400.0
BASE = "iot/global/org_test/site/gateway"
POINT = {"device": 2001, "object_type": "analogValue", "instance": 1}


def stamp(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def point(moment: float, value: float) -> dict[str, object]:
    known = {
        "controller_device_id": "2001",
        "bacnet_object_type": "analogValue",
        "point_id": 1,
        "present_value": str(value),
        "value": value,
        "quality": "good",
        "acquired_at": stamp(moment),
    }
    return {name: known.get(name) for name in OWN}


def answer(moment: float, value: float, invoke_id: int) -> dict[str, object]:
    row = {**POINT, "time": stamp(moment), "property": "present-value", "error": None, "value": value}
    return {**row, "client": "127.0.0.1:47808", "invoke_id": invoke_id}


def bulk(number: int, boot: int, seq: int, moment: float, value: float) -> dict[str, object]:
    payload = {"boot": boot, "seq": seq, "points": [point(moment, value)]}
    return {"publish": number, "connection": 1, "topic": f"{BASE}/bulk", "payload": payload}


def write(moment: float, value: float | None) -> dict[str, object]:
    return {**POINT, "time": stamp(moment), "priority": 9, "value": value, "client": "c", "invoke_id": 1}


def sound() -> History:
    """Two boots with a kill between them, two commands of which one is leased and sent twice, and one that expired."""
    answers = [answer(START + second, 100.0 + second, second) for second in range(1, 7)]
    stream = [bulk(second, 7 if second < 4 else 8, second if second < 4 else second - 3, START + second, 100.0 + second)
              for second in range(1, 7)]  # fmt: skip
    online = [
        {"publish": 20 + boot, "connection": 1, "topic": f"{BASE}/status/update", "payload": {"state": "online", "boot": boot}}
        for boot in (7, 8)
    ]
    commands: list[dict[str, Any]] = [
        {"name": "set_value_to_point", "body": {"commandId": "a", "presentValue": 9001.0, "leaseSeconds": 2}},
        {"name": "set_value_to_point", "body": {"commandId": "a", "presentValue": 9001.0, "leaseSeconds": 2}},
        {"name": "set_value_to_point", "body": {"commandId": "b", "presentValue": 9002.0}, "expired": True},
    ]
    outcomes = [("a", "done"), ("a", "duplicate"), ("b", "expired")]
    responses = [
        {"publish": 40 + number, "connection": 1, "topic": f"{BASE}/command/set_value_to_point/response",
         "payload": {"commandId": command_id, "state": state}}
        for number, (command_id, state) in enumerate(outcomes)
    ]  # fmt: skip
    return History(
        answers=answers,
        writes=[write(START + 100, 9001.0), write(START + 102, None)],
        published=[*stream, *online, *responses],
        acknowledged=frozenset(range(100)),
        commands=commands,
        events=[
            {"event": "started", "time": START},
            {"event": "killed", "time": START + 3.5},
            {"event": "committed", "time": START + 3.6, "keys": [[7, 1], [7, 2], [7, 3]]},
            {"event": "started", "time": START + 3.7},
        ],
    )


def test_a_sound_history_breaks_nothing_and_says_how_much_was_looked_at():
    verdict = check(sound())
    assert verdict.broken == []
    assert verdict.figures["readings"] == 6
    assert (verdict.figures["writes"], verdict.figures["duplicate_answers"], verdict.figures["leases"]) == (1, 1, 1)


def test_what_was_in_the_air_when_the_gateway_was_killed_may_be_missing():
    history = sound()
    history.answers.append(answer(START + 3.4, 777.0, 99))
    history.answers.sort(key=lambda row: row["time"])
    verdict = check(history)
    assert verdict.broken == []
    assert verdict.figures["in_the_air_at_kills"] == 1


def lose_a_message(history: History) -> None:
    del history.published[4]


def lose_the_last_acknowledgement(history: History) -> None:
    object.__setattr__(history, "acknowledged", history.acknowledged - {3})


def lose_a_reading(history: History) -> None:
    history.answers.insert(5, answer(START + 5.5, 555.0, 55))


def mix_up_two_points(history: History) -> None:
    history.published[2]["payload"]["points"][0]["point_id"] = 2


def give_one_key_two_contents(history: History) -> None:
    again = copy.deepcopy(history.published[1])
    again["payload"]["points"][0]["present_value"] = "1.0"
    history.published.append(again)


def drain_out_of_order(history: History) -> None:
    first, second, third = history.published[:3]
    history.published[:3] = [third, second, first]


def number_against_time(history: History) -> None:
    one, two = history.published[0]["payload"], history.published[1]["payload"]
    one["points"], two["points"] = two["points"], one["points"]


def use_a_boot_again(history: History) -> None:
    history.published.append({**history.published[6], "publish": 30})


def write_twice(history: History) -> None:
    history.writes.insert(1, write(START + 101, 9001.0))


def write_what_had_expired(history: History) -> None:
    history.writes.insert(0, write(START + 99, 9002.0))


def write_unasked(history: History) -> None:
    history.writes.insert(0, write(START + 99, 4.0))


def keep_a_lease(history: History) -> None:
    del history.writes[1]


def answer_differently(history: History) -> None:
    history.published.append({**history.published[8], "payload": {"commandId": "a", "state": "failed"}})


def answer_never(history: History) -> None:
    del history.published[-1]


@pytest.mark.parametrize(
    ("damage", "invariant"),
    [
        (lose_a_message, "I2"),
        (lose_the_last_acknowledgement, "I1"),
        (lose_a_reading, "I1"),
        (mix_up_two_points, "I9"),
        (give_one_key_two_contents, "I2"),
        (drain_out_of_order, "I3"),
        (number_against_time, "I3"),
        (use_a_boot_again, "I2"),
        (write_twice, "I4"),
        (write_what_had_expired, "I4"),
        (write_unasked, "I4"),
        (keep_a_lease, "I4"),
        (answer_differently, "I4"),
        (answer_never, "I4"),
    ],
    ids=lambda value: value.__name__ if callable(value) else value,
)
def test_each_way_to_break_a_promise_is_named(damage: Callable[[History], None], invariant: str) -> None:
    history = sound()
    damage(history)
    assert any(said.startswith(invariant) for said in check(history).broken), check(history).broken
