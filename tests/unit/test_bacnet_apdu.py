"""PDUs and services, byte by byte; the examples are those of ASHRAE 135 annex F."""

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms_iot.bacnet.apdu import (
    Abort,
    ComplexAck,
    ConfirmedRequest,
    Error,
    PropertyError,
    Reject,
    Segment,
    SegmentAck,
    SimpleAck,
    UnconfirmedRequest,
    invoke_id_of,
    parse_apdu,
)
from bms_iot.bacnet.services.reading import (
    PropertyReference,
    PropertyResult,
    PropertyValues,
    decode_read_property_ack,
    decode_read_property_multiple_ack,
    encode_read_property,
    encode_read_property_multiple,
)
from bms_iot.bacnet.services.who_is import IAm, decode_i_am, encode_who_is
from bms_iot.bacnet.values.codec import Constructed, ContextValue, DecodeError, Enumerated, ObjectId, RawValue


def float32(octets: str) -> float:
    (number,) = struct.unpack(">f", bytes.fromhex(octets))
    return float(number)


AI_5, AI_16, DEVICE = ObjectId(0, 5), ObjectId(0, 16), ObjectId(8, 4002)
RPM_ACK = bytes.fromhex("0c000000101e 29554e444290999a4f 29674e91004f 1f")


@pytest.mark.parametrize(
    ("request_", "octets"),
    [
        pytest.param(encode_read_property(PropertyReference(AI_5, 85)), "0005000c 0c00000005 1955", id="ReadProperty, F.3.5"),
        pytest.param(
            encode_read_property(PropertyReference(DEVICE, 76, 0)), "0005000c 0c02000fa2 194c 2900", id="ReadProperty of a length"
        ),
        pytest.param(
            encode_read_property_multiple([PropertyReference(AI_16, 85), PropertyReference(AI_16, 103)]),
            "0005000e 0c00000010 1e 0955 0967 1f",
            id="ReadPropertyMultiple, F.3.7",
        ),
        pytest.param(
            encode_read_property_multiple([PropertyReference(AI_16, 351, 2), PropertyReference(AI_5, 85)]),
            "0005000e 0c00000010 1e 0a015f 1902 1f 0c00000005 1e 0955 1f",
            id="ReadPropertyMultiple of two objects, one by index",
        ),
        pytest.param(encode_who_is(3, 3), "1008 0903 1903", id="Who-Is of one device, F.4"),
        pytest.param(encode_who_is(), "1008", id="Who-Is of every device, F.4"),
        pytest.param(encode_who_is(low=1000), "1008 0a03e8 1b3fffff", id="Who-Is from an instance upwards"),
        pytest.param(encode_who_is(high=9), "1008 0900 1909", id="Who-Is up to an instance"),
    ],
)
def test_a_request_is_written_as_the_standard_says(request_: bytes, octets: str) -> None:
    assert request_ == bytes.fromhex(octets)


@pytest.mark.parametrize(
    ("octets", "pdu"),
    [
        ("00f5010c0c00000005", ConfirmedRequest(invoke_id=1, service=12, parameters=bytes.fromhex("0c00000005"))),
        ("0875010002 0c", ConfirmedRequest(invoke_id=1, service=12, segmented=True)),
        ("1008", UnconfirmedRequest(service=8, parameters=b"")),
        ("20070f", SimpleAck(invoke_id=7, service=15)),
        ("30010c0c", ComplexAck(invoke_id=1, service=12, parameters=b"\x0c")),
        (
            "3c0100050caa",
            Segment(invoke_id=1, service=12, parameters=b"\xaa", more_follows=True, sequence=0, window=5),
        ),
        ("380103010c", Segment(invoke_id=1, service=12, parameters=b"", more_follows=False, sequence=3, window=1)),
        ("40010001", SegmentAck(invoke_id=1)),
        ("50090c9102911f", Error(invoke_id=9, service=12, error=PropertyError(2, 31), parameters=bytes.fromhex("9102911f"))),
        (
            "50090e0e9102911f0f00",
            Error(invoke_id=9, service=14, error=PropertyError(2, 31), parameters=bytes.fromhex("0e9102911f0f00")),
        ),
        ("50090c", Error(invoke_id=9, service=12, error=PropertyError(0, 0))),
        ("50090c920123", Error(invoke_id=9, service=12, error=PropertyError(0x123, 0), parameters=bytes.fromhex("920123"))),
        ("601909", Reject(invoke_id=25, reason=9)),
        ("710a04", Abort(invoke_id=10, reason=4)),
        ("700a04", Abort(invoke_id=10, reason=4)),
    ],
)
def test_a_pdu_is_read(octets: str, pdu: object) -> None:
    assert parse_apdu(bytes.fromhex(octets)) == pdu


@pytest.mark.parametrize(
    "octets", ["", "30", "3001", "20", "60", "6001", "50", "5001", "3801", "80", "f0010203", "00", "10", "50010c91"]
)
def test_a_header_cut_off_or_of_no_type_raises(octets: str) -> None:
    with pytest.raises(DecodeError):
        parse_apdu(bytes.fromhex(octets))


@pytest.mark.parametrize(
    ("octets", "invoke_id"), [("3007", 7), ("5007", 7), ("7107", 7), ("30", None), ("", None), ("1007", None), ("8007", None)]
)
def test_the_invoke_id_of_a_damaged_answer_is_found_where_it_is(octets: str, invoke_id: int | None) -> None:
    assert invoke_id_of(bytes.fromhex(octets)) == invoke_id


def test_an_i_am_is_read() -> None:
    parameters = bytes.fromhex("c402000003 220400 9103 2163")
    assert decode_i_am(parameters) == IAm(instance=3, max_apdu=1024, segmentation=3, vendor_id=99)


@pytest.mark.parametrize(
    "octets", ["", "c400000003 220400 9103 2163", "c402000003 220400 9103", "c402000003", "c4020000", "2103 2103 2103 2103"]
)
def test_an_i_am_of_anything_else_raises(octets: str) -> None:
    with pytest.raises(DecodeError):
        decode_i_am(bytes.fromhex(octets))


def test_a_read_property_ack_is_read() -> None:
    result = decode_read_property_ack(bytes.fromhex("0c00000005 1955 3e444290999a3f"))
    assert result.reference == PropertyReference(AI_5, 85)
    assert result.outcome == (float32("4290999a"),)


def test_a_read_property_ack_of_an_element_has_its_index() -> None:
    result = decode_read_property_ack(bytes.fromhex("0c02000fa2 194c 2900 3e 22012c 3f"))
    assert result == PropertyResult(PropertyReference(DEVICE, 76, 0), (300,))


@pytest.mark.parametrize(
    "octets",
    [
        "",
        "0c00000005",
        "0c00000005 1955",
        "0c00000005 1955 3e44429099",
        "0c00000005 1955 3e444290999a",
        "0c00000005 1955 3e444290999a3f 00",
        "0b000005 1955 3e003f",
        "0c00000005 18 3e003f",
    ],
)
def test_a_read_property_ack_cut_off_or_too_long_raises(octets: str) -> None:
    with pytest.raises(DecodeError):
        decode_read_property_ack(bytes.fromhex(octets))


def test_a_read_property_multiple_ack_is_read() -> None:
    present_value, reliability = decode_read_property_multiple_ack(RPM_ACK)
    assert present_value == PropertyResult(PropertyReference(AI_16, 85), (float32("4290999a"),))
    assert reliability == PropertyResult(PropertyReference(AI_16, 103), (Enumerated(0),))


def test_errors_stand_beside_values() -> None:
    octets = "0c000000211e 29554e44422933334f 1f 0c000000321e 29554e4443d9d99a4f 1f 0c000000231e 29555e9101911f5f 1f"
    first, second, third = decode_read_property_multiple_ack(bytes.fromhex(octets))
    assert first.outcome == (float32("42293333"),)
    assert second.outcome == (float32("43d9d99a"),)
    assert third == PropertyResult(PropertyReference(ObjectId(0, 35), 85), PropertyError(1, 31))


@pytest.mark.parametrize(
    ("value", "outcome"),
    [
        pytest.param("", (), id="no value"),
        pytest.param("00", (None,), id="NULL"),
        pytest.param("55083ff8000000000000", (1.5,), id="a double"),
        pytest.param("11", (True,), id="a boolean"),
        pytest.param("2103", (3,), id="an unsigned"),
        pytest.param("00 00 4441ad999a", (None, None, float32("41ad999a")), id="a priority array of three"),
        pytest.param("0e 9101 0f", (Constructed(0, (Enumerated(1),)),), id="a constructed entry"),
        pytest.param("4142", (RawValue(4, b"\x42"),), id="a REAL of one octet"),
        pytest.param("d2abcd", (RawValue(13, b"\xab\xcd"),), id="a reserved tag"),
        pytest.param("f2c8 aabb", (RawValue(200, b"\xaa\xbb"),), id="an extended tag"),
        pytest.param("4e11 4f", (Constructed(4, (True,)),), id="the tag of values inside a value"),
        pytest.param("0902 1955", (ContextValue(0, b"\x02"), ContextValue(1, b"\x55")), id="context tags"),
        pytest.param("70", ("",), id="a character string without its character set"),
    ],
)
def test_an_odd_value_does_not_spoil_its_neighbours(value: str, outcome: PropertyValues) -> None:
    octets = f"0c000000101e 29554e444290999a4f 29574e {value} 4f 2a03e84e21074f 29675e91025f 1f"
    before, odd, vendor, after = decode_read_property_multiple_ack(bytes.fromhex(octets))
    assert before.outcome == (float32("4290999a"),)
    assert odd == PropertyResult(PropertyReference(AI_16, 87), outcome)
    assert vendor == PropertyResult(PropertyReference(AI_16, 1000), (7,))
    assert after.outcome == PropertyError(2, 0)


def test_a_read_property_multiple_ack_cut_off_anywhere_inside_an_object_raises() -> None:
    for end in range(len(RPM_ACK)):
        with pytest.raises(DecodeError):
            decode_read_property_multiple_ack(RPM_ACK[:end])


@pytest.mark.parametrize("garbage", ["00", "ff", "0c00", "1f", "4e004f", "0c00000010"])
def test_octets_behind_a_read_property_multiple_ack_raise(garbage: str) -> None:
    with pytest.raises(DecodeError):
        decode_read_property_multiple_ack(RPM_ACK + bytes.fromhex(garbage))


DECODERS = (parse_apdu, decode_i_am, decode_read_property_ack, decode_read_property_multiple_ack)


@given(st.sampled_from(DECODERS), st.binary(max_size=200))
def test_no_octets_raise_anything_but_the_decoders_own_error(decode: Callable[[bytes], object], octets: bytes) -> None:
    try:
        decode(octets)
    except DecodeError:
        return


@given(st.data())
def test_no_mutation_of_a_reply_raises_anything_but_the_decoders_own_error(data: st.DataObject) -> None:
    octets = bytearray(RPM_ACK * data.draw(st.integers(1, 4)))
    for _ in range(data.draw(st.integers(1, 5))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    try:
        results = decode_read_property_multiple_ack(bytes(octets))
    except DecodeError:
        return
    assert all(isinstance(result.outcome, (tuple, PropertyError)) for result in results)
