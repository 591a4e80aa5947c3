"""The objects of a device of our own: every property of the nine types as the octets that answer for it."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from bms_iot.domain.points import ObjectType
from bms_iot.simulator.adversary import octets
from bms_iot.simulator.adversary.requests import Identifier
from bms_iot.simulator.specification import UNITS, PointSpecification, Value

PRESENT_VALUE, PRIORITY_ARRAY, RELINQUISH_DEFAULT, STATUS_FLAGS, OBJECT_NAME, DESCRIPTION = 85, 87, 104, 111, 77, 28
OBJECT_IDENTIFIER, OBJECT_TYPE, OBJECT_LIST, PROPERTY_LIST, UNITS_PROPERTY, OUT_OF_SERVICE = 75, 79, 76, 371, 117, 81
DEVICE = 8
PRIORITIES = 16
MODEL_SLOT = PRIORITIES - 1
"""The model commands outputs and values at the lowest priority, as it does those of the other devices."""

Held = bytes | list[bytes]
"""The octets of a property; a list for an array, an entry for each element."""


@dataclass(slots=True)
class HeldObject:
    """One object. `encode` makes the octets of a present-value that was written by the model."""

    properties: dict[int, Held]
    encode: Callable[[Value], bytes]
    commandable: bool = False

    @property
    def present_value(self) -> bytes:
        held = self.properties[PRESENT_VALUE]
        assert isinstance(held, bytes), "a present-value is no array"
        return held

    def command(self, slot: int, value: bytes) -> None:
        """Put `value` into a slot of the priority array, NULL to relinquish; the present-value follows (clause 19.2)."""
        array = self.properties[PRIORITY_ARRAY]
        assert isinstance(array, list), "a priority array is an array"
        array[slot] = value
        default = self.properties[RELINQUISH_DEFAULT]
        assert isinstance(default, bytes), "a relinquish-default is no array"
        self.properties[PRESENT_VALUE] = next((each for each in array if each != octets.NULL), default)


def encoder_of(object_type: ObjectType) -> Callable[[Value], bytes]:
    """How a present-value of that type goes on the wire: Real, Enumerated, Unsigned."""
    if object_type.is_analog:
        return octets.real
    return _binary if object_type.is_binary else _multi_state


def _binary(value: Value) -> bytes:
    return octets.enumerated(int(bool(value)))


def _multi_state(value: Value) -> bytes:
    return octets.unsigned(int(value))


def object_of(identifier: Identifier, name: str, point: PointSpecification) -> HeldObject:
    """The object of a specification, with the five value properties, all 23 optional ones that its type may have, and its array."""
    encode = encoder_of(point.type)
    value = encode(point.default)
    properties: dict[int, Held] = {
        OBJECT_IDENTIFIER: octets.object_identifier(*identifier),
        OBJECT_NAME: octets.text(name),
        OBJECT_TYPE: octets.enumerated(identifier[0]),
        DESCRIPTION: octets.text(point.description),
        PRESENT_VALUE: value,
        STATUS_FLAGS: octets.bits((0, 0, 0, 0)),
        36: octets.enumerated(0),
        OUT_OF_SERVICE: octets.boolean(False),
        103: octets.enumerated(0),
    }
    properties |= _event_properties()
    if point.type.is_analog:
        properties |= _analog_properties(point)
    elif point.type.is_binary:
        inactive, active = point.states or ("Off", "On")
        properties |= {46: octets.text(inactive), 4: octets.text(active), 84: octets.enumerated(0)}
    else:
        properties |= {74: octets.unsigned(max(1, len(point.states))), 110: [octets.text(state) for state in point.states]}
    commandable = not point.type.value.endswith("Input")
    if commandable:
        properties |= {PRIORITY_ARRAY: [octets.NULL] * PRIORITIES, RELINQUISH_DEFAULT: value}
    made = HeldObject(properties, encode, commandable)
    if commandable:
        made.command(MODEL_SLOT, value)
    return made


def _event_properties() -> dict[int, Held]:
    stamp = octets.date_time_stamp(2026, 11, 22, (8, 30, 5, 7))
    never = octets.date_time_stamp(2155, 255, 255, (255, 255, 255, 255))
    return {
        113: octets.unsigned(10),
        356: octets.unsigned(20),
        17: octets.unsigned(1),
        72: octets.enumerated(1),
        35: octets.bits((1, 0, 1)),
        0: octets.bits((1, 1, 0)),
        130: [stamp, octets.context(1, b"\x07"), never],
        351: [octets.text("is off normal"), octets.text(""), octets.text("is normal again")],
        352: [octets.text(words) for words in ("off normal", "fault", "normal")],
        353: octets.boolean(True),
        355: octets.context(0, octets.identifier(5, 1)) + octets.context(1, b"\x55"),
        354: octets.boolean(False),
        357: octets.boolean(False),
    }


def _analog_properties(point: PointSpecification) -> dict[int, Held]:
    low, high = point.limits or (-1000.0, 1_000_000.0)
    return {
        UNITS_PROPERTY: octets.enumerated(UNITS[point.units or "no-units"]),
        69: octets.real(low),
        65: octets.real(high),
        106: octets.real(0.1),
        22: octets.real(point.cov_increment or 0.1),
        45: octets.real(high),
        59: octets.real(low),
        25: octets.real((high - low) / 50 if math.isfinite(high - low) else 1.0),
        52: octets.bits((1, 0)),
    }


class Objects:
    """What a device has, by identifier; `listed` is its object list. `more` finds objects too many to be kept."""

    def __init__(self, kept: dict[Identifier, HeldObject], *, device: Identifier) -> None:
        self.kept = kept
        self.device = device
        self.listed: list[Identifier] = [device, *kept]
        self._list: list[bytes] = []
        self.more: Callable[[Identifier], HeldObject | None] = lambda identifier: None

    def find(self, identifier: Identifier) -> HeldObject | None:
        return self.kept.get(identifier) or self.more(identifier)

    def list_octets(self) -> list[bytes]:
        """The object list, an entry each."""
        if len(self._list) != len(self.listed):
            self._list = [octets.object_identifier(*identifier) for identifier in self.listed]
        return self._list


def device_properties(*, instance: int, name: str, description: str, max_apdu: int, segmentation: int) -> dict[int, Held]:
    """The device object, without its object list."""
    services = [1 if service in {5, 12, 14, 15, 16, 26, 27, 34} else 0 for service in range(40)]
    return {
        OBJECT_IDENTIFIER: octets.object_identifier(DEVICE, instance),
        OBJECT_NAME: octets.text(name),
        OBJECT_TYPE: octets.enumerated(DEVICE),
        DESCRIPTION: octets.text(description),
        112: octets.enumerated(0),
        121: octets.text("bms-iot"),
        120: octets.unsigned(999),
        70: octets.text("ill-mannered"),
        44: octets.text("1"),
        12: octets.text("1"),
        98: octets.unsigned(1),
        139: octets.unsigned(22),
        97: octets.bits(services),
        96: octets.bits([number in (0, 1, 2, 3, 4, 5, 8, 13, 14, 19) for number in range(60)]),
        62: octets.unsigned(max_apdu),
        107: octets.enumerated(segmentation),
        11: octets.unsigned(3000),
        73: octets.unsigned(3),
        155: octets.unsigned(1),
    }


def joined(held: Held) -> bytes:
    """A property read whole."""
    return held if isinstance(held, bytes) else b"".join(held)
