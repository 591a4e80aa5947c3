"""The wire's JSON, both ways; docs/mqtt.md has the contract. What arrives is decoded in `requests`, which is offered here too.

A point is encoded by concatenation: what belongs to the point is encoded once and cached, the rest is a handful of short texts.
"""

import dataclasses
import enum
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal

from bms_iot.domain.commands import CommandResult
from bms_iot.domain.delivery import Gap
from bms_iot.domain.heartbeat import Heartbeat
from bms_iot.domain.points import ObjectType, Point
from bms_iot.domain.readings import JSON_PROPERTIES, NO_OPTIONAL, OPTIONAL_PROPERTIES, OptionalValue, Reading, typed_value
from bms_iot.mqtt.requests import decode_command

__all__ = [
    "BulkPoint",
    "answer_body",
    "decode_command",
    "encode_answer",
    "encode_bulk",
    "encode_heartbeat",
    "encode_response",
    "encode_status",
    "unix_milliseconds",
    "wire_time",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_CACHED_POINTS = 16_384
_OPTIONAL = frozenset(OPTIONAL_PROPERTIES)
_JSON_COLUMNS = JSON_PROPERTIES | {"error_info"}
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkPoint:
    """One point of `B/bulk`: the reading, the point's optional properties, and columns that differ from the point for this reading.

    `columns` win over the reading's own optional properties, and those over `optional`.
    """

    point: Point
    reading: Reading
    optional: Mapping[str, OptionalValue] = field(default_factory=lambda: NO_OPTIONAL)
    columns: Mapping[str, object] = field(default_factory=lambda: NO_OPTIONAL)


def encode_bulk(*, boot: int, seq: int, iot_device_id: str, points: Iterable[BulkPoint], clock: str | None = None) -> bytes:
    """A message of `B/bulk`; `clock` is the mark of `EarlyDates`, None where the times need none."""
    mark = f'"clock":{_encode(clock)},' if clock else ""
    head = f'{{"boot":{boot},"seq":{seq},"iot_device_id":{_encode(iot_device_id)},{mark}"points":['
    return f"{head}{','.join(map(encode_point, points))}]}}".encode()


def encode_gap(gap: Gap) -> bytes:
    """A message of `B/bulk` in the place of those that will not come."""
    return _document({"gap": dataclasses.asdict(gap)})


def encode_status(
    *,
    state: Literal["online", "offline"],
    iot_device_id: str,
    boot: int,
    version: str,
    schema_revision: str,
    reason: Literal["lost", "shutdown"] | None = None,
    since: datetime | None = None,
    details: Mapping[str, object] = NO_OPTIONAL,
) -> bytes:
    """A message of `B/status/update`. `since` is aware; the last will has none, since nobody knows when it will be published."""
    body: dict[str, object] = {"state": state}
    if reason is not None:
        body["reason"] = reason
    if since is not None:
        body["since"] = wire_time(since)
    body |= {"iot_device_id": iot_device_id, "boot": boot, "version": version, "schema_revision": schema_revision, **details}
    return _document(body)


def encode_heartbeat(heartbeat: Heartbeat) -> bytes:
    """A message of `B/status/heartbeat`; `timestamp` is seconds since 1970, a float."""
    body = dataclasses.asdict(heartbeat)
    return _document({**body, "timestamp": heartbeat.timestamp.timestamp()})


def encode_last_value(point: Point, reading: Reading, *, name: str | None) -> bytes:
    """A message of `B/{controller_device_id}/{iot_device_point_id}`; `name` is what the point is called on site."""
    body = {
        "value": typed_value(point.object.type, reading.present_value),
        "present_value": reading.present_value,
        "units": point.units,
        "name": name,
        "quality": reading.quality,
        "status_flags": [flag.value for flag in reading.status_flags],
        "acquired_at": reading.acquired_at,
    }
    return _document(body)


def encode_response(result: CommandResult) -> bytes:
    """A message of `B/command/<name>/response`; `commandId` is there when the command had one."""
    return encode_answer(answer_body(result))


def answer_body(result: CommandResult) -> dict[str, Any]:
    """An answer as JSON knows it, to be kept in the journal and encoded as it is."""
    body: dict[str, object] = {"success": result.success, "message": result.message, "state": result.state, **result.details}
    if result.command_id is not None:
        body["commandId"] = result.command_id
    finite: dict[str, Any] = json.loads(_document(body))
    return finite


def encode_answer(body: Mapping[str, object]) -> bytes:
    """The message of an `answer_body`."""
    return _document(body)


@lru_cache(maxsize=64)
def wire_time(moment: datetime) -> str:
    """`2026-11-22T08:00:00.123Z`, milliseconds cut, not rounded. The moment is aware."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def unix_milliseconds(moment: datetime) -> int:
    """Milliseconds since 1970, of the same moment `wire_time` writes."""
    return (moment - _EPOCH) // _MILLISECOND


def encode_point(bulk: BulkPoint) -> str:
    """One point of `B/bulk`. Raises ValueError, TypeError, LookupError, AttributeError for what has no JSON."""
    reading = bulk.reading
    time = wire_time(reading.acquired_at)
    flags = ",".join([f'"{flag.value}"' for flag in reading.status_flags])
    error = reading.error
    text = (
        f"{static_columns(bulk.point)},"
        f'"present_value":{_encode(reading.present_value)},'
        f'"value":{_encode(typed_value(bulk.point.object.type, reading.present_value))},'
        f'"is_uploaded":false,"status_flags":[{flags}],'
        f'"event_state":{_encode(reading.event_state)},'
        f'"out_of_service":{_encode(reading.out_of_service)},'
        f'"reliability":{_encode(reading.reliability)},'
        f'"error_info":{_encode({"error_class": error.error_class, "error_code": error.error_code}) if error else "null"},'
        f'"created_at":"{time}","updated_at":"{time}",'
        f'"created_at_unix_milli_timestamp":{unix_milliseconds(reading.acquired_at)},'
        f'"quality":"{reading.quality.value}","acquired_at":"{time}"'
    )
    optional = optional_columns(bulk.optional, bulk.reading.optional or NO_OPTIONAL, bulk.columns)
    if optional:
        text = f"{text},{_encode(optional)[1:-1]}"
    if bulk.columns.keys() <= _OPTIONAL:
        return f"{text}}}"
    overrides = {name: _column(name, value) for name, value in bulk.columns.items() if name not in _OPTIONAL}
    return _encode({**json.loads(f"{text}}}"), **overrides})


@lru_cache(maxsize=_CACHED_POINTS)
def static_columns(point: Point) -> str:
    """What does not change from reading to reading, without the closing brace."""
    device = point.device
    columns = {
        "id": point.id,
        "controller_ip_address": device.address.host,
        "controller_port": device.address.port,
        "controller_device_id": str(device.instance),
        "bacnet_object_type": point.object.type.value,
        "point_id": point.object.instance,
        "iot_device_point_id": point.iot_device_point_id,
        "controller_id": device.controller_id,
        "units": point.units,
    }
    return _encode(columns)[:-1]


def optional_columns(
    optional: Mapping[str, OptionalValue], own: Mapping[str, OptionalValue], columns: Mapping[str, object]
) -> dict[str, Any]:
    """The optional properties that have a value, in the order of the columns; the later argument wins."""
    if not (optional or own or columns):
        return {}
    known: dict[str, object] = {**optional, **own, **columns}
    wire = ((name, _column(name, known[name])) for name in OPTIONAL_PROPERTIES if known.get(name) is not None)
    return {name: value for name, value in wire if value is not None}


def _column(name: str, value: object) -> object:
    """A column's value as the wire spells it, from the forms databases hold."""
    if name == "bacnet_object_type" and isinstance(value, str) and value in ObjectType.__members__:
        return ObjectType[value].value
    if name in _JSON_COLUMNS and isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return value
    return _finite(value)


def _finite(value: object) -> object:
    """JSON has no NaN and no infinity: null in their place."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case list() | tuple():
            return [_finite(item) for item in value]
        case Mapping():
            return {str(key): _finite(item) for key, item in value.items()}
        case datetime():
            return wire_time(value)
        case enum.Enum():
            return value.value
    return value


def _document(body: Mapping[str, object]) -> bytes:
    return _encode(_finite(body)).encode()
