"""The current image: the latest reading of each point and its optional properties, in memory and written behind."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from bms_iot.domain.points import Point
from bms_iot.domain.readings import NO_OPTIONAL, Condition, OptionalValue, Reading, Sweep
from bms_iot.storage.points import ImageRow, StoredPoint

BASE_WIRE_BYTES = 900
"""The base columns of a point, with room for long names."""


OVERTAKEN_WITHIN = timedelta(seconds=60)
"""No answer to a poll comes later than that."""


class CurrentImage:
    """What `controller_points` holds, kept current in memory; `take_changes` says what the database lacks.

    The latest readings are kept as columns: one like the last costs no object.
    """

    def __init__(self, stored: Iterable[StoredPoint] = ()) -> None:
        self._points: dict[int, Point] = {}
        self._optional: dict[int, Mapping[str, OptionalValue]] = {}
        self._acquired_at: dict[int, datetime] = {}
        self._present_values: dict[int, str | None] = {}
        self._conditions: dict[int, Condition] = {}
        self._changed: set[int] = set()
        self.has_new_properties = False
        """Whether an optional property changed that the database lacks: messages are encoded with them, after a restart too."""
        self._followers: list[set[int]] = []
        self._wire_bytes: dict[int, int] = {}
        self.reported: frozenset[int] = frozenset()
        """The points whose changes come by themselves (COV), so that an answer to a poll may be older than what is known."""
        self.learn(stored)

    def __len__(self) -> int:
        return len(self._points)

    def learn(self, stored: Iterable[StoredPoint]) -> None:
        """Take over points as the database has them: new ones, and those that moved or were renamed."""
        for row in stored:
            self._points[row.point.id] = row.point
            self._optional.setdefault(row.point.id, row.optional)

    def follow(self) -> set[int]:
        """A set to which every point is added whose value or condition changes; the caller takes out what it has seen."""
        follower: set[int] = set()
        self._followers.append(follower)
        return follower

    def latest(self, point_id: int) -> Reading | None:
        """The latest reading, None before the first."""
        return self._latest(point_id) if point_id in self._acquired_at else None

    def point(self, point_id: int) -> Point | None:
        return self._points.get(point_id)

    def points(self) -> Sequence[Point]:
        return tuple(self._points.values())

    def optional(self, point_id: int) -> Mapping[str, OptionalValue]:
        return self._optional.get(point_id, NO_OPTIONAL)

    def condition(self, point_id: int) -> Condition | None:
        """What was said beside the latest value, None before the first."""
        return self._conditions.get(point_id)

    def wire_bytes(self, point_id: int) -> int:
        """About how many bytes a reading of this point has on the wire."""
        size = self._wire_bytes.get(point_id)
        if size is None:
            size = self._wire_bytes[point_id] = BASE_WIRE_BYTES + len(json.dumps(dict(self.optional(point_id))).encode())
        return size

    def apply(self, readings: Sequence[Reading]) -> Sequence[Reading]:
        """Take over readings; the same come back, carrying only those optional properties that changed."""
        if isinstance(readings, Sweep) and self.reported.isdisjoint(readings.point_ids):
            self._apply_sweep(readings)
            return readings
        return [self._apply(reading) for reading in readings]

    def _apply_sweep(self, sweep: Sweep) -> None:
        ids = sweep.point_ids
        values_before, conditions_before = map(self._present_values.get, ids), map(self._conditions.get, ids)
        for point_id, value, value_before, condition, condition_before in zip(
            ids, sweep.present_values, values_before, sweep.conditions, conditions_before, strict=True
        ):
            if condition is not condition_before or value != value_before:
                self._take(point_id, value, condition)
        self._acquired_at.update(zip(ids, sweep.acquired_at, strict=True))

    def _take(self, point_id: int, present_value: str | None, condition: Condition) -> None:
        if (
            point_id not in self._conditions
            or self._present_values[point_id] != present_value
            or self._conditions[point_id] != condition
        ):
            self._changed.add(point_id)
            for follower in self._followers:
                follower.add(point_id)
        self._present_values[point_id] = present_value
        self._conditions[point_id] = condition

    def _apply(self, reading: Reading) -> Reading:
        point_id, acquired_at, present_value, condition, optional = reading
        if optional is not None:
            known = self._optional[point_id]
            changed = {name: value for name, value in optional.items() if known.get(name) != value}
            if changed:
                self._optional[point_id] = {**known, **changed}
                self._wire_bytes.pop(point_id, None)
                self._changed.add(point_id)
                self.has_new_properties = True
            reading = reading.carrying(changed or None)
        if not self._is_overtaken(point_id, acquired_at):
            self._take(point_id, present_value, condition)
            self._acquired_at[point_id] = acquired_at
        return reading

    def _is_overtaken(self, point_id: int, acquired_at: datetime) -> bool:
        """A newer value is known. Much newer ones are of a clock that was set back since, and do not count."""
        latest = self._acquired_at.get(point_id)
        return latest is not None and timedelta(0) < latest - acquired_at < OVERTAKEN_WITHIN

    def redate(self, shift: timedelta) -> None:
        """What was read so far was acquired that much later than was believed."""
        self._acquired_at = {point_id: moment + shift for point_id, moment in self._acquired_at.items()}
        self._changed.update(self._acquired_at)

    def take_changes(self) -> list[ImageRow]:
        """What changed since the last call, as rows to write; `restore_changes` gives them back after a failed write."""
        rows = [ImageRow(reading=self._latest(point_id), optional=self._optional[point_id]) for point_id in sorted(self._changed)]
        self._changed.clear()
        self.has_new_properties = False
        return rows

    def restore_changes(self, rows: Iterable[ImageRow]) -> None:
        self._changed.update(row.reading.point_id for row in rows)
        self.has_new_properties = True

    def _latest(self, point_id: int) -> Reading:
        return Reading.of(point_id, self._acquired_at[point_id], self._present_values[point_id], self._conditions[point_id])
