"""The compact form of a message in the outbox; docs/decisions/0001-compact-outbox.md has the layout."""

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from json.encoder import encode_basestring
from typing import Any

from bms_iot.domain.readings import (
    NO_OPTIONAL,
    OPTIONAL_PROPERTIES,
    Condition,
    OptionalValue,
    Quality,
    Reading,
    ReadingError,
    StatusFlag,
)
from bms_iot.errors import StorageError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_QUALITIES = {quality.value[0]: quality for quality in Quality}
_FLAG_BITS = {flag: 1 << bit for bit, flag in enumerate(StatusFlag)}
_DEFAULTS: tuple[Any, ...] = (None, None, None, "g", 0, "normal", False, "no-fault-detected", None, {})
_ALWAYS, _CONDITION_ENDS = 3, 9
_USUAL = Condition(quality=Quality.GOOD, event_state="normal", out_of_service=False, reliability="no-fault-detected")
_OPTIONAL = frozenset(OPTIONAL_PROPERTIES)
_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxReading:
    """A reading in the outbox; `columns` are those of `controller_points` that differ from the point's row for this reading."""

    reading: Reading
    columns: Mapping[str, object]


def encode(readings: Sequence[Reading]) -> bytes:
    """At least one reading. The optional properties a reading carries become its differing columns."""
    start = _microseconds(readings[0].acquired_at)
    rows: list[str] = []
    ends: dict[int, str] = {}
    """What follows the present-value, by the identity of the condition: few conditions are shared by many readings."""
    moment, offset = readings[0].acquired_at, 0
    for point_id, acquired_at, present_value, condition, optional in readings:
        if acquired_at is not moment:
            moment, offset = acquired_at, _microseconds(acquired_at) - start
        if optional:
            end = _end(condition, optional)
        elif (known := ends.get(id(condition))) is not None:
            end = known
        else:
            end = ends[id(condition)] = _end(condition, NO_OPTIONAL)
        value = "null" if present_value is None else encode_basestring(present_value)
        rows.append(f"[{point_id},{offset},{value}{end}]")
    text = f'{{"v":1,"t":{start},"r":[{",".join(rows)}]}}'
    return zlib.compress(text.encode(), 6)


def decode(payload: bytes) -> list[OutboxReading]:
    """Raises StorageError for what is not such a payload."""
    try:
        body = json.loads(zlib.decompress(payload))
        if body["v"] != 1:
            raise StorageError(f"an outbox message has form {body['v']}, this release knows 1")
        return _readings(body["r"], body["t"])
    except (zlib.error, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise StorageError(f"an outbox message cannot be decoded: {error}") from error


def _end(condition: Condition, optional: Mapping[str, OptionalValue]) -> str:
    """The rest of a row, with the comma before it; what is as usual is left out from the end."""
    rest: list[object] = [
        condition.quality.value[0],
        sum(_FLAG_BITS[flag] for flag in condition.status_flags),
        condition.event_state,
        condition.out_of_service,
        condition.reliability,
        [condition.error.error_class, condition.error.error_code] if condition.error else None,
        dict(optional),
    ]
    usual = list(_DEFAULTS[_ALWAYS:])
    while rest and rest[-1] == usual[-1] and type(rest[-1]) is type(usual[-1]):
        rest.pop()
        usual.pop()
    return f",{_json(rest)[1:-1]}" if rest else ""


def _readings(rows: list[list[Any]], start: int) -> list[OutboxReading]:
    readings = []
    moments: dict[int, datetime] = {}
    conditions: dict[str, Condition] = {}
    """By how they are written: few conditions and times are shared by many readings."""
    for row in rows:
        offset = row[1]
        if (moment := moments.get(offset)) is None:
            moment = moments[offset] = _EPOCH + timedelta(microseconds=start + offset)
        if len(row) == _ALWAYS:
            reading, columns = Reading.of(row[0], moment, row[2], _USUAL), NO_OPTIONAL
        else:
            written = repr(row[_ALWAYS:_CONDITION_ENDS])
            if (condition := conditions.get(written)) is None:
                condition = conditions[written] = _condition(row)
            columns = row[_CONDITION_ENDS] if len(row) > _CONDITION_ENDS else NO_OPTIONAL
            optional = {name: value for name, value in columns.items() if name in _OPTIONAL} or None
            columns = {name: value for name, value in columns.items() if name not in _OPTIONAL}
            reading = Reading.of(row[0], moment, row[2], condition, optional)
        readings.append(OutboxReading(reading=reading, columns=columns))
    return readings


def _condition(row: list[Any]) -> Condition:
    full: list[Any] = [*row, *_DEFAULTS[len(row) :]]
    quality, flags, event_state, out_of_service, reliability, error = full[_ALWAYS:_CONDITION_ENDS]
    return Condition(
        quality=_QUALITIES[quality],
        status_flags=tuple(flag for flag, bit in _FLAG_BITS.items() if flags & bit),
        event_state=event_state,
        out_of_service=out_of_service,
        reliability=reliability,
        error=None if error is None else ReadingError(error_class=error[0], error_code=error[1]),
    )


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def halves(payload: bytes) -> tuple[list[Reading], list[Reading]]:
    """The readings of a message of at least two, with all they carry, as two batches. Raises StorageError."""
    readings = []
    for stored in decode(payload):
        carried: dict[str, Any] = {**(stored.reading.optional or NO_OPTIONAL), **stored.columns}
        readings.append(stored.reading.carrying(carried or None))
    middle = len(readings) // 2
    return readings[:middle], readings[middle:]


def span(readings: Iterable[Reading]) -> tuple[datetime, datetime]:
    """The oldest and newest acquisition of at least one reading."""
    moments = {reading[1] for reading in readings}
    return min(moments), max(moments)
