"""Application PDUs (ASHRAE 135 clause 20.1). What their parameters mean is in `services`.

Requests are encoded with invoke id 0 at `INVOKE_ID_AT`; the client patches it. What is read is tolerant about values
and strict about framing: see codec.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from bms_iot.bacnet.values.codec import (
    Constructed,
    ContextValue,
    DecodeError,
    Value,
    decode_all,
    decode_until,
    encode_tag,
    encode_unsigned,
)

MAX_APDU = 1476
"""The largest APDU of BACnet/IP, which is what we accept; its code in a request is 5 (clause 20.1.2.5)."""

MAX_NUMBER_OCTETS = 8
"""Of an Unsigned or Enumerated."""

INVOKE_ID_AT = 2
"""Where a confirmed request has its invoke id, counted from the start of the APDU."""


@dataclass(frozen=True, slots=True)
class PropertyError:
    """A property the device answered with an error; the numbers of clause 18."""

    error_class: int
    error_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmedRequest:
    """A request to us, such as a notification that wants an answer; `segmented` ones carry a part of it only."""

    invoke_id: int
    service: int
    parameters: bytes = b""
    segmented: bool = False


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
    """Done, with an answer."""

    invoke_id: int
    service: int
    parameters: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment(ComplexAck):
    """A part of an answer: number `sequence` modulo 256; `window` is what the device proposes (clause 20.1.5)."""

    more_follows: bool
    sequence: int
    window: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentAck:
    """The acknowledgement of a segment; nobody owes us one, since we send no segments."""

    invoke_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """The service failed; `parameters` has what some services say beside class and code."""

    invoke_id: int
    service: int
    error: PropertyError
    parameters: bytes = b""


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


def encode_simple_ack(request: ConfirmedRequest) -> bytes:
    """Done, as the answer to `request`."""
    return bytes((0x20, request.invoke_id, request.service))


def encode_error(request: ConfirmedRequest, error: PropertyError) -> bytes:
    """Class and code as the answer to `request`."""
    answer = bytes((0x50, request.invoke_id, request.service))
    for number in (error.error_class, error.error_code):
        contents = encode_unsigned(number)
        answer += encode_tag(9, False, len(contents)) + contents
    return answer


def parse_apdu(apdu: bytes) -> Pdu:
    """The PDU that `apdu` is. Raises DecodeError when its header is cut off or of no known type."""
    try:
        return _PARSERS[apdu[0] >> 4](apdu)
    except IndexError:
        raise DecodeError(f"no PDU, or a header cut off: {apdu[:4].hex()}") from None


def _confirmed_request(apdu: bytes) -> Pdu:
    segmented = bool(apdu[0] & 0x08)
    at = 5 if segmented else 3
    return ConfirmedRequest(invoke_id=apdu[2], service=apdu[at], parameters=apdu[at + 1 :], segmented=segmented)


def _unconfirmed_request(apdu: bytes) -> Pdu:
    return UnconfirmedRequest(service=apdu[1], parameters=apdu[2:])


def _simple_ack(apdu: bytes) -> Pdu:
    return SimpleAck(invoke_id=apdu[1], service=apdu[2])


def _complex_ack(apdu: bytes) -> Pdu:
    if apdu[0] & 0x08:
        return Segment(
            invoke_id=apdu[1],
            service=apdu[4],
            parameters=apdu[5:],
            more_follows=bool(apdu[0] & 0x04),
            sequence=apdu[2],
            window=apdu[3],
        )
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
    return Error(invoke_id=apdu[1], service=apdu[2], error=property_error(values), parameters=parameters)


def _reject(apdu: bytes) -> Pdu:
    return Reject(invoke_id=apdu[1], reason=apdu[2])


def _abort(apdu: bytes) -> Pdu:
    return Abort(invoke_id=apdu[1], reason=apdu[2])


_PARSERS = (_confirmed_request, _unconfirmed_request, _simple_ack, _complex_ack, _segment_ack, _error, _reject, _abort)


def invoke_id_of(apdu: bytes) -> int | None:
    """The invoke id of an answer whose rest cannot be parsed, None when not even that is there."""
    return apdu[1] if len(apdu) >= 2 and 2 <= apdu[0] >> 4 <= 7 else None


def property_error(values: Sequence[Value]) -> PropertyError:
    """Class and code of an error, also in context tags or in a constructed value; 0 (device, other) for what is no number."""
    while len(values) == 1 and isinstance(values[0], Constructed):
        values = values[0].items
    plain = [value for value in values if not isinstance(value, ContextValue)]
    error_class, error_code = (*map(_number, plain or values), 0, 0)[:2]
    return PropertyError(error_class, error_code)


def _number(value: Value) -> int:
    if isinstance(value, ContextValue) and len(value.octets) <= MAX_NUMBER_OCTETS:
        return int.from_bytes(value.octets, "big")
    return int(value) if isinstance(value, int) else 0
