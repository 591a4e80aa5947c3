"""What is published, checked against a slow reading of the contract written here."""

import json
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms_iot.domain.commands import CommandResult, CommandState
from bms_iot.domain.health import ConnectionStatus, MonitoringStatus
from bms_iot.domain.heartbeat import Heartbeat
from bms_iot.domain.points import Device, DeviceAddress, ObjectIdentifier, ObjectType, Point
from bms_iot.domain.readings import OPTIONAL_PROPERTIES, Quality, Reading, ReadingError, StatusFlag
from bms_iot.mqtt.payload import BulkPoint, encode_bulk, encode_heartbeat, encode_response, encode_status

BASE_COLUMNS = {
    "id",
    "controller_ip_address",
    "controller_port",
    "bacnet_object_type",
    "point_id",
    "iot_device_point_id",
    "controller_id",
    "units",
    "present_value",
    "controller_device_id",
    "is_uploaded",
    "created_at",
    "updated_at",
    "status_flags",
    "event_state",
    "out_of_service",
    "reliability",
    "error_info",
}
MOMENT = datetime(2026, 11, 22, 8, 0, 0, 123_999, tzinfo=UTC)
DEVICE = Device(address=DeviceAddress(host="10.20.0.10"), instance=1200, controller_id="controller-1")


def a_point(object_type: ObjectType = ObjectType.ANALOG_INPUT) -> Point:
    return Point(
        id=17,
        device=DEVICE,
        object=ObjectIdentifier(type=object_type, instance=1),
        iot_device_point_id="point-1",
        units="degreesCelsius",
    )


def a_reading(present_value: str | None = "21.7", **more: Any) -> Reading:
    return Reading(point_id=17, acquired_at=MOMENT, present_value=present_value, quality=more.pop("quality", Quality.GOOD), **more)


def encoded(bulk: BulkPoint) -> Any:
    message = json.loads(encode_bulk(boot=3, seq=9, iot_device_id="device-1", points=[bulk]))
    assert {key: message[key] for key in ("boot", "seq", "iot_device_id")} == {"boot": 3, "seq": 9, "iot_device_id": "device-1"}
    (point,) = message["points"]
    return point


def finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list):
        return [finite(item) for item in value]
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    return value


def typed(object_type: ObjectType, text: str | None) -> object:
    if text is None:
        return None
    if object_type.value.startswith("binary"):
        return {"active": True, "inactive": False}.get(text, text)
    try:
        number = float(text)
    except ValueError:
        return text
    if not math.isfinite(number):
        return None
    return number if object_type.value.startswith("analog") else int(number)


def slow_reference(bulk: BulkPoint) -> dict[str, Any]:
    point, reading = bulk.point, bulk.reading
    moment = reading.acquired_at.astimezone(UTC)
    text = f"{moment.strftime('%Y-%m-%dT%H:%M:%S').zfill(19)}.{moment.microsecond // 1000:03d}Z"
    whole_seconds = moment.replace(microsecond=0) - datetime(1970, 1, 1, tzinfo=UTC)
    document = {
        "id": point.id,
        "controller_ip_address": point.device.address.host,
        "controller_port": point.device.address.port,
        "bacnet_object_type": point.object.type.value,
        "point_id": point.object.instance,
        "iot_device_point_id": point.iot_device_point_id,
        "controller_id": point.device.controller_id,
        "units": point.units,
        "present_value": reading.present_value,
        "value": typed(point.object.type, reading.present_value),
        "controller_device_id": str(point.device.instance),
        "is_uploaded": False,
        "created_at": text,
        "updated_at": text,
        "acquired_at": text,
        "created_at_unix_milli_timestamp": int(whole_seconds.total_seconds()) * 1000 + moment.microsecond // 1000,
        "quality": reading.quality.value,
        "status_flags": [flag.value for flag in reading.status_flags],
        "event_state": reading.event_state,
        "out_of_service": reading.out_of_service,
        "reliability": reading.reliability,
        "error_info": None
        if reading.error is None
        else {"error_class": reading.error.error_class, "error_code": reading.error.error_code},
    }
    merged = {**bulk.optional, **(reading.optional or {}), **bulk.columns}
    for name in OPTIONAL_PROPERTIES:
        if finite(merged.get(name)) is not None:
            document[name] = finite(merged[name])
    for name, value in bulk.columns.items():
        if name not in OPTIONAL_PROPERTIES:
            document[name] = finite(value)
    return document


texts = st.text(max_size=12)
numbers = st.floats(width=32).map(str)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
optional_properties = st.dictionaries(
    st.sampled_from([name for name in OPTIONAL_PROPERTIES if name != "priority_array"]),
    st.none() | st.booleans() | st.floats() | st.integers() | st.dictionaries(texts, json_values, max_size=3),
    max_size=4,
) | st.fixed_dictionaries({"priority_array": st.lists(st.none() | st.floats(width=32), min_size=16, max_size=16)})
points = st.builds(
    Point,
    id=st.integers(min_value=1),
    device=st.builds(
        Device,
        address=st.builds(DeviceAddress, host=texts, port=st.integers(1, 65535)),
        instance=st.integers(0, 4_194_302),
        controller_id=texts,
    ),
    object=st.builds(ObjectIdentifier, type=st.sampled_from(ObjectType), instance=st.integers(0, 4_194_302)),
    iot_device_point_id=texts,
    units=st.none() | texts,
)
readings = st.builds(
    Reading,
    point_id=st.just(1),
    acquired_at=st.datetimes(
        min_value=datetime(1970, 1, 2),  # noqa: DTZ001 - hypothesis wants naive limits
        timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]),
    ),
    present_value=st.none() | numbers | st.sampled_from(["active", "inactive", "3", "nan", "inf", "-inf"]) | texts,
    quality=st.sampled_from(Quality),
    status_flags=st.lists(st.sampled_from(StatusFlag), unique=True).map(tuple),
    event_state=st.none() | texts,
    out_of_service=st.none() | st.booleans(),
    reliability=st.none() | texts,
    error=st.none() | st.builds(ReadingError, error_class=texts, error_code=texts),
    optional=st.none() | optional_properties,
)
overrides: st.SearchStrategy[dict[str, Any]] = st.just({}) | st.dictionaries(
    st.sampled_from(["id", "iot_device_point_id", "controller_ip_address", "controller_port", "units", "cov_increment"]),
    st.none() | st.integers() | texts,
    max_size=3,
)


@given(st.lists(st.builds(BulkPoint, point=points, reading=readings, optional=optional_properties, columns=overrides), max_size=4))
def test_concatenated_points_equal_the_plain_document(bulk_points):
    raw = encode_bulk(boot=3, seq=9, iot_device_id="device", points=bulk_points)
    message = json.loads(raw, parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON"))
    expected = {"boot": 3, "seq": 9, "iot_device_id": "device", "points": [slow_reference(bulk) for bulk in bulk_points]}
    assert message == expected


def test_the_eighteen_base_columns_are_always_there_and_absent_ones_are_null():
    point = encoded(BulkPoint(point=a_point(), reading=a_reading(None, quality=Quality.BAD)))
    assert point.keys() >= BASE_COLUMNS
    assert point["present_value"] is None
    assert point["value"] is None
    assert point["event_state"] is None
    assert point["status_flags"] == []
    assert point["is_uploaded"] is False


def test_times_end_in_z_and_milliseconds_are_true_milliseconds():
    point = encoded(BulkPoint(point=a_point(), reading=a_reading()))
    assert point["created_at"] == point["updated_at"] == point["acquired_at"] == "2026-11-22T08:00:00.123Z"
    assert point["created_at_unix_milli_timestamp"] == 1795334400123


def test_an_optional_property_without_value_is_left_out():
    optional = {"cov_increment": None, "high_limit": math.inf, "low_limit": 2.0}
    point = encoded(BulkPoint(point=a_point(), reading=a_reading(), optional=optional))
    assert point.keys() & set(OPTIONAL_PROPERTIES) == {"low_limit"}


@pytest.mark.parametrize(
    ("object_type", "text", "value"),
    [
        (ObjectType.ANALOG_INPUT, "21.7", 21.7),
        (ObjectType.BINARY_VALUE, "active", True),
        (ObjectType.BINARY_VALUE, "inactive", False),
        (ObjectType.MULTI_STATE_INPUT, "3", 3),
        (ObjectType.ANALOG_INPUT, "nan", None),
        (ObjectType.ANALOG_INPUT, "-inf", None),
    ],
)
def test_value_is_typed_beside_the_text(object_type, text, value):
    point = encoded(BulkPoint(point=a_point(object_type), reading=a_reading(text)))
    assert point["present_value"] == text
    assert point["value"] == value
    assert type(point["value"]) is type(value)


def test_a_folded_reading_keeps_its_own_columns_in_the_spelling_of_the_wire():
    columns = {
        "id": 4,
        "iot_device_point_id": "older",
        "bacnet_object_type": "ANALOG_VALUE",
        "error_info": '{"error_class": "property", "error_code": "unknown-property"}',
        "limit_enable": '{"lowLimitEnable": true, "highLimitEnable": false}',
        "high_limit": None,
    }
    point = encoded(BulkPoint(point=a_point(), reading=a_reading(), optional={"high_limit": 30.0}, columns=columns))
    assert (point["id"], point["iot_device_point_id"], point["bacnet_object_type"]) == (4, "older", "analogValue")
    assert point["error_info"] == {"error_class": "property", "error_code": "unknown-property"}
    assert point["limit_enable"] == {"lowLimitEnable": True, "highLimitEnable": False}
    assert "high_limit" not in point


def test_a_readings_own_optional_property_wins_over_the_points():
    reading = a_reading(optional={"high_limit": 25.0})
    assert encoded(BulkPoint(point=a_point(), reading=reading, optional={"high_limit": 30.0}))["high_limit"] == 25.0


def test_a_point_that_changed_its_units_is_not_answered_from_the_cache():
    first = a_point()
    second = Point(
        id=first.id, device=first.device, object=first.object, iot_device_point_id=first.iot_device_point_id, units="kelvins"
    )
    assert encoded(BulkPoint(point=first, reading=a_reading()))["units"] == "degreesCelsius"
    assert encoded(BulkPoint(point=second, reading=a_reading()))["units"] == "kelvins"


def test_status_says_online_offline_and_why():
    facts: dict[str, Any] = {"iot_device_id": "device", "boot": 3, "version": "0.1.0", "schema_revision": "abc"}
    online = json.loads(encode_status(state="online", since=MOMENT, **facts, details={"rekeyed": {"a": "b"}}))
    assert online == {"state": "online", "since": "2026-11-22T08:00:00.123Z", **facts, "rekeyed": {"a": "b"}}
    assert json.loads(encode_status(state="offline", reason="lost", **facts)) == {"state": "offline", "reason": "lost", **facts}


def test_heartbeat_has_every_key_old_consumers_read_and_numbers_are_numbers():
    heartbeat = Heartbeat(
        timestamp=MOMENT,
        organization_id="org_1",
        site_id="site",
        iot_device_id="device",
        boot=3,
        version="0.1.0",
        schema_revision="abc",
        monitoring_status=MonitoringStatus.ACTIVE,
        mqtt_connection_status=ConnectionStatus.CONNECTED,
        bacnet_connection_status=ConnectionStatus.DISCONNECTED,
        bacnet_devices_connected=2,
        bacnet_points_monitored=40,
        backlog=7,
        oldest_unsent_seconds=None,
        poll_lag_seconds=0.25,
        uptime_seconds=60,
        clock_synced=True,
        cpu_usage_percent=math.nan,
        memory_usage_percent=41.5,
    )
    body = json.loads(encode_heartbeat(heartbeat))
    assert body.keys() == set(Heartbeat.__dataclass_fields__)
    assert body["timestamp"] == MOMENT.timestamp()
    assert (body["monitoring_status"], body["bacnet_connection_status"]) == ("active", "disconnected")
    assert body["cpu_usage_percent"] is None
    assert body["memory_usage_percent"] == 41.5


def test_a_response_names_its_command_when_that_is_known():
    result = CommandResult(
        success=True, message="2 of 2", state=CommandState.DONE, command_id="c-1", details={"controllers": {"a": {"points": 4}}}
    )
    assert json.loads(encode_response(result)) == {
        "success": True,
        "message": "2 of 2",
        "state": "done",
        "commandId": "c-1",
        "controllers": {"a": {"points": 4}},
    }
    anonymous = CommandResult(success=False, message="not JSON", state=CommandState.REJECTED)
    assert json.loads(encode_response(anonymous)) == {"success": False, "message": "not JSON", "state": "rejected"}
