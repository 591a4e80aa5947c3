"""Tags and values (ASHRAE 135 clause 20.2): octets ⇄ Python values.

Decoding goes by the tag on the wire, never by what was expected. Contents that do not fit their tag (a REAL of three octets) become
a `RawValue`, so that one odd value never costs its neighbours; only broken framing, where nobody can tell the next tag, raises.

| tag | value |
|---|---|
| 0 Null | None |
| 1 Boolean | bool |
| 2 Unsigned, 3 Signed | int |
| 4 Real | float |
| 5 Double | Double |
| 6 Octet String | bytes |
| 7 Character String | str |
| 8 Bit String | BitString |
| 9 Enumerated | Enumerated |
| 10 Date, 11 Time | Date, Time |
| 12 Object Identifier | ObjectId |
| reserved tags, contents that do not fit | RawValue |
| context-tagged, primitive | ContextValue |
| context-tagged, constructed | Constructed |
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from bms_iot.bacnet.values.strings import decode_text

MAX_DEPTH = 16
"""Deeper nesting is kept as octets instead of values; no property of the standard comes near."""

_REAL = struct.Struct(">f")
_DOUBLE = struct.Struct(">d")
_UINT32 = struct.Struct(">I")


class DecodeError(ValueError):
    """The octets end too early or their tags do not match; nothing after that place can be trusted."""


class Enumerated(int):
    """An ENUMERATED, told apart from an Unsigned."""

    __slots__ = ()


class Double(float):
    """A Double, told apart from a REAL."""

    __slots__ = ()


class BitString(tuple[bool, ...]):
    """A bit string of any length, first bit first."""

    __slots__ = ()


class ObjectId(NamedTuple):
    """BACnetObjectIdentifier as numbers: object type 0 to 1,023, instance 0 to 4,194,303."""

    type: int
    instance: int


@dataclass(frozen=True, slots=True)
class Date:
    """A date; None for a part that is unspecified. `month` 13, 14 and `day` 32 to 34 are the standard's patterns."""

    year: int | None
    month: int | None
    day: int | None
    weekday: int | None


@dataclass(frozen=True, slots=True)
class Time:
    """A time of day; None for a part that is unspecified."""

    hour: int | None
    minute: int | None
    second: int | None
    hundredth: int | None


@dataclass(frozen=True, slots=True)
class RawValue:
    """An application-tagged value whose tag is reserved or whose contents do not fit it: the contents as they came."""

    tag: int
    octets: bytes


@dataclass(frozen=True, slots=True)
class ContextValue:
    """A context-tagged primitive; what its contents mean depends on where it stands."""

    tag: int
    octets: bytes


@dataclass(frozen=True, slots=True)
class Constructed:
    """What stands between an opening and a closing tag. Below `MAX_DEPTH` it is one RawValue of tag -1 with the octets."""

    tag: int
    items: tuple["Value", ...]


Value: TypeAlias = (
    bool | int | float | bytes | str | BitString | Date | Time | ObjectId | RawValue | ContextValue | Constructed | None
)
"""What `decode_value` gives; Enumerated is an int, Double a float."""


class Tag(NamedTuple):
    """A tag: its number, whether it is context-specific, the length of its contents and where they start.

    `length` is OPENING or CLOSING for constructed data, and the value itself for an application Boolean.
    """

    number: int
    context: bool
    length: int
    start: int


OPENING = -1
CLOSING = -2


def read_tag(octets: bytes, at: int) -> Tag:
    """The tag at `at` (clause 20.2.1). Raises DecodeError when it, or what its length promises, is not there."""
    size = len(octets)
    if at >= size:
        raise DecodeError(f"a tag is missing at octet {at}")
    first = octets[at]
    number, context, length = first >> 4, bool(first & 8), first & 7
    start = at + 1
    try:
        if number == 15:
            number = octets[start]
            start += 1
        if context and length >= 6:
            return Tag(number, True, OPENING if length == 6 else CLOSING, start)
        if length == 5:
            length = octets[start]
            start += 1
            if length == 254:
                length, start = int.from_bytes(octets[start : start + 2], "big"), start + 2
            elif length == 255:
                length, start = int.from_bytes(octets[start : start + 4], "big"), start + 4
    except IndexError:
        raise DecodeError(f"the tag at octet {at} is cut off") from None
    if not context and length >= 6 and first & 7 >= 6:
        raise DecodeError(f"the application tag at octet {at} has the length of a constructed one")
    is_boolean = number == 1 and not context
    if start > size or (not is_boolean and start + length > size):
        raise DecodeError(f"the value at octet {at} is cut off")
    return Tag(number, context, length, start)


def decode_value(octets: bytes, at: int, depth: int = 0) -> tuple[Value, int]:
    """The value at `at` and the place after it. Raises DecodeError for broken framing."""
    number, context, length, start = read_tag(octets, at)
    if length == OPENING:
        if depth >= MAX_DEPTH:
            inner_end, end = skip_constructed(octets, at)
            return Constructed(number, (RawValue(-1, octets[start:inner_end]),)), end
        items, end = decode_until(octets, start, number, depth + 1)
        return Constructed(number, items), end
    if length == CLOSING:
        raise DecodeError(f"a closing tag {number} at octet {at} closes nothing")
    end = start + length
    if context:
        return ContextValue(number, octets[start:end]), end
    if number == 1:
        return length != 0, start
    return _decode_primitive(number, octets[start:end]), end


def decode_until(octets: bytes, at: int, closing: int, depth: int = 0) -> tuple[tuple[Value, ...], int]:
    """The values up to the closing tag of that number, and the place after it. Raises DecodeError."""
    values: list[Value] = []
    size = len(octets)
    short = (closing << 4 | 0x0F) if closing < 15 else -1
    while True:
        if at >= size:
            raise DecodeError(f"the closing tag {closing} is missing")
        if octets[at] == short:
            return tuple(values), at + 1
        first = octets[at]
        if first < 0xF0 and first & 0x0F < 5 and first >> 4 != 1 and (end := at + 1 + (first & 0x07)) <= size:
            # The usual short application-tagged value, without the general way's cost.
            values.append(_decode_primitive(first >> 4, octets[at + 1 : end]))
            at = end
            continue
        if first & 0x0F == 0x0F:
            tag = read_tag(octets, at)
            if tag.number != closing:
                raise DecodeError(f"closing tag {tag.number} at octet {at} where {closing} is due")
            return tuple(values), tag.start
        value, at = decode_value(octets, at, depth)
        values.append(value)


def skip_constructed(octets: bytes, at: int) -> tuple[int, int]:
    """Where the closing tag of the constructed data opened at `at` starts and ends, however deep it nests. Raises DecodeError."""
    open_tags: list[int] = []
    while True:
        before, tag = at, read_tag(octets, at)
        at = tag.start
        if tag.length == OPENING:
            open_tags.append(tag.number)
        elif tag.length == CLOSING:
            if not open_tags or open_tags.pop() != tag.number:
                raise DecodeError(f"a closing tag {tag.number} before octet {at} does not match")
            if not open_tags:
                return before, at
        elif tag.context or tag.number != 1:
            at += tag.length


def decode_all(octets: bytes) -> tuple[Value, ...]:
    """Every value of `octets`. Raises DecodeError."""
    values: list[Value] = []
    at = 0
    while at < len(octets):
        value, at = decode_value(octets, at)
        values.append(value)
    return tuple(values)


def _decode_primitive(number: int, contents: bytes) -> Value:
    decoder = _DECODERS[number] if number < len(_DECODERS) else None
    if decoder is None:
        return RawValue(number, contents)
    try:
        return decoder(contents)
    except (struct.error, ValueError):
        return RawValue(number, contents)


def _null(contents: bytes) -> Value:
    if contents:
        raise ValueError("a Null has no contents")
    return None


def unsigned(contents: bytes) -> int:
    """An Unsigned (clause 20.2.4). Raises ValueError unless it has one to eight octets."""
    if not 1 <= len(contents) <= 8:
        raise ValueError("an Unsigned has one to eight octets")
    return int.from_bytes(contents, "big")


def _signed(contents: bytes) -> Value:
    if not 1 <= len(contents) <= 8:
        raise ValueError("a Signed has one to eight octets")
    return int.from_bytes(contents, "big", signed=True)


def _real(contents: bytes) -> Value:
    (value,) = _REAL.unpack(contents)
    return float(value)


def _double(contents: bytes) -> Value:
    return Double(_DOUBLE.unpack(contents)[0])


def _octet_string(contents: bytes) -> Value:
    return contents


def bit_string(contents: bytes) -> BitString:
    """A bit string (clause 20.2.10). Raises ValueError when the count of unused bits is impossible."""
    if not contents or contents[0] > 7 or (len(contents) == 1 and contents[0]):
        raise ValueError("a bit string starts with how many bits of its last octet are unused")
    used = 8 * (len(contents) - 1) - contents[0]
    return BitString(bool(contents[1 + bit // 8] >> (7 - bit % 8) & 1) for bit in range(used))


def _enumerated(contents: bytes) -> Value:
    return Enumerated(unsigned(contents))


def date(contents: bytes) -> Date:
    """A Date (clause 20.2.12); 255 is unspecified. Raises ValueError when it has not four octets."""
    year, month, day, weekday = contents
    return Date(*(None if part == 255 else part + plus for part, plus in ((year, 1900), (month, 0), (day, 0), (weekday, 0))))


def time(contents: bytes) -> Time:
    """A Time (clause 20.2.13); 255 is unspecified. Raises ValueError when it has not four octets."""
    hour, minute, second, hundredth = contents
    return Time(*(None if part == 255 else part for part in (hour, minute, second, hundredth)))


def object_id(contents: bytes) -> ObjectId:
    """An object identifier (clause 20.2.14). Raises struct.error when it has not four octets."""
    (number,) = _UINT32.unpack(contents)
    return ObjectId(number >> 22, number & 0x3FFFFF)


_DECODERS: Sequence[Callable[[bytes], Value] | None] = (
    _null,
    None,  # a Boolean has its value in the tag
    unsigned,
    _signed,
    _real,
    _double,
    _octet_string,
    decode_text,
    bit_string,
    _enumerated,
    date,
    time,
    object_id,
)


def encode_tag(number: int, context: bool, length: int) -> bytes:
    """A tag for contents of `length` octets, or OPENING or CLOSING (clause 20.2.1)."""
    head = 0x08 if context else 0
    extended = bytes((number,)) if number > 14 else b""
    first = (min(number, 15) << 4) | head
    if length == OPENING:
        return bytes((first | 6,)) + extended
    if length == CLOSING:
        return bytes((first | 7,)) + extended
    if length < 5:
        return bytes((first | length,)) + extended
    if length < 254:
        return bytes((first | 5,)) + extended + bytes((length,))
    if length < 65536:
        return bytes((first | 5,)) + extended + b"\xfe" + length.to_bytes(2, "big")
    return bytes((first | 5,)) + extended + b"\xff" + length.to_bytes(4, "big")


def encode_context(number: int, contents: bytes) -> bytes:
    """A context-tagged primitive."""
    return encode_tag(number, True, len(contents)) + contents


def encode_unsigned(value: int) -> bytes:
    """The contents of an Unsigned or Enumerated: the fewest octets, at least one."""
    return value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")


def encode_object_id(identifier: ObjectId) -> bytes:
    """The contents of an object identifier."""
    return _UINT32.pack(identifier.type << 22 | identifier.instance)
