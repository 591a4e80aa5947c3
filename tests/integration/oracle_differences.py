"""Where our decoder, bacpypes3's and rusty-bacnet's differ about the odd-value table: a table for docs/bacnet.md.

`python -m tests.integration.oracle_differences --record` writes it there; a test compares.
"""

import asyncio
import re
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import bacpypes3.apdu
import rusty_bacnet
from bacpypes3.errors import DecodingError, RejectException
from bacpypes3.pdu import PDU
from bacpypes3.primitivedata import TagClass

from bms_iot.bacnet.apdu import PropertyError
from bms_iot.bacnet.services.reading import decode_read_property_multiple_ack
from bms_iot.bacnet.values.codec import (
    BitString,
    Constructed,
    ContextValue,
    Date,
    DecodeError,
    ObjectId,
    RawValue,
    Time,
    Value,
    decode_all,
)
from bms_iot.domain.readings import OPTIONAL_PROPERTIES
from tests.integration.bacnet_responder import Responder, analog, free_port
from tests.odd_values import BROKEN, OPTIONALS, PRESENT_VALUES

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "bacnet.md"
MARK = "oracle differences"
MARKED = re.compile(rf"(<!-- {MARK} -->\n).*?(<!-- /{MARK} -->)", re.DOTALL)

HEADER = b"\x0c\x00\x80\x00\x01\x1e\x29\x55\x4e"
FOOTER = b"\x4f\x1f"
LOST = "reply lost"

Cases = Sequence[tuple[str, bytes]]


def cases() -> Cases:
    """Each octets of the table once, by the name of the case or the optional property."""
    found: dict[bytes, str] = {}
    for case in (*PRESENT_VALUES, *BROKEN):
        found.setdefault(case.octets, case.name)
    for optional in OPTIONALS:
        found.setdefault(optional.octets, f"{optional.column} {optional.octets.hex()}"[:60])
    return [(name, octets) for octets, name in found.items()]


def ours(octets: bytes) -> str:
    try:
        ((_, outcome),) = decode_read_property_multiple_ack(HEADER + octets + FOOTER)
    except DecodeError:
        return LOST
    assert not isinstance(outcome, PropertyError)
    return " ".join(_shown(outcome))


def _shown(values: Sequence[Value]) -> Iterator[str]:
    for value in values:
        match value:
            case Constructed(tag=tag, items=items):
                yield f"{{{tag}"
                yield from _shown(items)
                yield "}"
            case ContextValue(tag=tag, octets=octets):
                yield f"[{tag}]{octets.hex()}"
            case RawValue(tag=tag, octets=octets):
                yield f"octets {octets.hex()} of tag {tag}"
            case _:
                yield _primitive(value)


def _primitive(value: Value) -> str:  # noqa: PLR0911  one line for each kind
    match value:
        case None:
            return "NULL"
        case bool():
            return str(value).lower()
        case str():
            return _text(value)
        case bytes():
            return f"x{value.hex()}"
        case int():
            return str(int(value))
        case float():
            return _number(value)
        case BitString():
            return _bits(int(bit) for bit in value)
        case Date(year=year, month=month, day=day, weekday=weekday):
            parts = (None if year is None else year - 1900, month, day, weekday)
            return f"date {tuple(255 if part is None else part for part in parts)}"
        case Time():
            parts = (value.hour, value.minute, value.second, value.hundredth)
            return f"time {tuple(255 if part is None else part for part in parts)}"
        case ObjectId():
            return f"object {value.type}:{value.instance}"
    raise AssertionError(f"{value!r} is no primitive")


def _text(value: str) -> str:
    return '"' + "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in value) + '"'


def _number(value: float) -> str:
    """By its octets where it is a NaN, since NaNs differ."""
    return repr(value) if value == value else f"nan {struct.pack('>d', value).hex()}"  # noqa: PLR0124  not equal to itself: a NaN


def _bits(bits: Iterator[int]) -> str:
    return "bits " + "".join(str(bit) for bit in bits)


def of_bacpypes(octets: bytes) -> str:
    """What bacpypes3 makes of the reply; the values are decoded by the tag on the wire."""
    try:
        pdu = bacpypes3.apdu.APDU.decode(PDU(b"\x30\x01\x0e" + HEADER + octets + FOOTER))
        decoded = bacpypes3.apdu.ReadPropertyMultipleACK.decode(pdu)
        value = decoded.listOfReadAccessResults[0].listOfResults[0].readResult.propertyValue
        return " ".join(_of_tags(value.tagList.tagList[1:-1]))
    except (DecodingError, RejectException, ValueError, TypeError, AttributeError, IndexError, KeyError, struct.error) as error:
        return f"{LOST} ({type(error).__name__})"


def _of_tags(tags: Sequence[Any]) -> Iterator[str]:
    for tag in tags:
        if tag.tag_class == TagClass.opening:
            yield f"{{{tag.tag_number}"
        elif tag.tag_class == TagClass.closing:
            yield "}"
        elif tag.tag_class == TagClass.context:
            yield f"[{tag.tag_number}]{bytes(tag.tag_data).hex()}"
        else:
            yield _of_bacpypes_primitive(tag.tag_number, tag.app_to_object())


def _of_bacpypes_primitive(number: int, value: Any) -> str:
    forms = {
        0: lambda: "NULL",
        1: lambda: str(bool(value)).lower(),
        2: lambda: str(int(value)),
        3: lambda: str(int(value)),
        4: lambda: _number(float(value)),
        5: lambda: _number(float(value)),
        6: lambda: f"x{bytes(value).hex()}",
        7: lambda: _text(str(value)),
        8: lambda: _bits(int(bit) for bit in value),
        9: lambda: str(int(value)),
        10: lambda: f"date {tuple(value)}",
        11: lambda: f"time {tuple(value)}",
        12: lambda: f"object {int(value[0])}:{int(value[1])}",
    }
    return forms[number]()


def _of_rusty(value: Any) -> str:
    decoded = value.value
    forms = {
        "null": lambda: "NULL",
        "boolean": lambda: str(decoded).lower(),
        "unsigned": lambda: str(decoded),
        "signed": lambda: str(decoded),
        "enumerated": lambda: str(decoded),
        "real": lambda: _number(decoded),
        "double": lambda: _number(decoded),
        "octet_string": lambda: f"x{bytes(decoded).hex()}",
        "character_string": lambda: _text(decoded),
        "bit_string": lambda: _bits(_unpacked(decoded["data"], decoded["unused_bits"])),
        "date": lambda: f"date {(255 if decoded[0] == 255 else decoded[0] - 1900, *decoded[1:])}",
        "time": lambda: f"time {tuple(decoded)}",
        "object_identifier": lambda: f"object {decoded.object_type.to_raw()}:{decoded.instance}",
    }
    # What is constructed or several values it hands on as octets.
    return forms[value.tag]() if value.tag in forms else " ".join(_shown(decode_all(value.octets)))


def _unpacked(octets: bytes, unused: int) -> Iterator[int]:
    bits = [octet >> (7 - bit) & 1 for octet in octets for bit in range(8)]
    yield from bits[: len(bits) - unused]


async def of_rusty(octets: Cases) -> dict[bytes, str]:
    """What rusty-bacnet reads of a device that answers so."""
    found: dict[bytes, str] = {}
    objects = {(2, n): {**analog(0.0), 85: each} for n, (_, each) in enumerate(octets)}
    async with (
        Responder(objects) as device,
        rusty_bacnet.BACnetClient("127.0.2.205", free_port(), "127.255.255.255", share_port_by_address=True) as theirs,
    ):
        for n, (_, each) in enumerate(octets):
            identifier = rusty_bacnet.ObjectIdentifier(rusty_bacnet.ObjectType.ANALOG_VALUE, n)
            try:
                value = await theirs.read_property(
                    f"{device.host}:{device.port}", identifier, rusty_bacnet.PropertyIdentifier.PRESENT_VALUE
                )
                found[each] = _of_rusty(value)
            except (rusty_bacnet.BacnetError, DecodeError) as error:
                found[each] = f"{LOST} ({type(error).__name__})"
    return found


async def differences() -> dict[str, tuple[str, str, str, str]]:
    """Octets and what each of the three makes of them, by the name of the case; where all agree it is left out."""
    octets = cases()
    rusty = await of_rusty(octets)
    table = {name: (each.hex(), ours(each), of_bacpypes(each), rusty[each]) for name, each in octets}
    return {name: row for name, row in table.items() if len({said.split(" (")[0] for said in row[1:]}) > 1}


MISFIT = "contents that do not fit their tag are kept as octets, and cost nobody else"
CHARSET = "what the declared set cannot decode is tried as UTF-8 and taken as ISO 8859-1 at last"
CODE_PAGES = "code pages and JIS X 0208 are decoded (clause 20.2.9)"
BYTE_ORDER = "a byte order mark is no character, and tells the order"

REASONS: dict[str, str] = {
    "a REAL with its length in a second octet": "the length may be read, so the value may be",
    "a UCS-2 text with a byte order mark": BYTE_ORDER,
    "a UCS-2 text of the other byte order": BYTE_ORDER,
    "a DBCS text of code page 850": CODE_PAGES,
    "a DBCS text of code page 932": CODE_PAGES,
    "a DBCS text of no code page": CHARSET,
    "a JIS X 0208 text": CODE_PAGES,
    "UTF-8 said to be UCS-2, of odd length": CHARSET,
    "a lone surrogate in UCS-2": CHARSET,
    "a text without a character set": "an empty value is an empty text",
    "a Null with contents": MISFIT,
    "a REAL of three octets": MISFIT,
    "a REAL of no octets": MISFIT,
    "a Double of four octets": MISFIT,
    "an Unsigned of no octets": MISFIT,
    "an Unsigned of nine octets": "an Unsigned has eight octets at most, or no column could hold it",
    "an Enumerated of no octets": MISFIT,
    "a Bit String of no octets": MISFIT,
    "a Bit String with nine unused bits": MISFIT,
    "a Date of three octets": MISFIT,
    "an Object Identifier of three octets": MISFIT,
    "a reserved tag": "what we do not know is kept as octets",
    "an extended application tag": "what we do not know is kept as octets",
    "something constructed, 20 deep": "deeper than 16 it is kept as octets; no property of the standard comes near",
    "event_message_texts 73006869710070": "an empty value is an empty text",
    "priority_array 4341ad99000000000000000000000000000000": MISFIT,
}
"""Why we differ, by case."""


def as_table(found: dict[str, tuple[str, str, str, str]]) -> str:
    """Markdown."""
    rows = ["| value | ours | bacpypes3 | rusty-bacnet | why ours |", "|---|---|---|---|---|"]
    for name, (octets, *said) in found.items():
        shown = " | ".join(_cell(each) for each in said)
        column = name.partition(" ")[0]
        what = f"{column} ({octets[:12]}…)" if column in OPTIONAL_PROPERTIES else name
        rows.append(f"| {what} | {shown} | {REASONS.get(name, '')} |")
    return "\n".join(rows)


def _cell(said: str) -> str:
    short = said if len(said) <= 48 else said[:45] + "…"
    return f"`{short}`".replace("|", "\\|")


def recorded() -> str:
    """The table as the document has it."""
    matched = re.search(rf"<!-- {MARK} -->\n(.*?)\n?<!-- /{MARK} -->", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    return "" if matched is None else matched[1].strip()


def main() -> None:
    table = as_table(asyncio.run(differences()))
    print(table)
    if "--record" in sys.argv:
        content, replaced = MARKED.subn(lambda match: f"{match[1]}{table}\n{match[2]}", DOCUMENT.read_text(encoding="utf-8"))
        if not replaced:
            raise SystemExit(f"{DOCUMENT} has no marks <!-- {MARK} --> … <!-- /{MARK} -->")
        DOCUMENT.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
