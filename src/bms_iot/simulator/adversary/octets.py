"""Values and tags as octets (ASHRAE 135 clause 20.2), right ones and, where a device is to be wrong, any."""

import struct
from collections.abc import Sequence

NULL = b"\x00"
UTF8, DBCS, JIS, UCS4, UCS2, LATIN1 = 0, 1, 2, 3, 4, 5
_CODECS = {UTF8: "utf-8", UCS4: "utf-32-be", UCS2: "utf-16-be", LATIN1: "latin-1"}


def tagged(number: int, contents: bytes, *, context: bool = False) -> bytes:
    """A primitive of any tag number."""
    first = (min(number, 15) << 4) | (8 if context else 0)
    extended = bytes((number,)) if number > 14 else b""
    length = len(contents)
    if length < 5:
        return bytes((first | length,)) + extended + contents
    if length < 254:
        return bytes((first | 5,)) + extended + bytes((length,)) + contents
    if length < 65_536:
        return bytes((first | 5,)) + extended + b"\xfe" + length.to_bytes(2, "big") + contents
    return bytes((first | 5,)) + extended + b"\xff" + length.to_bytes(4, "big") + contents


def context(number: int, contents: bytes) -> bytes:
    """A context-tagged primitive."""
    return tagged(number, contents, context=True)


def enclose(number: int, contents: bytes) -> bytes:
    """Constructed data: `contents` between an opening and a closing tag."""
    if number < 15:
        return bytes((number << 4 | 0x0E,)) + contents + bytes((number << 4 | 0x0F,))
    return bytes((0xFE, number)) + contents + bytes((0xFF, number))


def number(value: int) -> bytes:
    """The contents of an Unsigned: the fewest octets, at least one."""
    return value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")


def boolean(value: bool) -> bytes:
    return b"\x11" if value else b"\x10"


def unsigned(value: int) -> bytes:
    return tagged(2, number(value))


def signed(value: int) -> bytes:
    return tagged(3, value.to_bytes((value.bit_length() + 8) // 8, "big", signed=True))


def real(value: float) -> bytes:
    return b"\x44" + struct.pack(">f", value)


def double(value: float) -> bytes:
    return b"\x55\x08" + struct.pack(">d", value)


def octet_string(value: bytes) -> bytes:
    return tagged(6, value)


def characters(charset: int, contents: bytes) -> bytes:
    """A character string of that character set, whatever its contents are."""
    return tagged(7, bytes((charset,)) + contents)


def text(value: str, charset: int = UTF8) -> bytes:
    """A character string as the standard wants it (clause 20.2.9)."""
    return characters(charset, value.encode(_CODECS[charset]))


def bits(values: Sequence[bool | int]) -> bytes:
    """A bit string, first bit first (clause 20.2.10)."""
    unused = -len(values) % 8
    octets = bytearray((len(values) + 7) // 8)
    for place, value in enumerate(values):
        octets[place // 8] |= bool(value) << (7 - place % 8)
    return tagged(8, bytes((unused,)) + bytes(octets))


def enumerated(value: int) -> bytes:
    return tagged(9, number(value))


def date(year: int, month: int, day: int, weekday: int = 255) -> bytes:
    """A date; the year as it is, 2155 for an unspecified one."""
    return tagged(10, bytes((year - 1900, month, day, weekday)))


def time(hour: int, minute: int, second: int, hundredth: int) -> bytes:
    return tagged(11, bytes((hour, minute, second, hundredth)))


def identifier(object_type: int, instance: int) -> bytes:
    """The contents of an object identifier (clause 20.2.14)."""
    return (object_type << 22 | instance).to_bytes(4, "big")


def object_identifier(object_type: int, instance: int) -> bytes:
    return tagged(12, identifier(object_type, instance))


def date_time_stamp(year: int, month: int, day: int, clock: tuple[int, int, int, int]) -> bytes:
    """A BACnetTimeStamp of date and time (clause 21)."""
    return enclose(2, date(year, month, day) + time(*clock))
