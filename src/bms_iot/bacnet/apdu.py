"""Application PDUs (ASHRAE 135 clause 20.1) and the services that reading needs (clauses 15.5, 15.7 and 16.10).

Requests are encoded with invoke id 0 at `INVOKE_ID_AT`; the client patches it. What is read is tolerant about values
and strict about framing: see codec.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple, TypeAlias

from bms_iot.bacnet.codec import (
    CLOSING,
    OPENING,
    ContextValue,
    DecodeError,
    Enumerated,
    ObjectId,
    Value,
    decode_all,
    decode_until,
    encode_context,
    encode_object_id,
    encode_tag,
    encode_unsigned,
    object_id,
    read_tag,
    unsigned,
)

READ_PROPERTY = 12
READ_PROPERTY_MULTIPLE = 14
I_AM = 0
WHO_IS = 8
DEVICE_OBJECT = 8
WILDCARD_INSTANCE = 0x3FFFFF
"""The highest instance, which no object has: 22 bits set."""

MAX_APDU = 1476
"""The largest APDU of BACnet/IP, which is what we accept; its code in a request is 5 (clause 20.1.2.5)."""

INVOKE_ID_AT = 2
"""Where a confirmed request has its invoke id, counted from the start of the APDU."""

SEGMENTATION = ("both", "transmit", "receive", "none")
"""BACnetSegmentation by number, as the domain spells it."""


class PropertyReference(NamedTuple):
    """What to read: one property of one object, or one element of it (`array_index` 0 is the length of the array)."""

    object: ObjectId
    property: int
    array_index: int | None = None


@dataclass(frozen=True, slots=True)
class PropertyError:
    """A property the device answered with an error; the numbers of clause 18."""

    error_class: int
    error_code: int


PropertyValues: TypeAlias = tuple[Value, ...]
"""What stands between the tags of one property: one value, several for an array or list, none for an empty one."""


class PropertyResult(NamedTuple):
    """One property of a reply."""

    reference: PropertyReference
    outcome: PropertyValues | PropertyError


@dataclass(frozen=True, slots=True, kw_only=True)
class IAm:
    """A device that says where it is (clause 16.10); `segmentation` is the number of BACnetSegmentation."""

    instance: int
    max_apdu: int
    segmentation: int
    vendor_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmedRequest:
    """A request to us; we are a client and answer none."""

    invoke_id: int
    service: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnconfirmedRequest:
    """An I-Am, a Who-Is, a notification."""

    service: int
    parameters: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SimpleAck:
    """Done, nothing to say."""

    invoke_id: int
    service: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ComplexAck:
    """Done, with an answer; `segmented` ones carry a part of it only."""

    invoke_id: int
    service: int
    parameters: bytes
    segmented: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentAck:
    """The acknowledgement of a segment; we send none."""

    invoke_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """The service failed."""

    invoke_id: int
    service: int
    error: PropertyError


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """The request was not understood; `reason` is a BACnetRejectReason."""

    invoke_id: int
    reason: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Abort:
    """The transaction was given up; `reason` is a BACnetAbortReason."""

    invoke_id: int
    reason: int


Pdu: TypeAlias = ConfirmedRequest | UnconfirmedRequest | SimpleAck | ComplexAck | SegmentAck | Error | Reject | Abort


def encode_confirmed(service: int, parameters: bytes) -> bytes:
    """A confirmed request: unsegmented, no segmented response accepted, APDUs of up to 1,476 octets, invoke id 0."""
    return bytes((0x00, 0x05, 0, service)) + parameters


def encode_who_is(low: int | None = None, high: int | None = None) -> bytes:
    """A Who-Is for the instances `low` to `high`; without both, for every device."""
    limits = b""
    if low is not None or high is not None:
        lowest, highest = low or 0, WILDCARD_INSTANCE if high is None else high
        limits = encode_context(0, encode_unsigned(lowest)) + encode_context(1, encode_unsigned(highest))
    return bytes((0x10, WHO_IS)) + limits


def encode_read_property(reference: PropertyReference) -> bytes:
    """A ReadProperty request."""
    target = encode_context(0, encode_object_id(reference.object))
    return encode_confirmed(READ_PROPERTY, target + _encode_property(reference, 1))


def encode_read_property_multiple(references: Iterable[PropertyReference]) -> bytes:
    """A ReadPropertyMultiple request; references to one object that follow each other share one specification."""
    parts: list[bytes] = []
    for identifier, of_object in groupby(references, key=lambda reference: reference.object):
        parts.append(encode_context(0, encode_object_id(identifier)) + encode_tag(1, True, OPENING))
        parts.extend(_encode_property(reference, 0) for reference in of_object)
        parts.append(encode_tag(1, True, CLOSING))
    return encode_confirmed(READ_PROPERTY_MULTIPLE, b"".join(parts))


def _encode_property(reference: PropertyReference, first_tag: int) -> bytes:
    octets = encode_context(first_tag, encode_unsigned(reference.property))
    if reference.array_index is not None:
        octets += encode_context(first_tag + 1, encode_unsigned(reference.array_index))
    return octets


def parse_apdu(apdu: bytes) -> Pdu:
    """The PDU that `apdu` is. Raises DecodeError when its header is cut off or of no known type."""
    try:
        return _PARSERS[apdu[0] >> 4](apdu)
    except IndexError:
        raise DecodeError(f"no PDU, or a header cut off: {apdu[:4].hex()}") from None


def _confirmed_request(apdu: bytes) -> Pdu:
    segmented = bool(apdu[0] & 0x08)
    return ConfirmedRequest(invoke_id=apdu[2], service=apdu[5 if segmented else 3])


def _unconfirmed_request(apdu: bytes) -> Pdu:
    return UnconfirmedRequest(service=apdu[1], parameters=apdu[2:])


def _simple_ack(apdu: bytes) -> Pdu:
    return SimpleAck(invoke_id=apdu[1], service=apdu[2])


def _complex_ack(apdu: bytes) -> Pdu:
    if apdu[0] & 0x08:
        return ComplexAck(invoke_id=apdu[1], service=apdu[4], parameters=apdu[5:], segmented=True)
    return ComplexAck(invoke_id=apdu[1], service=apdu[2], parameters=apdu[3:])


def _segment_ack(apdu: bytes) -> Pdu:
    return SegmentAck(invoke_id=apdu[1])


def _error(apdu: bytes) -> Pdu:
    parameters = apdu[3:]
    # Some services wrap class and code in a context tag 0 (clause 21, "Error choices").
    if parameters[:1] == b"\x0e":
        values, _ = decode_until(parameters, 1, 0)
    else:
        values = decode_all(parameters)
    return Error(invoke_id=apdu[1], service=apdu[2], error=_property_error(values))


def _reject(apdu: bytes) -> Pdu:
    return Reject(invoke_id=apdu[1], reason=apdu[2])


def _abort(apdu: bytes) -> Pdu:
    return Abort(invoke_id=apdu[1], reason=apdu[2])


_PARSERS = (_confirmed_request, _unconfirmed_request, _simple_ack, _complex_ack, _segment_ack, _error, _reject, _abort)


def invoke_id_of(apdu: bytes) -> int | None:
    """The invoke id of an answer whose rest cannot be parsed, None when not even that is there."""
    return apdu[1] if len(apdu) >= 2 and 2 <= apdu[0] >> 4 <= 7 else None


def decode_i_am(parameters: bytes) -> IAm:
    """The parameters of an I-Am. Raises DecodeError when they are not the four it has."""
    match decode_all(parameters)[:4]:
        case (ObjectId(type=8, instance=instance), int(max_apdu), Enumerated() as segmentation, int(vendor_id)):
            return IAm(instance=instance, max_apdu=max_apdu, segmentation=int(segmentation), vendor_id=vendor_id)
    raise DecodeError("an I-Am has a device identifier, a length, a segmentation and a vendor")


def decode_read_property_ack(parameters: bytes) -> PropertyResult:
    """The parameters of a ReadProperty-ACK. Raises DecodeError, also for octets after its end."""
    identifier, at = _context(parameters, 0, 0)
    reference, at = _decode_reference(parameters, at, object_id_of(identifier), 1)
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
        contents, at = _context(parameters, at, 0)
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
        reference, at = _decode_reference(octets, at, identifier, 2)
        tag = read_tag(octets, at)
        if tag.length != OPENING or tag.number not in (4, 5):
            raise DecodeError(f"neither value nor error at octet {at}")
        values, at = decode_until(octets, tag.start, tag.number)
        results.append(PropertyResult(reference, values if tag.number == 4 else _property_error(values)))


def _decode_reference(octets: bytes, at: int, identifier: ObjectId, first_tag: int) -> tuple[PropertyReference, int]:
    """The property identifier in context tag `first_tag` and the array index, if any, in the next."""
    contents, at = _context(octets, at, first_tag)
    index = None
    tag = read_tag(octets, at)
    if tag.context and tag.number == first_tag + 1 and tag.length >= 0:
        index, at = _unsigned(octets[tag.start : tag.start + tag.length]), tag.start + tag.length
    return PropertyReference(identifier, _unsigned(contents), index), at


def _context(octets: bytes, at: int, number: int) -> tuple[bytes, int]:
    """The contents of the primitive that context tag `number` must be, and the place after it."""
    tag = read_tag(octets, at)
    if not tag.context or tag.number != number or tag.length < 0:
        raise DecodeError(f"context tag {number} is missing at octet {at}")
    end = tag.start + tag.length
    return octets[tag.start : end], end


def object_id_of(contents: bytes) -> ObjectId:
    """An object identifier where the structure of a reply depends on it. Raises DecodeError."""
    if len(contents) != 4:
        raise DecodeError("an object identifier has four octets")
    return object_id(contents)


def _unsigned(contents: bytes) -> int:
    try:
        return unsigned(contents)
    except ValueError as error:
        raise DecodeError(str(error)) from error


def _property_error(values: Sequence[Value]) -> PropertyError:
    """Class and code of an error; 0 (device, other) for what is not there or no number."""
    numbers = [int(value) if isinstance(value, int) else 0 for value in values if not isinstance(value, ContextValue)]
    error_class, error_code = (*numbers, 0, 0)[:2]
    return PropertyError(error_class, error_code)
