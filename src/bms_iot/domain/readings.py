"""What was read: a value, its quality, and the properties beside it."""

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

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
class Reading:
    """One point at one time.

    `acquired_at` is aware UTC, when the answer arrived. `present_value` is the text of the value as databases and clouds know it
    (`21.7`, `active`, `3`, `nan`), None when there is none, and `error` then says why; `typed_value` gives it its type.
    `optional` has the optional properties read in this poll, by column name; None when this poll did not ask for them.
    """

    point_id: int
    acquired_at: datetime
    present_value: str | None
    quality: Quality
    status_flags: tuple[StatusFlag, ...] = ()
    event_state: str | None = None
    out_of_service: bool | None = None
    reliability: str | None = None
    error: ReadingError | None = None
    optional: Mapping[str, OptionalValue] | None = field(default=None)


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
