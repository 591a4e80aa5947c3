"""The encoder in a hurry writes byte for byte what the plain one writes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bms_iot.domain.points import Device, DeviceAddress, ObjectIdentifier, ObjectType, Point
from bms_iot.domain.readings import NO_OPTIONAL, Condition, Quality, Reading, ReadingError, StatusFlag
from bms_iot.mqtt.bulk import BulkEncoder
from bms_iot.mqtt.payload import BulkPoint, encode_bulk

NOW = datetime(2026, 11, 22, 8, 0, 0, 123_987, tzinfo=UTC)
NORMAL = Condition(quality=Quality.GOOD, event_state="normal", out_of_service=False, reliability="no-fault-detected")
ODD = Condition(
    quality=Quality.BAD,
    status_flags=(StatusFlag.IN_ALARM, StatusFlag.OVERRIDDEN),
    event_state=None,
    out_of_service=True,
    reliability='over "range" é\x00',
    error=ReadingError(error_class="property", error_code="42"),
)
TEXTS = (
    "21.7",
    "-0.0",
    "1e+22",
    "3.4028234663852886e+38",
    "nan",
    "inf",
    "-inf",
    "active",
    "inactive",
    "3",
    "text, é \u2028 \x1f",
    "",
    None,
)
OPTIONALS: dict[int, Any] = {
    1: {"high_limit": 30.0, "cov_increment": None, "priority_array": [None, 1.5], "event_message_texts": ["é", "x"]},
    2: {"high_limit": float("nan")},
}


def point(row, object_type):
    return Point(
        id=row,
        device=Device(address=DeviceAddress(host="10.0.0.1"), instance=1200, controller_id='c "1"'),
        object=ObjectIdentifier(type=object_type, instance=row),
        iot_device_point_id=f"key-{row}",
        units="degreesCelsius" if row % 2 else None,
    )


POINTS = {row: point(row, object_type) for row, object_type in enumerate(ObjectType, start=1)}


def encoder(points=POINTS, optionals=OPTIONALS):
    return BulkEncoder(iot_device_id="gäteway", point=points.get, optional=lambda row: optionals.get(row, NO_OPTIONAL))


def plain(readings, columns=(), clock=None):
    own = columns or [NO_OPTIONAL] * len(readings)
    points = [
        BulkPoint(point=POINTS[r.point_id], reading=r, optional=OPTIONALS.get(r.point_id, NO_OPTIONAL), columns=c)
        for r, c in zip(readings, own, strict=True)
    ]
    return encode_bulk(boot=7, seq=9, iot_device_id="gäteway", points=points, clock=clock)


@pytest.mark.parametrize("condition", [NORMAL, ODD])
def test_every_type_and_text_is_written_as_the_plain_encoder_writes_it(condition):
    readings = [
        Reading.of(row, NOW + timedelta(milliseconds=n), text, condition, None) for row in POINTS for n, text in enumerate(TEXTS)
    ]
    assert encoder().encode(7, 9, readings) == plain(readings)
    assert encoder().encode(7, 9, readings, clock="untrusted") == plain(readings, clock="untrusted")


def test_what_a_reading_carries_itself_wins_here_as_there():
    readings = [
        Reading.of(1, NOW, "1.0", NORMAL, {"high_limit": 31.0}),
        Reading.of(2, NOW, "2.0", ODD, None),
        Reading.of(3, NOW, "3.0", NORMAL, None),
    ]
    columns = [NO_OPTIONAL, {"controller_ip_address": "10.9.9.9", "low_limit": 1.0}, {"is_uploaded": True}]
    assert encoder().encode(7, 9, readings, columns) == plain(readings, columns)


def test_a_point_that_moved_and_a_property_that_changed_are_seen():
    points, optionals = dict(POINTS), dict(OPTIONALS)
    fast, reading = encoder(points, optionals), Reading.of(1, NOW, "1.0", NORMAL, None)
    before = fast.encode(7, 9, [reading])
    points[1] = replace(points[1], device=replace(points[1].device, address=DeviceAddress(host="10.0.0.99")))
    optionals[1] = {"high_limit": 40.0}
    after = fast.encode(7, 9, [reading])
    assert before != after
    assert b"10.0.0.99" in after
    assert b'"high_limit":40.0' in after


def test_an_unknown_point_is_an_error():
    with pytest.raises(LookupError, match="no point 4711"):
        encoder().encode(7, 9, [Reading.of(4711, NOW, "1.0", NORMAL, None)])
