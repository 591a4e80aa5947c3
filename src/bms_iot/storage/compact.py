"""The compact form of a message in the outbox; docs/decisions/0001-compact-outbox.md has the layout."""

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from bms_iot.domain.readings import NO_OPTIONAL, OPTIONAL_PROPERTIES, Quality, Reading, ReadingError, StatusFlag
from bms_iot.errors import StorageError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_QUALITIES = {quality.value[0]: quality for quality in Quality}
_FLAG_BITS = {flag: 1 << bit for bit, flag in enumerate(StatusFlag)}
_DEFAULTS: tuple[Any, ...] = (None, None, None, "g", 0, "normal", False, "no-fault-detected", None, {})
_ALWAYS = 3
_OPTIONAL = frozenset(OPTIONAL_PROPERTIES)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxReading:
    """A reading in the outbox; `columns` are those of `controller_points` that differ from the point's row for this reading."""

    reading: Reading
    columns: Mapping[str, object]


def encode(readings: Sequence[Reading]) -> bytes:
    """At least one reading. The optional properties a reading carries become its differing columns."""
    start = _microseconds(readings[0].acquired_at)
    rows = [_row(reading, start) for reading in readings]
    text = json.dumps({"v": 1, "t": start, "r": rows}, separators=(",", ":"), ensure_ascii=False)
    return zlib.compress(text.encode(), 6)


def decode(payload: bytes) -> list[OutboxReading]:
    """Raises StorageError for what is not such a payload."""
    try:
        body = json.loads(zlib.decompress(payload))
        if body["v"] != 1:
            raise StorageError(f"an outbox message has form {body['v']}, this release knows 1")
        return [_reading(row, body["t"]) for row in body["r"]]
    except (zlib.error, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise StorageError(f"an outbox message cannot be decoded: {error}") from error


def _row(reading: Reading, start: int) -> list[object]:
    row: list[object] = [
        reading.point_id,
        _microseconds(reading.acquired_at) - start,
        reading.present_value,
        reading.quality.value[0],
        sum(_FLAG_BITS[flag] for flag in reading.status_flags),
        reading.event_state,
        reading.out_of_service,
        reading.reliability,
        [reading.error.error_class, reading.error.error_code] if reading.error else None,
        dict(reading.optional or NO_OPTIONAL),
    ]
    while len(row) > _ALWAYS and row[-1] == _DEFAULTS[len(row) - 1] and type(row[-1]) is type(_DEFAULTS[len(row) - 1]):
        row.pop()
    return row


def _reading(row: list[Any], start: int) -> OutboxReading:
    full: list[Any] = [*row, *_DEFAULTS[len(row) :]]
    point_id, offset, present_value, quality, flags, event_state, out_of_service, reliability, error, columns = full
    return OutboxReading(
        reading=Reading(
            point_id=point_id,
            acquired_at=_EPOCH + timedelta(microseconds=start + offset),
            present_value=present_value,
            quality=_QUALITIES[quality],
            status_flags=tuple(flag for flag, bit in _FLAG_BITS.items() if flags & bit),
            event_state=event_state,
            out_of_service=out_of_service,
            reliability=reliability,
            error=None if error is None else ReadingError(error_class=error[0], error_code=error[1]),
            optional={name: value for name, value in columns.items() if name in _OPTIONAL} or None,
        ),
        columns={name: value for name, value in columns.items() if name not in _OPTIONAL},
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
    moments = [reading.acquired_at for reading in readings]
    return min(moments), max(moments)
