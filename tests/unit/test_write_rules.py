"""The site's rules of writing: pure decisions, each refusal with its reason."""

import itertools
from typing import Any

import pytest

from bms_iot.domain.classes import PointPattern
from bms_iot.domain.commands import JournalState, SetValue
from bms_iot.domain.points import Device, DeviceAddress, ObjectIdentifier, ObjectType, Point
from bms_iot.domain.write_rules import RateLimit, ValueRange, WriteRules
from bms_iot.errors import CommandRejected

AO, AI, BO, MO = ObjectType.ANALOG_OUTPUT, ObjectType.ANALOG_INPUT, ObjectType.BINARY_OUTPUT, ObjectType.MULTI_STATE_OUTPUT
ON = WriteRules(is_enabled=True)


def point(object_type: ObjectType = AO) -> Point:
    device = Device(address=DeviceAddress(host="10.0.0.1"), instance=1200, controller_id="k-1")
    return Point(id=1, device=device, object=ObjectIdentifier(type=object_type, instance=7), iot_device_point_id="p-1")


def command(**changes: Any) -> SetValue:
    return SetValue(**{"command_id": "c", "iot_device_point_id": "p-1", "value": 50.0, **changes})


@pytest.mark.parametrize(
    ("rules", "changes", "object_type", "says"),
    [
        (WriteRules(), {}, AO, "writing is off"),
        (ON, {"controller_id": "other"}, AO, "another controller"),
        (ON, {"instance": 8}, AO, "analogOutput:7"),
        (WriteRules(is_enabled=True, points=(PointPattern.parse("*/AO/*valve*"),)), {}, AO, "writes.points"),
        (ON, {"priority": 7}, AO, "priority"),
        (ON, {"priority": 1}, AO, "priority"),
        (WriteRules(is_enabled=True, priority_floor=1), {"priority": 6}, AO, "minimum on and off"),
        (ON, {"value": "warm"}, AO, "no number"),
        (ON, {"value": True}, AO, "no number"),
        (ON, {"value": 1e39}, AO, "REAL"),
        (ON, {"value": float("inf")}, AO, "finite"),
        (ON, {"value": 10**400}, AO, "finite"),
        (ON, {"value": 2}, BO, "binary"),
        (ON, {"value": 0}, MO, "state"),
        (ON, {"value": 1.5}, MO, "state"),
        (ON, {"lease_seconds": 20.0}, AI, "released"),
        (WriteRules(is_enabled=True, ranges=(ValueRange.parse("0..40 1200/AO/*"),)), {}, AO, "above 40"),
        (WriteRules(is_enabled=True, ranges=(ValueRange.parse("60.. 1200/AO/*"),)), {}, AO, "below 60"),
    ],
)
def test_what_the_rules_forbid_is_refused_with_the_reason(rules, changes, object_type, says):
    with pytest.raises(CommandRejected, match=says):
        rules.write(command(**changes), point(object_type), "fan speed")


def test_what_the_rules_allow_becomes_a_write():
    rules = WriteRules(
        is_enabled=True, points=(PointPattern.parse("1200/*/*fan*"),), ranges=(ValueRange.parse("..50 */AO"),), default_priority=10
    )
    write = rules.write(command(controller_id="k-1", instance=7), point(), "Supply FAN speed")
    assert (write.value, write.priority) == (50.0, 10)
    assert rules.write(command(value="12.5", priority=16), point(), "fan").value == 12.5
    assert rules.write(command(value=None), point(), "fan").value is None
    assert WriteRules(is_enabled=True, priority_floor=1).write(command(priority=1), point(), None).priority == 1
    assert ON.write(command(value="on"), point(BO), None).value is True
    assert ON.write(command(value=3), point(MO), None).value == 3


@pytest.mark.parametrize("text", ["18..26 */AV/*setpoint*", "..26 */*/*", "-5.5.. 1200/*/*"])
def test_a_range_is_written_as_it_is_read(text):
    assert str(ValueRange.parse(text)) == text


@pytest.mark.parametrize("text", ["18-26 */AV", "18..26", "a..b */AV", "nan.. */AV", "26..18 */AV", "1..2 */XX"])
def test_a_wrong_range_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        ValueRange.parse(text)


def test_the_rate_limit_lets_so_many_a_minute_through():
    limit = RateLimit(3)
    for _ in range(3):
        limit.take(100.0)
    with pytest.raises(CommandRejected, match=r"too fast.*20\.0 s"):
        limit.take(100.0)
    limit.take(120.0)
    with pytest.raises(CommandRejected):
        limit.take(121.0)
    for _ in range(3):
        limit.take(1_000.0)
    with pytest.raises(CommandRejected):
        limit.take(1_000.0)


def test_a_command_in_the_journal_goes_forwards_only():
    final = [state for state in JournalState if state.is_final]
    assert len(final) == 5
    allowed = {(one, other) for one, other in itertools.product(JournalState, repeat=2) if one.may_become(other)}
    starts = {(JournalState.RECEIVED, JournalState.STARTED)}
    assert allowed == starts | {(one, other) for one in (JournalState.RECEIVED, JournalState.STARTED) for other in final}
    assert JournalState.before(JournalState.DONE) == (JournalState.RECEIVED, JournalState.STARTED)
