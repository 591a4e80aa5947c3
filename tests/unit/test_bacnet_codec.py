"""Tags and values, byte by byte; the examples are those of ASHRAE 135 clause 20.2."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms_iot.bacnet.values.codec import (
    CLOSING,
    MAX_DEPTH,
    OPENING,
    BitString,
    Constructed,
    ContextValue,
    Date,
    DecodeError,
    Double,
    Enumerated,
    ObjectId,
    RawValue,
    Time,
    decode_all,
    decode_value,
    encode_context,
    encode_object_id,
    encode_tag,
    encode_unsigned,
    read_tag,
    skip_constructed,
)

SENTENCE = "This is a BACnet string!"


@pytest.mark.parametrize(
    ("octets", "value"),
    [
        ("00", None),
        ("10", False),
        ("11", True),
        ("2148", 72),
        ("22ffff", 65535),
        ("3148", 72),
        ("31b8", -72),
        ("4442900000", 72.0),
        ("55084052000000000000", Double(72.0)),
        ("631234ff", b"\x12\x34\xff"),
        ("60", b""),
        ("7519 00" + SENTENCE.encode().hex(), SENTENCE),
        ("7531 04" + SENTENCE.encode("utf-16-be").hex(), SENTENCE),
        ("7561 03" + SENTENCE.encode("utf-32-be").hex(), SENTENCE),
        ("751b 01 0352" + SENTENCE.encode("cp850").hex(), SENTENCE),
        ("750a 00 4672616ec3a7616973", "Français"),
        ("7509 05 4672616ee7616973", "Français"),
        ("7507 02 46 7c 4b 5c 38 6c", "日本語"),
        ("70", ""),
        ("7100", ""),
        ("8203a8", BitString((True, False, True, False, True))),
        ("8100", BitString()),
        ("83058fe0", BitString(bit == "1" for bit in "10001111111")),
        ("9100", Enumerated(0)),
        ("930186a0", Enumerated(100_000)),
        ("a45b011804", Date(1991, 1, 24, 4)),
        ("a4ffffffff", Date(None, None, None, None)),
        ("b411232d11", Time(17, 35, 45, 17)),
        ("b4ffffffff", Time(None, None, None, None)),
        ("c400c0000f", ObjectId(3, 15)),
        ("c4ffffffff", ObjectId(1023, 4194303)),
        ("0a0102", ContextValue(0, b"\x01\x02")),
        ("2e91012f", Constructed(2, (Enumerated(1),))),
        ("2e2f", Constructed(2, ())),
        ("2e3e11 0900 3f2f", Constructed(2, (Constructed(3, (True, ContextValue(0, b"\x00"))),))),
    ],
)
def test_a_value_is_decoded_by_its_tag(octets: str, value: object) -> None:
    decoded, end = decode_value(bytes.fromhex(octets), 0)
    assert decoded == value
    assert type(decoded) is type(value)
    assert end == len(bytes.fromhex(octets))


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        pytest.param("7509 00 4672616ee7616973", "Français", id="ISO 8859-1 that says UTF-8"),
        pytest.param("750a 04 4672616ec3a7616973", "Français", id="UTF-8 that says UCS-2"),
        pytest.param("7506 03 4162636465", "Abcde", id="UTF-8 that says UCS-4"),
        pytest.param("7507 04 fffe 4100 4200", "AB", id="UCS-2, little end first, marked"),
        pytest.param("7505 04 d800 0041", "Ø\0\0A", id="UCS-2 with half a surrogate pair"),
        pytest.param("7506 01 ffff 416263", "Abc", id="a code page nobody has"),
        pytest.param("7504 2a 416263", "Abc", id="an unknown character set"),
    ],
)
def test_a_mislabelled_string_is_still_a_string(octets: str, text: str) -> None:
    (decoded,) = decode_all(bytes.fromhex(octets))
    assert decoded == text


@pytest.mark.parametrize(
    ("octets", "tag"),
    [
        ("4142", 4),
        ("5104", 5),
        ("0155", 0),
        ("20", 2),
        ("30", 3),
        ("90", 9),
        ("80", 8),
        ("8109", 8),
        ("a25b01", 10),
        ("b0", 11),
        ("c3000001", 12),
        ("d10a", 13),
        ("f10f00", 15),
        ("f1ff00", 255),
        ("2509" + "01" * 9, 2),
    ],
)
def test_contents_that_do_not_fit_their_tag_are_kept_as_octets_and_the_next_value_is_read(octets: str, tag: int) -> None:
    odd, following = decode_all(bytes.fromhex(octets) + b"\x21\x07")
    assert isinstance(odd, RawValue)
    assert odd.tag == tag
    assert following == 7


@pytest.mark.parametrize(
    "octets", ["", "44429099", "75", "75fe01", "f4", "2e91", "2e91003f", "2f", "26", "1d", "75ffffffffff", "fe"]
)
def test_broken_framing_raises(octets: str) -> None:
    with pytest.raises(DecodeError):
        decode_value(bytes.fromhex(octets), 0)


@pytest.mark.parametrize("length", [0, 4, 5, 253, 254, 65_535, 65_536])
@pytest.mark.parametrize("number", [0, 14, 15, 254])
def test_a_tag_of_any_number_and_length_is_read_as_it_was_written(number: int, length: int) -> None:
    written = encode_tag(number, True, length)
    tag = read_tag(written + bytes(length), 0)
    assert (tag.number, tag.context, tag.length, tag.start) == (number, True, length, len(written))


@pytest.mark.parametrize("number", [0, 14, 15, 254])
def test_opening_and_closing_tags_of_any_number_are_read_as_they_were_written(number: int) -> None:
    octets = encode_tag(number, True, OPENING) + b"\x11" + encode_tag(number, True, CLOSING)
    assert decode_value(octets, 0) == (Constructed(number, (True,)), len(octets))
    assert skip_constructed(octets, 0)[1] == len(octets)


def test_deep_nesting_is_kept_as_octets_and_the_next_value_is_read() -> None:
    depth, deeper = 600, 600 - MAX_DEPTH - 1
    value, following = decode_all(b"\x3e" * depth + b"\x21\x05" + b"\x3f" * depth + b"\x21\x07")
    assert following == 7
    for _ in range(MAX_DEPTH):
        assert isinstance(value, Constructed)
        (value,) = value.items
    assert value == Constructed(3, (RawValue(-1, b"\x3e" * deeper + b"\x21\x05" + b"\x3f" * deeper),))


def test_nan_and_infinity_and_negative_zero_are_values() -> None:
    nan, infinity, zero = decode_all(bytes.fromhex("447fc00000 44ff800000 4480000000"))
    assert isinstance(nan, float)
    assert math.isnan(nan)
    assert infinity == -math.inf
    assert isinstance(zero, float)
    assert math.copysign(1, zero) == -1


@given(st.binary(max_size=200))
def test_no_octets_make_the_decoder_raise_anything_but_its_own_error(octets: bytes) -> None:
    try:
        values = decode_all(octets)
    except DecodeError:
        return
    assert len(values) <= len(octets)
    hash(repr(values))


@given(st.binary(max_size=300))
def test_every_character_string_is_a_text_that_can_be_stored(octets: bytes) -> None:
    (text,) = decode_all(encode_tag(7, False, len(octets)) + octets)
    assert isinstance(text, str)
    text.encode()


@given(st.integers(0, 2**64 - 1))
def test_an_unsigned_is_written_in_the_fewest_octets(number: int) -> None:
    octets = encode_unsigned(number)
    assert int.from_bytes(octets, "big") == number
    assert len(octets) == 1 or octets[0] != 0
    assert decode_all(encode_tag(2, False, len(octets)) + octets) == (number,)


@given(st.integers(0, 1023), st.integers(0, 0x3FFFFF))
def test_an_object_identifier_is_read_as_it_was_written(object_type: int, instance: int) -> None:
    octets = encode_object_id(ObjectId(object_type, instance))
    assert decode_all(b"\xc4" + octets) == (ObjectId(object_type, instance),)
    assert encode_context(0, octets) == b"\x0c" + octets


@given(st.floats(width=32))
def test_a_real_is_read_bit_by_bit(number: float) -> None:
    (decoded,) = decode_all(b"\x44" + struct.pack(">f", number))
    assert isinstance(decoded, float)
    assert struct.pack(">f", decoded) == struct.pack(">f", number)
