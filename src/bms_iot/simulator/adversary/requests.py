"""Requests as they arrive (ASHRAE 135 clauses 13.14, 15.5, 15.7, 15.9, 15.10 and 16.10): who asks for what."""

from collections.abc import Iterator
from dataclasses import dataclass

from bms_iot.simulator import packets
from bms_iot.simulator.packets import CONFIRMED_REQUEST
from bms_iot.simulator.tags import Tag, Undecodable, enclosed, tag_at

CONFIRMED_COV, SUBSCRIBE_COV, READ_PROPERTY, READ_PROPERTY_MULTIPLE, WRITE_PROPERTY, WRITE_PROPERTY_MULTIPLE = 1, 5, 12, 14, 15, 16
UNCONFIRMED_REQUEST, I_AM, UNCONFIRMED_COV, WHO_IS = 1, 0, 2, 8

APDU_LENGTHS = (50, 128, 206, 480, 1024, 1476)
"""By their code in a request (clause 20.1.2.5)."""

Address = tuple[str, int]
Identifier = tuple[int, int]
"""Object type and instance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A confirmed request; `max_apdu` and `takes_segments` are what the client says it can take."""

    client: Address
    invoke_id: int
    service: int
    body: bytes
    max_apdu: int
    takes_segments: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """One property of one object, or one element of it."""

    object: Identifier
    property: int
    index: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One property to write: its new octets, and at which priority."""

    asked: Asked
    octets: bytes
    priority: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A SubscribeCOV; without `confirmed` it ends one."""

    process: int
    object: Identifier
    confirmed: bool | None
    lifetime: int | None


def parse_confirmed(octets: bytes, client: Address) -> Request | None:
    """The unsegmented confirmed request in a datagram, None for anything else."""
    packet = packets.parse(octets)
    if packet is None or packet.pdu_type != CONFIRMED_REQUEST or packet.segment is not None:
        return None
    first, sizes = octets[packet.apdu_at], octets[packet.apdu_at + 1]
    return Request(
        client=client,
        invoke_id=packet.invoke_id or 0,
        service=packet.service or 0,
        body=packet.body,
        max_apdu=APDU_LENGTHS[min(sizes & 0x0F, len(APDU_LENGTHS) - 1)],
        takes_segments=bool(first & 0x02),
    )


def read_property(body: bytes) -> Asked:
    """Raises Undecodable or IndexError, as all of these do."""
    identifier = _identifier(tag_at(body, 0))
    asked, _ = _asked(body, 5, identifier, 1)
    return asked


def read_property_multiple(body: bytes) -> list[Asked]:
    found: list[Asked] = []
    for identifier, octets in _specifications(body):
        at = 0
        while at < len(octets):
            asked, at = _asked(octets, at, identifier, 0)
            found.append(asked)
    return found


def write_property(body: bytes) -> Written:
    identifier = _identifier(tag_at(body, 0))
    written, _ = _written(body, 5, identifier, 1)
    return written


def write_property_multiple(body: bytes) -> list[Written]:
    found: list[Written] = []
    for identifier, octets in _specifications(body):
        at = 0
        while at < len(octets):
            written, at = _written(octets, at, identifier, 0)
            found.append(written)
    return found


def subscribe_cov(body: bytes) -> Subscription:
    parts: dict[int, bytes] = {}
    at = 0
    while at < len(body):
        tag = tag_at(body, at)
        parts[tag.number], at = tag.content, tag.end
    if not {0, 1} <= parts.keys():
        raise Undecodable(f"no process or object: {body.hex()}")
    instance = int.from_bytes(parts[1], "big")
    return Subscription(
        process=int.from_bytes(parts[0], "big"),
        object=(instance >> 22, instance & 0x3F_FFFF),
        confirmed=parts[2] != b"\x00" if 2 in parts else None,
        lifetime=int.from_bytes(parts[3], "big") if 3 in parts else None,
    )


def who_is(octets: bytes) -> tuple[int, int] | None:
    """The range of instances a Who-Is asks for, None for anything else."""
    packet = packets.parse(octets)
    if (
        packet is None
        or packet.pdu_type != UNCONFIRMED_REQUEST
        or octets[packet.apdu_at + 1 : packet.apdu_at + 2] != bytes((WHO_IS,))
    ):
        return None
    body = octets[packet.apdu_at + 2 :]
    if not body:
        return 0, 0x3F_FFFF
    low = tag_at(body, 0)
    return int.from_bytes(low.content, "big"), int.from_bytes(tag_at(body, low.end).content, "big")


def _specifications(body: bytes) -> Iterator[tuple[Identifier, bytes]]:
    """Each object with what stands between its opening and closing tag 1."""
    at = 0
    while at < len(body):
        tag = tag_at(body, at)
        octets, at = enclosed(body, tag.end)
        yield _identifier(tag), octets


def _identifier(tag: Tag) -> Identifier:
    if not tag.context or tag.number != 0 or len(tag.content) != 4:
        raise Undecodable("no object identifier")
    value = int.from_bytes(tag.content, "big")
    return value >> 22, value & 0x3F_FFFF


def _asked(octets: bytes, at: int, identifier: Identifier, first_tag: int) -> tuple[Asked, int]:
    prop = tag_at(octets, at)
    index, at = None, prop.end
    if at < len(octets):
        following = tag_at(octets, at)
        if following.number == first_tag + 1 and following.kind == "primitive":
            index, at = int.from_bytes(following.content, "big"), following.end
    return Asked(identifier, int.from_bytes(prop.content, "big"), index), at


def _written(octets: bytes, at: int, identifier: Identifier, first_tag: int) -> tuple[Written, int]:
    asked, at = _asked(octets, at, identifier, first_tag)
    value, at = enclosed(octets, at)
    priority = None
    if at < len(octets):
        following = tag_at(octets, at)
        if following.number == first_tag + 3:
            priority, at = int.from_bytes(following.content, "big"), following.end
    return Written(asked=asked, octets=value, priority=priority), at
