"""WriteProperty and WritePropertyMultiple (ASHRAE 135 clauses 15.9, 15.10 and 19.2)."""

from collections.abc import Iterable
from dataclasses import dataclass

from bms_iot.simulator.adversary import octets
from bms_iot.simulator.adversary.manner import ErrorCode
from bms_iot.simulator.adversary.objects import (
    DESCRIPTION,
    OBJECT_NAME,
    OUT_OF_SERVICE,
    PRESENT_VALUE,
    PRIORITIES,
    RELINQUISH_DEFAULT,
    HeldObject,
    Objects,
)
from bms_iot.simulator.adversary.reading import UNKNOWN_OBJECT, UNKNOWN_PROPERTY
from bms_iot.simulator.adversary.requests import Identifier, Written

INVALID_DATA_TYPE, OUT_OF_RANGE, ACCESS_DENIED = (2, 9), (2, 37), (2, 40)
WRITABLE = frozenset({OBJECT_NAME, DESCRIPTION, OUT_OF_SERVICE, RELINQUISH_DEFAULT, 22, 25, 45, 59, 113})
MULTI_STATE = frozenset({13, 14, 19})


@dataclass(frozen=True, slots=True)
class Refused:
    """The write that failed, and why."""

    written: Written
    code: ErrorCode


def write(objects: Objects, writes: Iterable[Written]) -> tuple[list[Identifier], Refused | None]:
    """Carry out `writes` up to the first that fails; the objects whose present-value was written, and the failure."""
    changed: list[Identifier] = []
    for written in writes:
        code = _write(objects, written)
        if code is not None:
            return changed, Refused(written, code)
        if written.asked.property == PRESENT_VALUE:
            changed.append(written.asked.object)
    return changed, None


def _write(objects: Objects, written: Written) -> ErrorCode | None:
    asked = written.asked
    found = objects.find(asked.object)
    if found is None:
        return UNKNOWN_OBJECT
    if asked.property not in found.properties:
        return UNKNOWN_PROPERTY
    if asked.property == PRESENT_VALUE:
        return _write_present_value(asked.object, found, written)
    if asked.property not in WRITABLE:
        return ACCESS_DENIED
    known = found.properties[asked.property]
    if not isinstance(known, bytes) or known[0] >> 4 != written.octets[0] >> 4:
        return INVALID_DATA_TYPE
    found.properties[asked.property] = written.octets
    return None


def _write_present_value(identifier: Identifier, found: HeldObject, written: Written) -> ErrorCode | None:
    relinquishes = written.octets == octets.NULL
    if not found.commandable and found.properties[OUT_OF_SERVICE] != octets.boolean(True):
        return ACCESS_DENIED
    if not (relinquishes and found.commandable) and written.octets[:1] and written.octets[0] >> 4 != found.present_value[0] >> 4:
        return INVALID_DATA_TYPE
    priority = PRIORITIES if written.priority is None else written.priority
    if not 1 <= priority <= PRIORITIES or (not relinquishes and not _in_range(identifier[0], found, written.octets)):
        return OUT_OF_RANGE
    if priority == 6:  # reserved for minimum on and off times (clause 19.2.3)
        return ACCESS_DENIED
    if found.commandable:
        found.command(priority - 1, written.octets)
    else:
        found.properties[PRESENT_VALUE] = written.octets
    return None


def _in_range(object_type: int, found: HeldObject, value: bytes) -> bool:
    states = found.properties.get(74)
    if object_type not in MULTI_STATE or not isinstance(states, bytes):
        return True
    return 1 <= int.from_bytes(value[1:], "big") <= int.from_bytes(states[1:], "big")
