"""ReadProperty and ReadPropertyMultiple, as the device that is asked sees them (ASHRAE 135 clauses 15.5 and 15.7)."""

from collections.abc import Callable, Sequence
from itertools import groupby

from bms_iot.simulator import packets
from bms_iot.simulator.adversary import octets
from bms_iot.simulator.adversary.manner import Answer, ErrorCode
from bms_iot.simulator.adversary.objects import OBJECT_LIST, PROPERTY_LIST, Objects, joined
from bms_iot.simulator.adversary.requests import READ_PROPERTY, READ_PROPERTY_MULTIPLE, Asked, Request

UNKNOWN_OBJECT, UNKNOWN_PROPERTY, INVALID_INDEX, NOT_AN_ARRAY = (1, 31), (2, 32), (2, 42), (2, 50)
ALL, REQUIRED, OPTIONAL = 8, 105, 80
WILDCARD = 0x3F_FFFF
LEFT_OUT_OF_PROPERTY_LIST = (75, 77, 79, PROPERTY_LIST)

Find = Callable[[Asked], Answer]


def held(objects: Objects, asked: Asked) -> Answer:
    """What the device holds for a property, or class and code of an error."""
    found = objects.find(asked.object)
    if found is None:
        return UNKNOWN_OBJECT
    if asked.property == OBJECT_LIST and asked.object == objects.device:
        return _entry(objects, asked.index)
    if asked.property == PROPERTY_LIST and PROPERTY_LIST not in found.properties:
        numbers = [number for number in found.properties if number not in LEFT_OUT_OF_PROPERTY_LIST]
        return _element([octets.enumerated(number) for number in numbers], asked.index)
    value = found.properties.get(asked.property)
    if value is None:
        return UNKNOWN_PROPERTY
    return value if asked.index is None else _element(value, asked.index)


def _entry(objects: Objects, index: int | None) -> Answer:
    """The object list or an element of it, without encoding all of it for one."""
    if index is None:
        return objects.list_octets()
    if index == 0:
        return octets.unsigned(len(objects.listed))
    return octets.object_identifier(*objects.listed[index - 1]) if index <= len(objects.listed) else INVALID_INDEX


def _element(value: bytes | list[bytes], index: int | None) -> Answer:
    if index is None:
        return value
    if isinstance(value, bytes):
        return NOT_AN_ARRAY
    if index == 0:
        return octets.unsigned(len(value))
    return value[index - 1] if index <= len(value) else INVALID_INDEX


def expanded(objects: Objects, asked: Sequence[Asked]) -> list[Asked]:
    """`asked` with the wildcard device instance and the properties "all", "required" and "optional" spelled out."""
    found: list[Asked] = []
    for each in asked:
        identifier = objects.device if each.object == (8, WILDCARD) else each.object
        there = objects.find(identifier)
        if each.property in (ALL, REQUIRED, OPTIONAL) and there is not None:
            found += [Asked(identifier, number) for number in there.properties]
        else:
            found.append(Asked(identifier, each.property, each.index))
    return found


def acknowledge(request: Request, asked: Sequence[Asked], find: Find) -> bytes:
    """The APDU that answers a read."""
    if request.service == READ_PROPERTY_MULTIPLE:
        return bytes((0x30, request.invoke_id, READ_PROPERTY_MULTIPLE)) + _results(asked, find)
    (wanted,) = asked
    answer = find(wanted)
    if isinstance(answer, tuple):
        return error(request, answer)
    head = bytes((0x30, request.invoke_id, READ_PROPERTY)) + octets.context(0, octets.identifier(*wanted.object))
    return head + _reference(1, wanted) + octets.enclose(3, joined(answer))


def _results(asked: Sequence[Asked], find: Find) -> bytes:
    parts: list[bytes] = []
    for identifier, of_object in groupby(asked, key=lambda each: each.object):
        results = []
        for wanted in of_object:
            answer = find(wanted)
            encoded = octets.enclose(5, _error(answer)) if isinstance(answer, tuple) else octets.enclose(4, joined(answer))
            results.append(_reference(2, wanted) + encoded)
        parts.append(octets.context(0, octets.identifier(*identifier)) + octets.enclose(1, b"".join(results)))
    return b"".join(parts)


def _reference(tag: int, asked: Asked) -> bytes:
    reference = octets.context(tag, octets.number(asked.property))
    return reference if asked.index is None else reference + octets.context(tag + 1, octets.number(asked.index))


def _error(code: ErrorCode) -> bytes:
    return octets.enumerated(code[0]) + octets.enumerated(code[1])


def error(request: Request, code: ErrorCode) -> bytes:
    """An Error-PDU."""
    return bytes((packets.ERROR << 4, request.invoke_id, request.service)) + _error(code)


def reject(request: Request, reason: int) -> bytes:
    """A Reject-PDU; `reason` is of clause 18.9."""
    return bytes((packets.REJECT << 4, request.invoke_id, reason))


def abort(request: Request, reason: int) -> bytes:
    """An Abort-PDU by the server; `reason` is of clause 18.10."""
    return bytes((packets.ABORT << 4 | 1, request.invoke_id, reason))


def simple_ack(request: Request) -> bytes:
    return bytes((0x20, request.invoke_id, request.service))
