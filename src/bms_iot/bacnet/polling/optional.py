"""The 23 optional properties of a point: their numbers, and their values as the columns of `controller_points` hold them."""

import math
from collections.abc import Callable

from bms_iot.bacnet.services.reading import PropertyValues
from bms_iot.bacnet.values import names
from bms_iot.bacnet.values.codec import (
    BitString,
    Constructed,
    ContextValue,
    Date,
    Double,
    ObjectId,
    Time,
    Value,
    object_id,
    time,
    unsigned,
)
from bms_iot.bacnet.values.text import date_text, number_text, object_id_text, plain_text, time_text
from bms_iot.domain.points import ObjectType
from bms_iot.domain.readings import OptionalValue

PRIORITIES = 16


class NoValue(ValueError):
    """The property has a value that its column has no place for."""


def optional_value(column: str, object_type: ObjectType, values: PropertyValues) -> OptionalValue:
    """The value of the optional property `column`. Raises NoValue."""
    try:
        return _CONVERTERS[column](object_type, values)
    except (ValueError, OverflowError) as error:
        raise NoValue(str(error)) from error


def _one(values: PropertyValues) -> Value:
    if len(values) != 1:
        raise NoValue("not a single value")
    return values[0]


def float32_of(value: float) -> float:
    """The shortest decimal that gives the same float32 back; a Double as it is."""
    return float(value) if isinstance(value, Double) else float(number_text(value))


def _number(_: ObjectType, values: PropertyValues) -> OptionalValue:
    value = _one(values)
    if not isinstance(value, (int, float)):
        raise NoValue("not a number")
    number = float32_of(value) if isinstance(value, float) else float(value)
    if not math.isfinite(number):
        raise NoValue("JSON and SQL have no such number")
    return number


def _whole(_: ObjectType, values: PropertyValues) -> OptionalValue:
    value = _one(values)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value) or abs(value) >= 2**63:
        raise NoValue("not a whole number a column can hold")
    return int(value)


def _boolean(_: ObjectType, values: PropertyValues) -> OptionalValue:
    match _one(values):
        case int(0 | 1) as value:
            return bool(value)
    raise NoValue("not a boolean")


def _notify_type(_: ObjectType, values: PropertyValues) -> OptionalValue:
    value = _one(values)
    if isinstance(value, bool) or not isinstance(value, int):
        raise NoValue("not an enumeration")
    return names.name_of(names.NOTIFY_TYPES, value)


def _bits(*keys: str) -> Callable[[ObjectType, PropertyValues], OptionalValue]:
    """A bit string as an object, one key for each bit in BACnet's order; bits that are not sent are false."""

    def convert(_: ObjectType, values: PropertyValues) -> OptionalValue:
        bits = _one(values)
        if not isinstance(bits, BitString):
            raise NoValue("not a bit string")
        return {key: position < len(bits) and bits[position] for position, key in enumerate(keys)}

    return convert


def _priority_array(object_type: ObjectType, values: PropertyValues) -> OptionalValue:
    slots: list[object] = [_slot(object_type, value) for value in values[:PRIORITIES]]
    return slots + [None] * (PRIORITIES - len(slots))


def _slot(object_type: ObjectType, value: Value) -> object:
    """A slot as JSON: null, a number, a boolean for binary objects, a text for what is neither."""
    match value:
        case None | bool():
            return value
        case Constructed(items=(inner,)):
            return _slot(object_type, inner)
        case int() if object_type.is_binary and value in (0, 1):
            return bool(value)
        case int():
            return int(value)
        case float() if math.isfinite(value):
            return float32_of(value)
    return plain_text(value)


def _texts(_: ObjectType, values: PropertyValues) -> OptionalValue:
    return [None if value is None else plain_text(value) for value in values]


def _time_stamps(_: ObjectType, values: PropertyValues) -> OptionalValue:
    return [_time_stamp(value) for value in values]


def _time_stamp(value: Value) -> object:
    """BACnetTimeStamp: ISO 8601 in the device's local time, a sequence number, null when unspecified or none of these."""
    match value:
        case ContextValue(tag=0, octets=octets) if len(octets) == 4:
            return time_text(time(octets))
        case ContextValue(tag=1, octets=octets):
            return unsigned(octets)
        case Constructed(tag=2, items=(Date() as day, Time() as moment)) if (text := date_text(day)) and (
            clock := time_text(moment)
        ):
            return f"{text}T{clock}"
    return None


def _object_property_reference(_: ObjectType, values: PropertyValues) -> OptionalValue:
    """BACnetObjectPropertyReference (clause 21); context-tagged members, the last optional."""
    members = {value.tag: value.octets for value in values if isinstance(value, ContextValue)}
    if len(members.get(0, b"")) != 4 or 1 not in members:
        raise NoValue("not a property reference")
    identifier: ObjectId = object_id(members[0])
    return {
        "objectIdentifier": object_id_text(identifier),
        "propertyIdentifier": names.name_of(names.PROPERTIES, unsigned(members[1])),
        "arrayIndex": unsigned(members[2]) if 2 in members else None,
    }


_TRANSITIONS = _bits("toOffnormal", "toFault", "toNormal")

_PROPERTIES: dict[str, tuple[int, Callable[[ObjectType, PropertyValues], OptionalValue]]] = {
    "min_pres_value": (69, _number),
    "max_pres_value": (65, _number),
    "high_limit": (45, _number),
    "low_limit": (59, _number),
    "resolution": (106, _number),
    "priority_array": (87, _priority_array),
    "relinquish_default": (104, _number),
    "cov_increment": (22, _number),
    "time_delay": (113, _whole),
    "time_delay_normal": (356, _whole),
    "notification_class": (17, _whole),
    "notify_type": (72, _notify_type),
    "deadband": (25, _number),
    "limit_enable": (52, _bits("lowLimitEnable", "highLimitEnable")),
    "event_enable": (35, _TRANSITIONS),
    "acked_transitions": (0, _TRANSITIONS),
    "event_time_stamps": (130, _time_stamps),
    "event_message_texts": (351, _texts),
    "event_message_texts_config": (352, _texts),
    "event_detection_enable": (353, _boolean),
    "event_algorithm_inhibit_ref": (355, _object_property_reference),
    "event_algorithm_inhibit": (354, _boolean),
    "reliability_evaluation_inhibit": (357, _boolean),
}
_CONVERTERS = {column: convert for column, (_, convert) in _PROPERTIES.items()}

OPTIONAL_NUMBERS = {column: number for column, (number, _) in _PROPERTIES.items()}
"""The property identifier of each optional column, in the domain's order."""
