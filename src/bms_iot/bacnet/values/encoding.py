"""Values ⇒ octets (ASHRAE 135 clause 20.2): what `codec.decode_value` reads, written."""

import struct

from bms_iot.bacnet.values.codec import (
    CLOSING,
    OPENING,
    BitString,
    Constructed,
    ContextValue,
    Date,
    Double,
    Enumerated,
    ObjectId,
    RawValue,
    Time,
    Value,
    encode_context,
    encode_object_id,
    encode_tag,
    encode_unsigned,
)


def encode_value(value: Value) -> bytes:
    """The value with its tag: an application tag by the value's type, a context tag where it has one.

    An int that is negative is a Signed, else an Unsigned; texts are UTF-8. Raises OverflowError for a float beyond float32.
    """
    match value:
        case bool():
            return encode_tag(1, False, int(value))
        case Constructed(tag=tag, items=items):
            return encode_tag(tag, True, OPENING) + b"".join(map(encode_value, items)) + encode_tag(tag, True, CLOSING)
        case ContextValue(tag=tag, octets=octets):
            return encode_context(tag, octets)
        case RawValue(tag=-1, octets=octets):
            return octets
        case RawValue(tag=tag, octets=octets):
            return encode_tag(tag, False, len(octets)) + octets
        case _:
            number, contents = _primitive(value)
            return encode_tag(number, False, len(contents)) + contents


def _primitive(value: Value) -> tuple[int, bytes]:  # noqa: PLR0911 - one line for each application tag
    """The application tag and the contents."""
    match value:
        case None:
            return 0, b""
        case Enumerated():
            return 9, encode_unsigned(value)
        case int():
            return (2, encode_unsigned(value)) if value >= 0 else (3, _signed(value))
        case Double():
            return 5, struct.pack(">d", value)
        case float():
            return 4, struct.pack(">f", value)
        case bytes():
            return 6, value
        case str():
            return 7, b"\0" + value.encode()
        case BitString():
            return 8, _bits(value)
        case Date(year=year, month=month, day=day, weekday=weekday):
            return 10, _parts(None if year is None else year - 1900, month, day, weekday)
        case Time(hour=hour, minute=minute, second=second, hundredth=hundredth):
            return 11, _parts(hour, minute, second, hundredth)
        case ObjectId():
            return 12, encode_object_id(value)
    raise TypeError(f"{value!r} is no primitive")


def _signed(value: int) -> bytes:
    return value.to_bytes((value + 1).bit_length() // 8 + 1, "big", signed=True)


def _bits(value: BitString) -> bytes:
    unused = -len(value) % 8
    padded = (*value, *([False] * unused))
    octets = (sum(bit << (7 - at) for at, bit in enumerate(padded[start : start + 8])) for start in range(0, len(padded), 8))
    return bytes((unused, *octets))


def _parts(*parts: int | None) -> bytes:
    return bytes(255 if part is None else part for part in parts)
