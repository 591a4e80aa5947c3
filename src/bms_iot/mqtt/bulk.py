"""Messages of `B/bulk` in a hurry: what readings have in common is encoded once, byte for byte as `payload` does."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import repeat
from json.encoder import encode_basestring_ascii
from math import isfinite

from bms_iot.domain.points import Point
from bms_iot.domain.readings import NO_OPTIONAL, Condition, OptionalValue, Quality, Reading, typed_value
from bms_iot.mqtt.payload import BulkPoint, encode_point, optional_columns, static_columns, unix_milliseconds, wire_time

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class BulkEncoder:
    """Encodes readings for one gateway. `point` and `optional` say what is known of a point by its row's id."""

    def __init__(
        self,
        *,
        iot_device_id: str,
        point: Callable[[int], Point | None],
        optional: Callable[[int], Mapping[str, OptionalValue]],
    ) -> None:
        self._device = _encode(iot_device_id)
        self._point, self._optional = point, optional
        self._heads: dict[int, tuple[Point, str, bool]] = {}
        self._tails: dict[int, tuple[Mapping[str, OptionalValue], str]] = {}

    def encode(
        self,
        boot: int,
        seq: int,
        readings: Sequence[Reading],
        columns: Iterable[Mapping[str, object]] = repeat(NO_OPTIONAL),
        *,
        clock: str | None = None,
    ) -> bytes:
        """A message; `columns` are those that differ from the point's row, for each reading, `clock` is the mark of `EarlyDates`.

        Raises LookupError for an unknown point, ValueError, TypeError, AttributeError, OverflowError, RecursionError for what has
        no JSON.
        """
        points = ",".join(self._points(readings, columns))
        mark = f'"clock":{_encode(clock)},' if clock else ""
        return f'{{"boot":{boot},"seq":{seq},"iot_device_id":{self._device},{mark}"points":[{points}]}}'.encode()

    def _points(self, readings: Sequence[Reading], columns: Iterable[Mapping[str, object]]) -> Iterator[str]:
        conditions: dict[int, str] = {}
        """By identity, which holds while the readings do: few conditions are shared by many."""
        times: dict[tuple[datetime, Quality], str] = {}
        for reading, own_columns in zip(readings, columns, strict=False):
            point_id, acquired_at, present_value, condition, own = reading
            point, head, is_analog = self._head(point_id)
            if own_columns or own:
                known = self._optional(point_id)
                yield encode_point(BulkPoint(point=point, reading=reading, optional=known, columns=own_columns))
                continue
            if (said := conditions.get(id(condition))) is None:
                said = conditions[id(condition)] = _condition(condition)
            if (time := times.get((acquired_at, condition.quality))) is None:
                time = times[acquired_at, condition.quality] = _time(acquired_at, condition.quality)
            if present_value is None:
                text = value = "null"
            else:
                text = encode_basestring_ascii(present_value)
                value = _analog(present_value) if is_analog else _encode(typed_value(point.object.type, present_value))
            yield f'{head}{text},"value":{value}{said}{time}{self._tail(point_id)}'

    def _head(self, point_id: int) -> tuple[Point, str, bool]:
        point = self._point(point_id)
        if point is None:
            raise LookupError(f"there is no point {point_id}")
        known = self._heads.get(point_id)
        if known is None or known[0] is not point:
            known = self._heads[point_id] = point, f'{static_columns(point)},"present_value":', point.object.type.is_analog
        return known

    def _tail(self, point_id: int) -> str:
        optional = self._optional(point_id)
        known = self._tails.get(point_id)
        if known is None or known[0] is not optional:
            columns = optional_columns(optional, NO_OPTIONAL, NO_OPTIONAL)
            known = self._tails[point_id] = optional, f",{_encode(columns)[1:]}" if columns else "}"
        return known[1]


def _analog(present_value: str) -> str:
    """As `typed_value` has it: a finite number, null for others, the text where it is none."""
    try:
        number = float(present_value)
    except ValueError:
        return encode_basestring_ascii(present_value)
    return repr(number) if isfinite(number) else "null"


def _condition(condition: Condition) -> str:
    flags = ",".join([f'"{flag.value}"' for flag in condition.status_flags])
    error = condition.error
    return (
        f',"is_uploaded":false,"status_flags":[{flags}],'
        f'"event_state":{_encode(condition.event_state)},'
        f'"out_of_service":{_encode(condition.out_of_service)},'
        f'"reliability":{_encode(condition.reliability)},'
        f'"error_info":{_encode({"error_class": error.error_class, "error_code": error.error_code}) if error else "null"},'
    )


def _time(acquired_at: datetime, quality: Quality) -> str:
    time = wire_time(acquired_at)
    return (
        f'"created_at":"{time}","updated_at":"{time}",'
        f'"created_at_unix_milli_timestamp":{unix_milliseconds(acquired_at)},'
        f'"quality":"{quality.value}","acquired_at":"{time}"'
    )
