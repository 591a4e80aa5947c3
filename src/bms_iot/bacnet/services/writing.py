"""WriteProperty and WritePropertyMultiple (ASHRAE 135 clauses 15.9 and 15.10)."""

from collections.abc import Iterable
from itertools import groupby
from typing import NamedTuple

from bms_iot.bacnet.apdu import PropertyError, encode_confirmed, property_error
from bms_iot.bacnet.services.fields import context_contents, object_id_of
from bms_iot.bacnet.services.reading import PropertyReference, decode_reference, encode_property
from bms_iot.bacnet.values.codec import (
    CLOSING,
    OPENING,
    DecodeError,
    Value,
    decode_until,
    encode_context,
    encode_object_id,
    encode_tag,
    encode_unsigned,
    read_tag,
)
from bms_iot.bacnet.values.encoding import encode_value

WRITE_PROPERTY = 15
WRITE_PROPERTY_MULTIPLE = 16


class PropertyWrite(NamedTuple):
    """What to write: Null relinquishes; `priority` is 1 to 16, None for a property that is not commandable (clause 19.2)."""

    reference: PropertyReference
    value: Value
    priority: int | None = None


def encode_write_property(write: PropertyWrite) -> bytes:
    """A WriteProperty request."""
    target = encode_context(0, encode_object_id(write.reference.object))
    return encode_confirmed(WRITE_PROPERTY, target + _encode_write(write, 1))


def encode_write_property_multiple(writes: Iterable[PropertyWrite]) -> bytes:
    """A WritePropertyMultiple request; the device writes in this order, up to the first that fails."""
    parts: list[bytes] = []
    for identifier, of_object in groupby(writes, key=lambda write: write.reference.object):
        parts.append(encode_context(0, encode_object_id(identifier)) + encode_tag(1, True, OPENING))
        parts.extend(_encode_write(write, 0) for write in of_object)
        parts.append(encode_tag(1, True, CLOSING))
    return encode_confirmed(WRITE_PROPERTY_MULTIPLE, b"".join(parts))


def _encode_write(write: PropertyWrite, first_tag: int) -> bytes:
    """Property, index, value and priority in context tags from `first_tag` on."""
    value_tag = first_tag + 2
    octets = encode_property(write.reference, first_tag)
    octets += encode_tag(value_tag, True, OPENING) + encode_value(write.value) + encode_tag(value_tag, True, CLOSING)
    return octets if write.priority is None else octets + encode_context(value_tag + 1, encode_unsigned(write.priority))


def decode_write_property_multiple_error(parameters: bytes) -> tuple[PropertyError, PropertyReference | None]:
    """Why the first write that failed did, and which it was; None for a device that does not say.

    Raises DecodeError for broken framing.
    """
    if parameters[:1] != b"\x0e":  # class and code alone, as of any other service
        return property_error(decode_until(parameters + b"\x0f", 0, 0)[0]), None
    values, at = decode_until(parameters, 1, 0)
    if at == len(parameters):
        return property_error(values), None
    tag = read_tag(parameters, at)
    if tag.number != 1 or tag.length != OPENING:
        raise DecodeError(f"the write that failed is missing at octet {at}")
    contents, at = context_contents(parameters, tag.start, 0)
    reference, _ = decode_reference(parameters, at, object_id_of(contents), 1)
    return property_error(values), reference
