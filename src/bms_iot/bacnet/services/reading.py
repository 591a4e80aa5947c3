"""ReadProperty and ReadPropertyMultiple (ASHRAE 135 clauses 15.5 and 15.7)."""

from collections.abc import Iterable
from itertools import groupby
from typing import NamedTuple, TypeAlias

from bms_iot.bacnet.apdu import PropertyError, encode_confirmed, property_error
from bms_iot.bacnet.services.fields import context_contents, number_of, object_id_of
from bms_iot.bacnet.values.codec import (
    CLOSING,
    OPENING,
    DecodeError,
    ObjectId,
    Value,
    decode_until,
    encode_context,
    encode_object_id,
    encode_tag,
    encode_unsigned,
    read_tag,
)

READ_PROPERTY = 12
READ_PROPERTY_MULTIPLE = 14


class PropertyReference(NamedTuple):
    """What to read: one property of one object, or one element of it (`array_index` 0 is the length of the array)."""

    object: ObjectId
    property: int
    array_index: int | None = None


PropertyValues: TypeAlias = tuple[Value, ...]
"""What stands between the tags of one property: one value, several for an array or list, none for an empty one."""


class PropertyResult(NamedTuple):
    """One property of a reply."""

    reference: PropertyReference
    outcome: PropertyValues | PropertyError


def encode_read_property(reference: PropertyReference) -> bytes:
    """A ReadProperty request."""
    target = encode_context(0, encode_object_id(reference.object))
    return encode_confirmed(READ_PROPERTY, target + encode_property(reference, 1))


def encode_read_property_multiple(references: Iterable[PropertyReference]) -> bytes:
    """A ReadPropertyMultiple request; references to one object that follow each other share one specification."""
    parts: list[bytes] = []
    for identifier, of_object in groupby(references, key=lambda reference: reference.object):
        parts.append(encode_context(0, encode_object_id(identifier)) + encode_tag(1, True, OPENING))
        parts.extend(encode_property(reference, 0) for reference in of_object)
        parts.append(encode_tag(1, True, CLOSING))
    return encode_confirmed(READ_PROPERTY_MULTIPLE, b"".join(parts))


def encode_property(reference: PropertyReference, first_tag: int) -> bytes:
    octets = encode_context(first_tag, encode_unsigned(reference.property))
    if reference.array_index is not None:
        octets += encode_context(first_tag + 1, encode_unsigned(reference.array_index))
    return octets


def decode_read_property_ack(parameters: bytes) -> PropertyResult:
    """The parameters of a ReadProperty-ACK. Raises DecodeError, also for octets after its end."""
    identifier, at = context_contents(parameters, 0, 0)
    reference, at = decode_reference(parameters, at, object_id_of(identifier), 1)
    tag = read_tag(parameters, at)
    if tag.number != 3 or tag.length != OPENING:
        raise DecodeError(f"the value is missing at octet {at}")
    values, at = decode_until(parameters, tag.start, 3)
    if at != len(parameters):
        raise DecodeError(f"{len(parameters) - at} octets after the end of the reply")
    return PropertyResult(reference, values)


def decode_read_property_multiple_ack(parameters: bytes) -> list[PropertyResult]:
    """The parameters of a ReadPropertyMultiple-ACK, every property in the order of the reply.

    Raises DecodeError when the reply is empty, cut off, or goes on after its end.
    """
    results: list[PropertyResult] = []
    at, size = 0, len(parameters)
    if not size:
        raise DecodeError("the reply is empty")
    while at < size:
        contents, at = context_contents(parameters, at, 0)
        identifier = object_id_of(contents)
        tag = read_tag(parameters, at)
        if tag.number != 1 or tag.length != OPENING:
            raise DecodeError(f"the list of results is missing at octet {at}")
        at = _decode_results(parameters, tag.start, identifier, results)
    return results


def _decode_results(octets: bytes, at: int, identifier: ObjectId, results: list[PropertyResult]) -> int:
    """Append the properties of one object up to its closing tag; the place after it."""
    while True:
        if octets[at : at + 3 : 2] == b"\x29\x4e":  # the usual: a property of one octet, no index, a value
            reference = PropertyReference(identifier, octets[at + 1])
            values, at = decode_until(octets, at + 3, 4)
            results.append(PropertyResult(reference, values))
            continue
        tag = read_tag(octets, at)
        if tag.length == CLOSING and tag.number == 1:
            return tag.start
        reference, at = decode_reference(octets, at, identifier, 2)
        tag = read_tag(octets, at)
        if tag.length != OPENING or tag.number not in (4, 5):
            raise DecodeError(f"neither value nor error at octet {at}")
        values, at = decode_until(octets, tag.start, tag.number)
        results.append(PropertyResult(reference, values if tag.number == 4 else property_error(values)))


def decode_reference(octets: bytes, at: int, identifier: ObjectId, first_tag: int) -> tuple[PropertyReference, int]:
    """The property identifier in context tag `first_tag` and the array index, if any, in the next."""
    contents, at = context_contents(octets, at, first_tag)
    index = None
    tag = read_tag(octets, at)
    if tag.context and tag.number == first_tag + 1 and tag.length >= 0:
        index, at = number_of(octets[tag.start : tag.start + tag.length]), tag.start + tag.length
    return PropertyReference(identifier, number_of(contents), index), at
