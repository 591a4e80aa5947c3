"""What a reply to ReadProperty or ReadPropertyMultiple said: a small decoder of its own, for the log of answers.

It decodes what a well-behaved device sends (ASHRAE 135 clauses 15.5, 15.7 and 20.2) and is independent of `bms_iot.bacnet`, so that
the one can be checked against the other. What it cannot decode is given as octets.
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from bms_iot.domain.points import ObjectType
from bms_iot.simulator import packets
from bms_iot.simulator.tags import Tag, Undecodable, enclosed, tag_at

JsonValue = None | bool | int | float | str | list["JsonValue"]

PROPERTY_NAMES = {
    0: "acked-transitions", 4: "active-text", 17: "notification-class", 22: "cov-increment", 25: "deadband", 28: "description",
    35: "event-enable", 36: "event-state", 45: "high-limit", 46: "inactive-text", 52: "limit-enable", 59: "low-limit",
    62: "max-apdu-length-accepted", 65: "max-pres-value", 69: "min-pres-value", 70: "model-name", 72: "notify-type",
    74: "number-of-states", 75: "object-identifier", 76: "object-list", 77: "object-name", 79: "object-type", 81: "out-of-service",
    84: "polarity", 85: "present-value", 87: "priority-array", 97: "protocol-services-supported", 103: "reliability",
    104: "relinquish-default", 106: "resolution", 107: "segmentation-supported", 110: "state-text", 111: "status-flags",
    113: "time-delay", 117: "units", 120: "vendor-identifier", 121: "vendor-name", 130: "event-time-stamps",
    139: "protocol-revision", 155: "database-revision", 351: "event-message-texts", 352: "event-message-texts-config",
    353: "event-detection-enable",    354: "event-algorithm-inhibit", 355: "event-algorithm-inhibit-ref", 356: "time-delay-normal",
    357: "reliability-evaluation-inhibit", 371: "property-list",
}  # fmt: skip
"""BACnetPropertyIdentifier (clause 21) of the ones a gateway reads; the rest are logged by number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One property as a reply answered it: `octets` exactly as sent, `value` decoded, or `error` (class, code) as numbers.

    `object_type` is spelled as in `domain.points.ObjectType`, or is the number as text.
    """

    object_type: str
    instance: int
    property: str
    index: int | None
    octets: bytes
    value: JsonValue = None
    error: tuple[int, int] | None = None


def decode(service: int, body: bytes) -> list[Answer]:
    """The answers of a ComplexACK's service data. Raises Undecodable; other services have none."""
    try:
        if service == packets.READ_PROPERTY:
            return [_read_property(body)]
        if service == packets.READ_PROPERTY_MULTIPLE:
            return list(_read_property_multiple(body))
    except (IndexError, StopIteration, struct.error) as error:
        raise Undecodable(f"cut short: {body.hex()}") from error
    return []


def _read_property(body: bytes) -> Answer:
    identifier = tag_at(body, 0)
    prop, index, at = _property_and_index(body, identifier.end, property_tag=1)
    octets, _ = enclosed(body, at)
    object_type, instance = _object(identifier.content)
    return Answer(
        object_type=object_type, instance=instance, property=prop, index=index, octets=octets, value=_value(octets, index, prop)
    )


def _read_property_multiple(body: bytes) -> Iterator[Answer]:
    at = 0
    while at < len(body):
        identifier = tag_at(body, at)
        object_type, instance = _object(identifier.content)
        at = tag_at(body, identifier.end).end
        while tag_at(body, at).kind != "closing":
            prop, index, at = _property_and_index(body, at, property_tag=2)
            is_error = tag_at(body, at).number == 5
            octets, at = enclosed(body, at)
            yield Answer(
                object_type=object_type,
                instance=instance,
                property=prop,
                index=index,
                octets=octets,
                value=None if is_error else _value(octets, index, prop),
                error=_error(octets) if is_error else None,
            )
        at = tag_at(body, at).end


def _property_and_index(body: bytes, at: int, *, property_tag: int) -> tuple[str, int | None, int]:
    tag = tag_at(body, at)
    if not tag.context or tag.number != property_tag or tag.kind != "primitive":
        raise Undecodable(f"no property identifier at octet {at}: {body.hex()}")
    number, index = int.from_bytes(tag.content, "big"), None
    following = tag_at(body, tag.end)
    if following.number == property_tag + 1 and following.kind == "primitive":
        index, tag = int.from_bytes(following.content, "big"), following
    return PROPERTY_NAMES.get(number, str(number)), index, tag.end


_LISTS = frozenset(
    {"object-list", "priority-array", "state-text", "event-message-texts", "event-message-texts-config", "property-list"}
)


def _value(octets: bytes, index: int | None, prop: str) -> JsonValue:
    """The decoded value; a list for arrays read whole; hexadecimal octets for anything constructed."""
    values: list[JsonValue] = []
    at = 0
    while at < len(octets):
        tag = tag_at(octets, at)
        if tag.context:
            return octets.hex()
        values.append(_primitive(tag))
        at = tag.end
    return values[0] if len(values) == 1 and not (index is None and prop in _LISTS) else values


def _primitive(tag: Tag) -> JsonValue:  # noqa: PLR0911 - one line for each datatype of clause 20.2
    content = tag.content
    match tag.number:
        case 0:
            return None
        case 1:
            return content != b"\x00"
        case 2 | 9:
            return int.from_bytes(content, "big")
        case 3:
            return int.from_bytes(content, "big", signed=True)
        case 4 | 5:
            number = float(struct.unpack(">f" if tag.number == 4 else ">d", content)[0])
            return number if math.isfinite(number) else str(number)
        case 7 if content[:1] == b"\x00":
            return content[1:].decode("utf-8", errors="replace")
        case 8:
            bits = "".join(f"{octet:08b}" for octet in content[1:])
            return bits[: len(bits) - content[0]]
        case 12:
            return ":".join(str(part) for part in _object(content))
        case _:
            return content.hex()


def _object(content: bytes) -> tuple[str, int]:
    number = int.from_bytes(content, "big")
    known = ObjectType.from_number(number >> 22)
    return known.value if known else str(number >> 22), number & 0x3F_FFFF


def _error(octets: bytes) -> tuple[int, int]:
    first = tag_at(octets, 0)
    return int.from_bytes(first.content, "big"), int.from_bytes(tag_at(octets, first.end).content, "big")
