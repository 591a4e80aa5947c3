"""The odd-value table: what stands between the tags of a property, octet by octet, and what it comes to.

Octets are of ASHRAE 135 clause 20.2, made by hand: no encoder of ours has touched them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bms_iot.domain.points import ObjectType
from bms_iot.domain.readings import OptionalValue, Quality

GOOD, UNCERTAIN, BAD = Quality.GOOD, Quality.UNCERTAIN, Quality.BAD
NOT_INITIALIZED, INVALID_DATA_TYPE, MALFORMED = "value-not-initialized", "invalid-data-type", "malformed-message"


@dataclass(frozen=True, kw_only=True)
class PresentValue:
    """A present-value: `text` of analog and multi-state objects, `binary` of binary ones where that differs."""

    name: str
    hex: str
    text: str | None
    quality: Quality = GOOD
    error: str | None = None
    binary: str | None = None

    @property
    def octets(self) -> bytes:
        return bytes.fromhex(self.hex)

    def text_of(self, object_type: ObjectType) -> str | None:
        return self.binary if object_type.is_binary and self.binary is not None else self.text


@dataclass(frozen=True, kw_only=True)
class Optional:
    """One of the optional properties; without `value` the column is left out."""

    column: str
    number: int
    hex: str
    value: OptionalValue = None
    type: ObjectType = ObjectType.ANALOG_VALUE

    @property
    def octets(self) -> bytes:
        return bytes.fromhex(self.hex)


def value(name: str, octets: str, text: str, binary: str | None = None) -> PresentValue:
    return PresentValue(name=name, hex=octets, text=text, binary=binary)


def doubtful(name: str, octets: str, text: str) -> PresentValue:
    return PresentValue(name=name, hex=octets, text=text, quality=UNCERTAIN)


def none(name: str, octets: str, error: str = INVALID_DATA_TYPE) -> PresentValue:
    return PresentValue(name=name, hex=octets, text=None, quality=BAD, error=error)


PRESENT_VALUES: Sequence[PresentValue] = (
    value("a REAL", "44 41ad999a", "21.7"),
    value("a REAL of 0", "44 00000000", "0", "inactive"),
    value("a REAL of -0", "44 80000000", "-0", "inactive"),
    value("a REAL of 1", "44 3f800000", "1", "active"),
    value("the smallest REAL", "44 00000001", "1e-45"),
    value("the largest REAL", "44 7f7fffff", "3.4028235e38"),
    value("a REAL of 16777216", "44 4b800000", "16777216"),
    doubtful("NaN", "44 7fc00000", "nan"),
    doubtful("a signalling NaN", "44 7f800001", "nan"),
    doubtful("a negative NaN", "44 ffc00000", "nan"),
    doubtful("+Inf", "44 7f800000", "inf"),
    doubtful("-Inf", "44 ff800000", "-inf"),
    value("a REAL with its length in a second octet", "45 04 41ad999a", "21.7"),
    value("a Double", "5508 4035b33333333333", "21.7"),
    value("a Double of 21.7 in single precision", "5508 4035b33340000000", "21.700000762939453"),
    value("a Double of 1", "5508 3ff0000000000000", "1", "active"),
    doubtful("a Double NaN", "5508 7ff8000000000000", "nan"),
    value("an Unsigned of 0", "21 00", "0", "inactive"),
    value("an Unsigned of 1", "21 01", "1", "active"),
    value("an Unsigned of 3", "21 03", "3"),
    value("an Unsigned with leading zeros", "24 00000003", "3"),
    value("an Unsigned of 32 bits", "24 ffffffff", "4294967295"),
    value("an Unsigned of 64 bits", "2508 ffffffffffffffff", "18446744073709551615"),
    value("a Signed of -1", "31 ff", "-1"),
    value("a Signed of -32768", "32 8000", "-32768"),
    value("a Signed of 64 bits", "3508 8000000000000000", "-9223372036854775808"),
    value("a Boolean, true", "11", "1", "active"),
    value("a Boolean, false", "10", "0", "inactive"),
    value("a Boolean of 3", "13", "1", "active"),
    value("an Enumerated of 0", "91 00", "0", "inactive"),
    value("an Enumerated of 1", "91 01", "1", "active"),
    value("an Enumerated of 7", "91 07", "7"),
    value("an Enumerated of the vendor", "93 010000", "65536"),
    none("NULL", "00", NOT_INITIALIZED),
    none("nothing", "", NOT_INITIALIZED),
    doubtful("a text", "75 06 00 32 31 2c 37 20", "21,7 "),
    doubtful("a UTF-8 text", "75 08 00 32312c37c2b04b", "21,7°K"),
    doubtful("an ISO 8859-1 text", "75 06 05 c4 d6 dc df e4", "ÄÖÜßä"),
    doubtful("a UCS-2 text", "75 05 04 00c4 6f22", "Ä漢"),
    doubtful("a UCS-2 text with a byte order mark", "75 07 04 feff 00c4 6f22", "Ä漢"),
    doubtful("a UCS-2 text of the other byte order", "75 07 04 fffe c400 226f", "Ä漢"),
    doubtful("a UCS-4 text", "75 09 03 000000c4 0001f321", "Ä🌡"),
    doubtful("a DBCS text of code page 850", "75 06 01 0352 99 81 e1", "Öüß"),
    doubtful("a DBCS text of code page 932", "75 07 01 03a4 8abf 8e9a", "漢字"),
    doubtful("a DBCS text of no code page", "75 06 01 ffff 4f 4b 21", "OK!"),
    doubtful("a JIS X 0208 text", "75 05 02 467c 4b5c", "日本"),
    doubtful("ISO 8859-1 said to be UTF-8", "75 06 00 47 72 f6 df 65", "Größe"),
    doubtful("UTF-8 said to be UCS-2, of odd length", "75 06 04 48 61 6c 6c 6f", "Hallo"),
    doubtful("a lone surrogate in UCS-2", "75 05 04 d800 0041", "\u00d8A"),
    doubtful("a text of an unknown character set", "75 05 63 41 42 43 44", "ABCD"),
    doubtful("a text with NULs", "75 06 00 00 41 00 42 00", "AB"),
    doubtful("an empty text", "71 00", ""),
    doubtful("a text without a character set", "70", ""),
    doubtful("an Octet String", "63 0102ff", "0102ff"),
    doubtful("an empty Octet String", "60", ""),
    doubtful("a Bit String", "82 04 a0", "1010"),
    doubtful("an empty Bit String", "81 00", ""),
    doubtful("a Bit String of 11 bits", "83 05 8fe0", "10001111111"),
    doubtful("a Date", "a4 7e0b1607", "2026-11-22"),
    doubtful("a Date, unspecified", "a4 ffffffff", "unspecified"),
    doubtful("a Time", "b4 081e0507", "08:30:05.07"),
    doubtful("an Object Identifier", "c4 00800003", "analogValue:3"),
    doubtful("an Object Identifier of the vendor", "c4 32000001", "200:1"),
    none("a Null with contents", "01 07"),
    none("a REAL of three octets", "43 41ad99"),
    none("a REAL of no octets", "40"),
    none("a Double of four octets", "54 41ad999a"),
    none("an Unsigned of no octets", "20"),
    none("an Unsigned of nine octets", "2509 010000000000000000"),
    none("an Enumerated of no octets", "90"),
    none("a Bit String of no octets", "80"),
    none("a Bit String with nine unused bits", "82 09 a0"),
    none("a Date of three octets", "a3 7e0b16"),
    none("an Object Identifier of three octets", "c3 000001"),
    none("a reserved tag", "d2 0102"),
    none("an extended application tag", "f2 14 0102"),
    none("a context tag", "0a 0102"),
    none("a constructed REAL", "0e 44 41ad999a 0f"),
    none("something constructed and empty", "0e 0f"),
    none("something constructed, 20 deep", "0e" * 20 + "21 07" + "0f" * 20),
    none("two values", "44 41ad999a 44 41ad999a"),
    none("a value and a NULL", "44 41ad999a 00"),
)
"""What a present-value may be."""

BROKEN: Sequence[PresentValue] = (
    none("a REAL that ends too early", "45 fe ffff 41ad999a", MALFORMED),
    none("an opening tag that nothing closes", "0e 44 41ad999a", MALFORMED),
    none("a closing tag that closes nothing", "44 41ad999a 1f", MALFORMED),
    none("an application tag with the length of an opening one", "46", MALFORMED),
)
"""What spoils a whole reply, since nobody can tell where the next value starts."""

NULLS: list[object] = [None] * 16
STAMP = "2e a4 7e0b1607 b4 081e0507 2f"
NEVER = "2e a4 ffffffff b4 ffffffff 2f"
EVENTS: dict[str, object] = {"toOffnormal": True, "toFault": False, "toNormal": True}
B, M = ObjectType.BINARY_OUTPUT, ObjectType.MULTI_STATE_VALUE

OPTIONALS: Sequence[Optional] = (
    Optional(column="min_pres_value", number=69, hex="44 c2c80000", value=-100.0),
    Optional(column="max_pres_value", number=65, hex="44 42c80000", value=100.0),
    Optional(column="high_limit", number=45, hex="44 41ad999a", value=21.7),
    Optional(column="high_limit", number=45, hex="5508 4035b33333333333", value=21.7),
    Optional(column="high_limit", number=45, hex="21 15", value=21.0),
    Optional(column="high_limit", number=45, hex="44 7fc00000"),
    Optional(column="low_limit", number=59, hex="44 80000000", value=-0.0),
    Optional(column="low_limit", number=59, hex="44 ff800000"),
    Optional(column="resolution", number=106, hex="44 3dcccccd", value=0.1),
    Optional(column="cov_increment", number=22, hex="44 3e800000", value=0.25),
    Optional(column="cov_increment", number=22, hex="00"),
    Optional(column="deadband", number=25, hex="44 3f000000", value=0.5),
    Optional(column="relinquish_default", number=104, hex="44 41a00000", value=20.0),
    Optional(column="relinquish_default", number=104, hex="91 00", value=0.0, type=B),
    Optional(column="relinquish_default", number=104, hex="21 03", value=3.0, type=M),
    Optional(column="time_delay", number=113, hex="21 1e", value=30),
    Optional(column="time_delay", number=113, hex="21 00", value=0),
    Optional(column="time_delay_normal", number=356, hex="23 010000", value=65536),
    Optional(column="notification_class", number=17, hex="22 0101", value=257),
    Optional(column="notification_class", number=17, hex="91 01", value=1),
    Optional(column="notify_type", number=72, hex="91 00", value="alarm"),
    Optional(column="notify_type", number=72, hex="91 01", value="event"),
    Optional(column="notify_type", number=72, hex="91 02", value="ack-notification"),
    Optional(column="notify_type", number=72, hex="91 09", value="9"),
    Optional(column="limit_enable", number=52, hex="82 06 80", value={"lowLimitEnable": True, "highLimitEnable": False}),
    Optional(column="limit_enable", number=52, hex="82 06 40", value={"lowLimitEnable": False, "highLimitEnable": True}),
    Optional(column="limit_enable", number=52, hex="81 00", value={"lowLimitEnable": False, "highLimitEnable": False}),
    Optional(column="limit_enable", number=52, hex="21 03"),
    Optional(column="event_enable", number=35, hex="82 05 a0", value=EVENTS),
    Optional(column="event_enable", number=35, hex="82 07 80", value={**EVENTS, "toNormal": False}),
    Optional(column="acked_transitions", number=0, hex="82 05 a0", value=EVENTS),
    Optional(column="acked_transitions", number=0, hex="83 04 afff", value=EVENTS),
    Optional(column="event_time_stamps", number=130, hex=STAMP + "19 07" + NEVER, value=["2026-11-22T08:30:05.07", 7, None]),
    Optional(column="event_time_stamps", number=130, hex="0c 081e0507 19 00 1a ffff", value=["08:30:05.07", 0, 65535]),
    Optional(column="event_time_stamps", number=130, hex="", value=[]),
    Optional(column="event_message_texts", number=351, hex="73 00 6869 71 00 70", value=["hi", "", ""]),
    Optional(column="event_message_texts", number=351, hex="74 00 41 00 42 72 05 fc 00", value=["AB", "ü", None]),
    Optional(column="event_message_texts_config", number=352, hex="75 06 00 47 72 f6 df 65", value=["Größe"]),
    Optional(column="event_detection_enable", number=353, hex="11", value=True),
    Optional(column="event_detection_enable", number=353, hex="91 00", value=False),
    Optional(column="event_detection_enable", number=353, hex="21 02"),
    Optional(column="event_algorithm_inhibit", number=354, hex="10", value=False),
    Optional(column="reliability_evaluation_inhibit", number=357, hex="11", value=True),
    Optional(
        column="event_algorithm_inhibit_ref",
        number=355,
        hex="0c 01400001 19 55",
        value={"objectIdentifier": "binaryValue:1", "propertyIdentifier": "presentValue", "arrayIndex": None},
    ),
    Optional(
        column="event_algorithm_inhibit_ref",
        number=355,
        hex="0c 32000001 1a 03e8 29 04",
        value={"objectIdentifier": "200:1", "propertyIdentifier": "1000", "arrayIndex": 4},
    ),
    Optional(column="event_algorithm_inhibit_ref", number=355, hex="0b 014000 19 55"),
    Optional(column="event_algorithm_inhibit_ref", number=355, hex="00"),
    Optional(column="priority_array", number=87, hex="00" * 16, value=NULLS),
    Optional(column="priority_array", number=87, hex="00" * 7 + "44 41ad999a" + "00" * 8, value=[*NULLS[:7], 21.7, *NULLS[:8]]),
    Optional(column="priority_array", number=87, hex="00 00 44 3f800000", value=[None, None, 1.0, *NULLS[:13]]),
    Optional(column="priority_array", number=87, hex="", value=NULLS),
    Optional(column="priority_array", number=87, hex="91 01" + "00" * 14 + "91 00", value=[True, *NULLS[:14], False], type=B),
    Optional(column="priority_array", number=87, hex="00" * 15 + "21 02", value=[*NULLS[:15], 2], type=M),
    Optional(column="priority_array", number=87, hex="0e 44 40600000 0f 44 7fc00000" + "00" * 14, value=[3.5, "nan", *NULLS[:14]]),
    Optional(column="priority_array", number=87, hex="44 41ad999a" * 17, value=[21.7] * 16),
    Optional(column="priority_array", number=87, hex="43 41ad99" + "00" * 15, value=["41ad99", *NULLS[:15]]),
)
"""What an optional property may be. The two bit strings of alarms keep BACnet's order: to-offnormal, to-fault, to-normal."""
