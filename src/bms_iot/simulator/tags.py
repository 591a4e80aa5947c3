"""Tags of ASHRAE 135 clause 20.2.1 as the simulator reads them: a small decoder, independent of `bms_iot.bacnet`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tag:
    """One tag with its contents; `start` and `end` say where it stands, contents included."""

    number: int
    context: bool
    kind: str
    """`primitive`, `opening` or `closing`."""
    content: bytes
    start: int
    end: int


class Undecodable(Exception):
    """The octets are not what clause 20.2 describes."""


def tag_at(body: bytes, at: int) -> Tag:
    """The tag at `at`. Raises Undecodable when its contents are cut short, IndexError when the tag itself is."""
    start, first = at, body[at]
    number, context, length = first >> 4, bool(first & 0x08), first & 0x07
    at += 1
    if number == 15:
        number, at = body[at], at + 1
    if context and length in (6, 7):
        return Tag(number, context, "opening" if length == 6 else "closing", b"", start, at)
    if not context and number == 1:
        return Tag(number, context, "primitive", bytes((length,)), start, at)
    if length == 5:
        length, at = body[at], at + 1
        if length == 254:
            length, at = int.from_bytes(body[at : at + 2], "big"), at + 2
        elif length == 255:
            length, at = int.from_bytes(body[at : at + 4], "big"), at + 4
    content = body[at : at + length]
    if len(content) < length:
        raise Undecodable(f"cut short at octet {at}: {body.hex()}")
    return Tag(number, context, "primitive", content, start, at + length)


def enclosed(body: bytes, at: int) -> tuple[bytes, int]:
    """The octets between the opening tag at `at` and its closing tag, and where the octets after that begin."""
    opening = tag_at(body, at)
    if opening.kind != "opening":
        raise Undecodable(f"no opening tag at octet {at}: {body.hex()}")
    depth, position = 1, opening.end
    while True:
        tag = tag_at(body, position)
        depth += {"opening": 1, "closing": -1, "primitive": 0}[tag.kind]
        if depth == 0:
            return body[opening.end : tag.start], tag.end
        position = tag.end
