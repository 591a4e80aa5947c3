"""SubscribeCOV and the notifications of a change of value (ASHRAE 135 clauses 13.1, 13.6, 13.7 and 13.14)."""

import struct
from typing import NamedTuple

from bms_iot.bacnet.apdu import encode_confirmed
from bms_iot.bacnet.services.fields import context_contents, number_of, object_id_of
from bms_iot.bacnet.services.reading import PropertyReference, PropertyValues, decode_reference
from bms_iot.bacnet.services.who_is import DEVICE_OBJECT
from bms_iot.bacnet.values.codec import (
    CLOSING,
    OPENING,
    BitString,
    DecodeError,
    Enumerated,
    ObjectId,
    decode_until,
    encode_context,
    encode_object_id,
    encode_unsigned,
    read_tag,
)

CONFIRMED_COV_NOTIFICATION = 1
UNCONFIRMED_COV_NOTIFICATION = 2
SUBSCRIBE_COV = 5

MAX_LIFETIME_SECONDS = 0xFFFFFFFF

USUAL_MIN_OCTETS = 29
_HEAD = struct.Struct(">BBBIBIB")
"""Process id, device, object and the tag of the time remaining, where the process id has one octet."""
_REAL = struct.Struct(">f")
_FLAGS: tuple[PropertyValues, ...] = tuple((BitString(bool(bits & 8 >> at) for at in range(4)),) for bits in range(16))
"""Status-flags by their four bits."""


class Notification(NamedTuple):
    """A change of value: who was told (`process_id` of the subscriber), by which device, of which object.

    `seconds_remaining` is how long the subscription lasts, 0 for ever.
    """

    process_id: int
    device_instance: int
    object: ObjectId
    seconds_remaining: int
    values: dict[PropertyReference, PropertyValues]


def encode_subscribe_cov(process_id: int, identifier: ObjectId, *, lifetime_seconds: int, confirmed: bool) -> bytes:
    """A SubscribeCOV request, which also renews. Raises ValueError for a lifetime of 0, which would be for ever."""
    if not 1 <= lifetime_seconds <= MAX_LIFETIME_SECONDS:
        raise ValueError(f"a lifetime is 1 to {MAX_LIFETIME_SECONDS} s")
    wanted = encode_context(2, bytes((confirmed,))) + encode_context(3, encode_unsigned(lifetime_seconds))
    return encode_confirmed(SUBSCRIBE_COV, _subscription(process_id, identifier) + wanted)


def encode_cancel_cov(process_id: int, identifier: ObjectId) -> bytes:
    """A SubscribeCOV request that ends the subscription (clause 13.14.1.3)."""
    return encode_confirmed(SUBSCRIBE_COV, _subscription(process_id, identifier))


def _subscription(process_id: int, identifier: ObjectId) -> bytes:
    return encode_context(0, encode_unsigned(process_id)) + encode_context(1, encode_object_id(identifier))


def decode_notification(parameters: bytes) -> Notification:
    """The parameters of a notification, confirmed or not. Raises DecodeError."""
    return _decode_usual(parameters) or decode_any_notification(parameters)


def _decode_usual(octets: bytes) -> Notification | None:
    """A REAL, an ENUMERATED or an Unsigned of one octet, and status-flags: what nearly every notification is.

    None for whatever is built otherwise in any octet.
    """
    size = len(octets)
    if size < USUAL_MIN_OCTETS:
        return None
    process_tag, process_id, device_tag, device, object_tag, monitored, time_tag = _HEAD.unpack_from(octets)
    if (process_tag, device_tag, object_tag, device >> 22) != (0x09, 0x1C, 0x2C, DEVICE_OBJECT) or time_tag not in (0x39, 0x3A):
        return None
    at = _HEAD.size + (time_tag & 7)
    tag = octets[at + 4]
    end = at + (9 if tag == 0x44 else 6)
    if octets[at : at + 4] != b"\x4e\x09\x55\x2e" or octets[end : end + 6] != b"\x2f\x09\x6f\x2e\x82\x04":
        return None
    if size != end + 9 or octets[end + 7 :] != b"\x2f\x4f":
        return None
    value: float
    if tag == 0x44:
        (value,) = _REAL.unpack_from(octets, at + 5)
    elif tag in (0x91, 0x21):
        value = Enumerated(octets[at + 5]) if tag == 0x91 else octets[at + 5]
    else:
        return None
    identifier = ObjectId(monitored >> 22, monitored & 0x3FFFFF)
    values: dict[PropertyReference, PropertyValues] = {
        PropertyReference(identifier, 85): (value,),
        PropertyReference(identifier, 111): _FLAGS[octets[end + 6] >> 4],
    }
    seconds = int.from_bytes(octets[_HEAD.size : at], "big")
    return Notification(process_id, device & 0x3FFFFF, identifier, seconds, values)


def decode_any_notification(parameters: bytes) -> Notification:
    """The same for notifications of every form. Raises DecodeError."""
    process_id, at = context_contents(parameters, 0, 0)
    device, at = context_contents(parameters, at, 1)
    contents, at = context_contents(parameters, at, 2)
    remaining, at = context_contents(parameters, at, 3)
    initiating, monitored = object_id_of(device), object_id_of(contents)
    if initiating.type != DEVICE_OBJECT:
        raise DecodeError("a notification comes from a device")
    tag = read_tag(parameters, at)
    if tag.number != 4 or tag.length != OPENING:
        raise DecodeError(f"the list of values is missing at octet {at}")
    values, at = _decode_values(parameters, tag.start, monitored)
    if at != len(parameters):
        raise DecodeError(f"{len(parameters) - at} octets after the end of the notification")
    return Notification(number_of(process_id), initiating.instance, monitored, number_of(remaining), values)


def _decode_values(octets: bytes, at: int, monitored: ObjectId) -> tuple[dict[PropertyReference, PropertyValues], int]:
    """The properties up to the closing tag of the list, and the place after it."""
    values: dict[PropertyReference, PropertyValues] = {}
    while True:
        if octets[at : at + 3 : 2] == b"\x09\x2e":  # the usual: a property of one octet, no index
            values[PropertyReference(monitored, octets[at + 1])], at = decode_until(octets, at + 3, 2)
        else:
            tag = read_tag(octets, at)
            if tag.length == CLOSING and tag.number == 4:
                return values, tag.start
            reference, at = decode_reference(octets, at, monitored, 0)
            tag = read_tag(octets, at)
            if tag.length != OPENING or tag.number != 2:
                raise DecodeError(f"the value is missing at octet {at}")
            values[reference], at = decode_until(octets, tag.start, 2)
        if octets[at : at + 1] == b"\x39":  # the priority the value was written with, in one octet
            at += 2
