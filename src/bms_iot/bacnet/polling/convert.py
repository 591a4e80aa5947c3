"""What a device answered about a point ⇒ the point's `Reading`.

Quality
- `bad`: the present-value could not be read, is NULL or empty, or is nothing that has a text. `error` says why.
- `uncertain`: the value is not finite or no number (a text, a date), the status flag `fault` is set, or reliability is anything but
  no-fault-detected.
- `good` else. In alarm, overridden and out of service say where a value comes from, not that it is wrong.
"""

import math
from collections.abc import Mapping
from datetime import datetime

from bms_iot.bacnet.polling.optional import OPTIONAL_NUMBERS, NoValue, optional_value
from bms_iot.bacnet.polling.poller import NOT_ANSWERED, Outcome
from bms_iot.bacnet.services.reading import PropertyReference
from bms_iot.bacnet.services.who_is import WILDCARD_INSTANCE
from bms_iot.bacnet.values import names
from bms_iot.bacnet.values.codec import BitString, Date, ObjectId, Time, Value
from bms_iot.bacnet.values.text import number_text, plain_text
from bms_iot.domain.points import ObjectType, Point
from bms_iot.domain.readings import Condition, OptionalValue, Quality, Reading, ReadingError, StatusFlag

PRESENT_VALUE, STATUS_FLAGS, EVENT_STATE, OUT_OF_SERVICE, RELIABILITY = 85, 111, 36, 81, 103
VALUE_PROPERTIES = (PRESENT_VALUE, STATUS_FLAGS, EVENT_STATE, OUT_OF_SERVICE, RELIABILITY)
"""What every poll asks for."""

NO_FAULT = "no-fault-detected"
NOT_INITIALIZED = ReadingError(error_class="property", error_code="value-not-initialized")
INVALID_DATA_TYPE = ReadingError(error_class="property", error_code="invalid-data-type")

_FLAGS = tuple(StatusFlag)
_REFERENCES = tuple(OPTIONAL_NUMBERS.items())

Outcomes = Mapping[PropertyReference, Outcome]


def references_of(point: Point, *, optional: bool) -> list[PropertyReference]:
    """What to ask for to make a reading of `point`; nothing when no object can have such an instance."""
    if not 0 <= point.object.instance <= WILDCARD_INSTANCE:
        return []
    identifier = ObjectId(point.object.type.number, point.object.instance)
    references = [PropertyReference(identifier, number) for number in VALUE_PROPERTIES]
    if optional:
        references += [PropertyReference(identifier, number) for _, number in _REFERENCES]
    return references


def to_reading(point: Point, outcomes: Outcomes, acquired_at: datetime, *, optional: bool) -> Reading:
    """The reading of `point` from the outcomes of `references_of(point)`."""
    object_type = point.object.type
    identifier = ObjectId(object_type.number, point.object.instance)
    text, condition = state_of(object_type, identifier, outcomes)
    return Reading.of(point.id, acquired_at, text, condition, _optional(object_type, identifier, outcomes) if optional else None)


def state_of(object_type: ObjectType, identifier: ObjectId, outcomes: Outcomes) -> tuple[str | None, Condition]:
    """The text of a point's present-value and what is said beside it, from the outcomes of its references."""
    text, quality, error = present_value(object_type, outcomes.get(PropertyReference(identifier, PRESENT_VALUE), NOT_ANSWERED))
    flags = status_flags_of(_single(outcomes, identifier, STATUS_FLAGS))
    reliability = _enumeration(names.RELIABILITIES, _single(outcomes, identifier, RELIABILITY))
    if quality is Quality.GOOD and (StatusFlag.FAULT in flags or reliability not in (None, NO_FAULT)):
        quality = Quality.UNCERTAIN
    return text, Condition(
        quality=quality,
        status_flags=flags,
        event_state=_enumeration(names.EVENT_STATES, _single(outcomes, identifier, EVENT_STATE)),
        out_of_service=_boolean(_single(outcomes, identifier, OUT_OF_SERVICE)),
        reliability=reliability,
        error=error,
    )


def present_value(object_type: ObjectType, outcome: Outcome) -> tuple[str | None, Quality, ReadingError | None]:
    """The text of a present-value, its quality, and why there is none."""
    text, quality, error = None, Quality.BAD, None
    match outcome:
        case ReadingError():
            error = outcome
        case () | (None,):
            error = NOT_INITIALIZED
        case (float() as value,):
            text = _binary_text(value) if object_type.is_binary else number_text(value)
            quality = Quality.GOOD if math.isfinite(value) else Quality.UNCERTAIN
        case (int() as value,):
            text = _binary_text(value) if object_type.is_binary else str(int(value))
            quality = Quality.GOOD
        case (str() | bytes() | BitString() | Date() | Time() | ObjectId() as value,):
            text, quality = plain_text(value), Quality.UNCERTAIN
        case _:
            error = INVALID_DATA_TYPE
    return text, quality, error


def _binary_text(value: float) -> str:
    """BACnetBinaryPV, also sent as a Boolean, an Unsigned or a REAL; the number as text when it is neither 0 nor 1."""
    if value in (0, 1):
        return "active" if value else "inactive"
    return number_text(value) if isinstance(value, float) else str(int(value))


def _single(outcomes: Outcomes, identifier: ObjectId, number: int) -> Value:
    """The single value of a property, None when it has none or could not be read."""
    match outcomes.get(PropertyReference(identifier, number)):
        case (value,):
            return value
    return None


def status_flags_of(value: Value) -> tuple[StatusFlag, ...]:
    """The flags that are set, in BACnet's order."""
    if not isinstance(value, BitString) or True not in value:
        return ()
    return tuple(flag for flag, is_set in zip(_FLAGS, value, strict=False) if is_set)


def _enumeration(table: Mapping[int, str], value: Value) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return names.name_of(table, value)


def _boolean(value: Value) -> bool | None:
    return bool(value) if isinstance(value, int) and value in (0, 1) else None


def _optional(object_type: ObjectType, identifier: ObjectId, outcomes: Outcomes) -> dict[str, OptionalValue]:
    """The optional properties that were read; one that was not, or whose value has no place, is left out."""
    columns: dict[str, OptionalValue] = {}
    for column, number in _REFERENCES:
        outcome = outcomes.get(PropertyReference(identifier, number))
        if not isinstance(outcome, tuple):
            continue
        try:
            columns[column] = optional_value(column, object_type, outcome)
        except NoValue:
            continue
    return columns
