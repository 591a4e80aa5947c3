"""What was read: a value, its quality, and the properties beside it."""

import enum
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import repeat
from types import MappingProxyType
from typing import Self, overload

from bms_iot.domain.points import ObjectType

Scalar = float | int | bool | str | None
"""A present-value: float for analog, bool for binary, int (the state number) for multi-state, str for what is neither."""

OptionalValue = Scalar | list[object] | dict[str, object]
"""An optional property, as its column holds it: a number, a boolean, a text, or the object behind a JSON text column."""


class Quality(enum.Enum):
    """How far a reading is to be trusted."""

    GOOD = "good"
    STALE = "stale"
    BAD = "bad"
    UNCERTAIN = "uncertain"


class StatusFlag(enum.Enum):
    """BACnetStatusFlags in the order of its bits (ASHRAE 135 clause 21)."""

    IN_ALARM = "in-alarm"
    FAULT = "fault"
    OVERRIDDEN = "overridden"
    OUT_OF_SERVICE = "out-of-service"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingError:
    """Why a property could not be read: error class and code of ASHRAE 135 clause 18 in kebab-case, or a number as text."""

    error_class: str
    error_code: str


OPTIONAL_PROPERTIES = (
    "min_pres_value",
    "max_pres_value",
    "high_limit",
    "low_limit",
    "resolution",
    "priority_array",
    "relinquish_default",
    "cov_increment",
    "time_delay",
    "time_delay_normal",
    "notification_class",
    "notify_type",
    "deadband",
    "limit_enable",
    "event_enable",
    "acked_transitions",
    "event_time_stamps",
    "event_message_texts",
    "event_message_texts_config",
    "event_detection_enable",
    "event_algorithm_inhibit_ref",
    "event_algorithm_inhibit",
    "reliability_evaluation_inhibit",
)
"""The 23 optional BACnet properties of `controller_points`, by column name."""

JSON_PROPERTIES = frozenset(
    {
        "priority_array",
        "limit_enable",
        "event_enable",
        "acked_transitions",
        "event_time_stamps",
        "event_message_texts",
        "event_message_texts_config",
        "event_algorithm_inhibit_ref",
    }
)
"""The optional properties whose column holds JSON text; `error_info` is the ninth such column, outside the optional ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What is said beside a present-value. It rarely changes and is shared by the readings of many points."""

    quality: Quality
    status_flags: tuple[StatusFlag, ...] = ()
    event_state: str | None = None
    out_of_service: bool | None = None
    reliability: str | None = None
    error: ReadingError | None = None


class Reading(tuple[int, datetime, str | None, Condition, Mapping[str, OptionalValue] | None]):
    """One point at one time.

    A tuple is the cheapest frozen value there is, and a large site makes millions of readings an hour.

    `acquired_at` is aware UTC, when the answer arrived. `present_value` is the text of the value as databases and clouds know it
    (`21.7`, `active`, `3`, `nan`), None when there is none, and `error` then says why; `typed_value` gives it its type.
    `optional` has the optional properties read in this poll, by column name; None when this poll did not ask for them.
    """

    __slots__ = ()

    def __new__(
        cls,
        *,
        point_id: int,
        acquired_at: datetime,
        present_value: str | None,
        quality: Quality,
        status_flags: tuple[StatusFlag, ...] = (),
        event_state: str | None = None,
        out_of_service: bool | None = None,
        reliability: str | None = None,
        error: ReadingError | None = None,
        optional: Mapping[str, OptionalValue] | None = None,
    ) -> Self:
        condition = Condition(
            quality=quality,
            status_flags=status_flags,
            event_state=event_state,
            out_of_service=out_of_service,
            reliability=reliability,
            error=error,
        )
        return cls.of(point_id, acquired_at, present_value, condition, optional)

    @classmethod
    def of(
        cls,
        point_id: int,
        acquired_at: datetime,
        present_value: str | None,
        condition: Condition,
        optional: Mapping[str, OptionalValue] | None = None,
    ) -> Self:
        """The same with a condition that is there already."""
        return tuple.__new__(cls, (point_id, acquired_at, present_value, condition, optional))

    @property
    def point_id(self) -> int:
        return self[0]

    @property
    def acquired_at(self) -> datetime:
        return self[1]

    @property
    def present_value(self) -> str | None:
        return self[2]

    @property
    def condition(self) -> Condition:
        return self[3]

    @property
    def optional(self) -> Mapping[str, OptionalValue] | None:
        return self[4]

    @property
    def quality(self) -> Quality:
        return self.condition.quality

    @property
    def status_flags(self) -> tuple[StatusFlag, ...]:
        return self.condition.status_flags

    @property
    def event_state(self) -> str | None:
        return self.condition.event_state

    @property
    def out_of_service(self) -> bool | None:
        return self.condition.out_of_service

    @property
    def reliability(self) -> str | None:
        return self.condition.reliability

    @property
    def error(self) -> ReadingError | None:
        return self.condition.error

    def carrying(self, optional: Mapping[str, OptionalValue] | None) -> Self:
        """The same with these optional properties."""
        return self.of(*self[:4], optional)

    def later(self, shift: timedelta) -> Self:
        """The same, acquired that much later."""
        point_id, acquired_at, *rest = self
        return tuple.__new__(type(self), (point_id, acquired_at + shift, *rest))

    def __repr__(self) -> str:
        point_id, acquired_at, present_value, condition, optional = self
        return f"Reading({point_id=}, {acquired_at=}, {present_value=}, {condition=}, {optional=})"


_reading: Callable[[tuple[object, ...]], Reading] = partial(tuple.__new__, Reading)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sweep(Sequence[Reading]):
    """The readings of several points as columns of one length; a `Reading` is made only when one is looked at.

    `point_ids` is one and the same tuple for each sweep of the same points. No reading carries optional properties.
    """

    point_ids: tuple[int, ...]
    acquired_at: tuple[datetime, ...]
    present_values: tuple[str | None, ...]
    conditions: tuple[Condition, ...]

    def __len__(self) -> int:
        return len(self.point_ids)

    def __iter__(self) -> Iterator[Reading]:
        return map(_reading, zip(self.point_ids, self.acquired_at, self.present_values, self.conditions, repeat(None)))

    @overload
    def __getitem__(self, index: int) -> Reading: ...

    @overload
    def __getitem__(self, index: slice) -> list[Reading]: ...

    def __getitem__(self, index: int | slice) -> Reading | list[Reading]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        return _reading((self.point_ids[index], self.acquired_at[index], self.present_values[index], self.conditions[index], None))


NO_OPTIONAL: Mapping[str, OptionalValue] = MappingProxyType({})


def typed_value(object_type: ObjectType, present_value: str | None) -> Scalar:
    """The present-value with its type: a finite float, a boolean, a state number; None for nan and inf; else the text itself."""
    if present_value is None:
        return None
    if object_type.is_binary:
        return {"active": True, "inactive": False}.get(present_value, present_value)
    try:
        number = float(present_value)
    except ValueError:
        return present_value
    if not math.isfinite(number):
        return None
    return number if object_type.is_analog else int(number)
