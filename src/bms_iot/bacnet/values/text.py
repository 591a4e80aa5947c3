"""Values as the texts that databases and clouds know."""

import math
import struct

from bms_iot.bacnet.values import names
from bms_iot.bacnet.values.codec import BitString, Constructed, ContextValue, Date, Double, ObjectId, RawValue, Time, Value

_FLOAT32 = struct.Struct("<f")
_REAL = struct.Struct(">f")
SMALLEST_NORMAL = 2.0**-126
_NORMAL_DIGITS = (6, 7, 8)
"""Six digits always survive in a normal float32, so fewer are found by dropping zeros; denormal ones have fewer."""
_ALL_DIGITS = tuple(range(1, 9))


def number_text(value: float) -> str:
    """The shortest text that gives the same number back: the same float32 for a REAL, the same double for a Double.

    21.7, 21, -0, 1e16, nan, inf, -inf.
    """
    if not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    text = float.__repr__(value) if isinstance(value, Double) else repr(_shortest(value))
    return text.removesuffix(".0").replace("e+", "e").replace("e-0", "e-")


def _shortest(value: float) -> float:
    """The decimal of the fewest digits that is the same float32; nine always are (IEEE 754)."""
    packed = _FLOAT32.pack(value)
    for digits in _NORMAL_DIGITS if abs(value) >= SMALLEST_NORMAL else _ALL_DIGITS:
        candidate = float(f"{value:.{digits}g}")
        try:
            if _FLOAT32.pack(candidate) == packed:
                return candidate
        except OverflowError:  # rounded up beyond the largest float32
            continue
    return float(f"{value:.9g}")


def real_text(octets: bytes) -> str:
    """`number_text` of the four octets of a REAL, several times as fast for numbers as sensors give them."""
    value: float = _REAL.unpack(octets)[0]
    if 0.001 <= value < 1e6 or -1e6 < value <= -0.001:
        # Here half a float32's last place is less than half a seventh digit's: where six digits do, seven are the same number.
        text: str = "%.7g" % value  # noqa: UP031  quicker
        if _REAL.pack(float(text)) == octets:
            return text
        text = "%.8g" % value  # noqa: UP031
        return text if _REAL.pack(float(text)) == octets else "%.9g" % value  # noqa: UP031
    return number_text(value)


def object_id_text(identifier: ObjectId) -> str:
    """`binaryValue:1`; a vendor's type as its number."""
    return f"{names.name_of(names.OBJECT_TYPES, identifier.type)}:{identifier.instance}"


def date_text(date: Date) -> str | None:
    """ISO 8601; None for a date that is a pattern or unspecified."""
    if date.year is None or date.month is None or date.day is None or not (1 <= date.month <= 12 and 1 <= date.day <= 31):
        return None
    return f"{date.year:04}-{date.month:02}-{date.day:02}"


def time_text(time: Time) -> str | None:
    """ISO 8601 with hundredths; None for a time that is unspecified or none. What is unspecified after the hour counts as 0."""
    minute, second, hundredth = time.minute or 0, time.second or 0, time.hundredth or 0
    if time.hour is None or time.hour > 23 or minute > 59 or second > 59 or hundredth > 99:
        return None
    return f"{time.hour:02}:{minute:02}:{second:02}.{hundredth:02}"


def plain_text(value: Value) -> str:
    """Any value as a text; octets in hexadecimal, no NUL."""
    match value:
        case None:
            text = ""
        case bool():
            text = "true" if value else "false"
        case str():
            text = value.replace("\0", "")
        case float():
            text = number_text(value)
        case int():
            text = str(int(value))
        case bytes():
            text = value.hex()
        case BitString():
            text = "".join("1" if bit else "0" for bit in value)
        case Date():
            text = date_text(value) or "unspecified"
        case Time():
            text = time_text(value) or "unspecified"
        case ObjectId():
            text = object_id_text(value)
        case RawValue() | ContextValue():
            text = value.octets.hex()
        case Constructed():
            text = " ".join(plain_text(item) for item in value.items)
    return text
