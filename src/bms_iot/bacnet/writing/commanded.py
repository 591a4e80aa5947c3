"""What a device says of a point that is to be written: its value, its limits, and its priority array (ASHRAE 135 clause 19.2)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bms_iot.bacnet.polling.convert import Outcomes, present_value
from bms_iot.bacnet.services.reading import PropertyReference, PropertyValues
from bms_iot.bacnet.values.codec import Constructed, ObjectId, Value
from bms_iot.domain.points import ObjectType, Point
from bms_iot.domain.readings import ReadingError
from bms_iot.domain.writing import SlotHolder, WrittenValue, is_input, is_output, is_same

PRESENT_VALUE, PRIORITY_ARRAY, RELINQUISH_DEFAULT, OUT_OF_SERVICE = 85, 87, 104, 81
MIN_PRES_VALUE, MAX_PRES_VALUE, NUMBER_OF_STATES = 69, 65, 74
UNKNOWN_PROPERTY = "unknown-property"


@dataclass(frozen=True, slots=True, kw_only=True)
class Commanded:
    """A point as the device shows it. `slots` is None where there is no priority array or it could not be read."""

    present_value: str | None = None
    slots: tuple[Value, ...] | None = None
    lacks_slots: bool = False
    """The device said that it has no priority array."""
    relinquish_default: str | None = None
    low: float | None = None
    high: float | None = None
    states: int | None = None
    is_out_of_service: bool | None = None

    def holder(self, object_type: ObjectType) -> SlotHolder | None:
        """The first slot that is not NULL."""
        for priority, slot in enumerate(self.slots or (), 1):
            if slot is not None:
                return SlotHolder(priority=priority, value=_text(object_type, (slot,)) or "")
        return None

    def shows(self, object_type: ObjectType, written: WrittenValue, priority: int | None) -> bool | None:
        """Whether the written value is there: in its slot, or as the present-value where there are no slots. None: cannot tell."""
        if priority is not None and self.slots is not None and (priority <= len(self.slots) or written is None):
            slot = self.slots[priority - 1] if priority <= len(self.slots) else None
            return (
                slot is None if written is None else slot is not None and is_same(object_type, written, _text(object_type, (slot,)))
            )
        if written is None or self.present_value is None:
            return None
        return is_same(object_type, written, self.present_value)


def references_of(point: Point, *, limits: bool) -> list[PropertyReference]:
    """What to read of `point` to know how it is commanded; `limits` asks for what a value must keep within as well."""
    object_type = point.object.type
    numbers = [PRESENT_VALUE]
    if not is_input(object_type):
        numbers += [PRIORITY_ARRAY, RELINQUISH_DEFAULT]
    if limits:
        numbers += [OUT_OF_SERVICE] if is_input(object_type) else []
        if object_type.is_analog:
            numbers += [MIN_PRES_VALUE, MAX_PRES_VALUE]
        elif not object_type.is_binary:
            numbers += [NUMBER_OF_STATES]
    identifier = ObjectId(object_type.number, point.object.instance)
    return [PropertyReference(identifier, number) for number in numbers]


def commanded(point: Point, outcomes: Outcomes) -> Commanded:
    """The point from the outcomes of `references_of(point)`."""
    object_type = point.object.type
    identifier = ObjectId(object_type.number, point.object.instance)

    def outcome(number: int) -> PropertyValues | ReadingError | None:
        return outcomes.get(PropertyReference(identifier, number))

    array = outcome(PRIORITY_ARRAY)
    states, out_of_service = _single(outcome(NUMBER_OF_STATES)), _single(outcome(OUT_OF_SERVICE))
    return Commanded(
        present_value=_text(object_type, outcome(PRESENT_VALUE)),
        slots=tuple(map(_slot, array)) if isinstance(array, tuple) and array else None,
        lacks_slots=is_input(object_type)
        or (isinstance(array, ReadingError) and array.error_code == UNKNOWN_PROPERTY and not is_output(object_type)),
        relinquish_default=_text(object_type, outcome(RELINQUISH_DEFAULT)),
        low=_limit(outcome(MIN_PRES_VALUE)),
        high=_limit(outcome(MAX_PRES_VALUE)),
        states=states if isinstance(states, int) and states >= 1 else None,
        is_out_of_service=bool(out_of_service) if isinstance(out_of_service, int) else None,
    )


def _slot(value: Value) -> Value:
    """A slot's value out of the constructed choice that some devices wrap it in."""
    while isinstance(value, Constructed) and len(value.items) == 1:
        value = value.items[0]
    return value


def _single(outcome: Sequence[Value] | ReadingError | None) -> Value:
    return outcome[0] if isinstance(outcome, tuple) and len(outcome) == 1 else None


def _text(object_type: ObjectType, outcome: PropertyValues | ReadingError | None) -> str | None:
    return present_value(object_type, outcome)[0] if isinstance(outcome, tuple) else None


def _limit(outcome: PropertyValues | ReadingError | None) -> float | None:
    value = _single(outcome)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)
