"""Writing and COV on the wire: the octets of ASHRAE 135 annex F, and round trips."""

import math
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms_iot.bacnet.apdu import PropertyError
from bms_iot.bacnet.services.cov import (
    Notification,
    decode_any_notification,
    decode_notification,
    encode_cancel_cov,
    encode_subscribe_cov,
)
from bms_iot.bacnet.services.reading import PropertyReference
from bms_iot.bacnet.services.writing import (
    PropertyWrite,
    decode_write_property_multiple_error,
    encode_write_property,
    encode_write_property_multiple,
)
from bms_iot.bacnet.values.codec import (
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
    Value,
    decode_all,
)
from bms_iot.bacnet.values.encoding import encode_value

AV_1, AI_10 = ObjectId(2, 1), ObjectId(0, 10)
PRESENT_VALUE, STATUS_FLAGS, PRIORITY_ARRAY = 85, 111, 87
NOTIFICATION = bytes.fromhex("0912 1c02000004 2c0000000a 3900 4e 0955 2e4442820000 2f 096f 2e820400 2f 4f")
"""Annex F.1.2: 65.0, in order, of analog-input 10 of device 4."""


def present_value(value: Value, priority: int | None = None, identifier: ObjectId = AV_1) -> PropertyWrite:
    return PropertyWrite(PropertyReference(identifier, PRESENT_VALUE), value, priority)


@pytest.mark.parametrize(
    ("write", "octets"),
    [
        pytest.param(present_value(180.0), "0c00800001 1955 3e4443340000 3f", id="annex F.3.9"),
        pytest.param(present_value(100.0, 10), "0c00800001 1955 3e4442c80000 3f 490a", id="a REAL with its priority"),
        pytest.param(present_value(None, 8), "0c00800001 1955 3e00 3f 4908", id="Null relinquishes"),
        pytest.param(present_value(Enumerated(1), 16), "0c00800001 1955 3e9101 3f 4910", id="active"),
        pytest.param(present_value(3), "0c00800001 1955 3e2103 3f", id="a state"),
        pytest.param(
            PropertyWrite(PropertyReference(AV_1, PRIORITY_ARRAY, 3), 1.0), "0c00800001 1957 2903 3e443f800000 3f", id="an element"
        ),
        pytest.param(PropertyWrite(PropertyReference(AV_1, 1000), "a"), "0c00800001 1a03e8 3e720061 3f", id="a vendor's property"),
    ],
)
def test_a_write_is_encoded(write: PropertyWrite, octets: str) -> None:
    assert encode_write_property(write) == bytes.fromhex("0005000f" + octets)


def test_writes_to_one_object_share_one_specification() -> None:
    writes = [
        present_value(67.0),
        PropertyWrite(PropertyReference(AV_1, 81), True),
        present_value(None, 8, ObjectId(1, 6)),
    ]
    expected = "00050010 0c008000011e 09552e4442860000 2f 0951 2e11 2f 1f 0c004000061e 0955 2e00 2f 3908 1f"
    assert encode_write_property_multiple(writes) == bytes.fromhex(expected)


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        ("0e9102912a0f 1e0c00800001 19551f", (PropertyError(2, 42), PropertyReference(AV_1, 85))),
        ("0e910291280f 1e0c00800001 1957 29031f", (PropertyError(2, 40), PropertyReference(AV_1, 87, 3))),
        ("0e9102912a0f", (PropertyError(2, 42), None)),
        ("9102912a", (PropertyError(2, 42), None)),
        ("", (PropertyError(0, 0), None)),
    ],
)
def test_the_write_that_failed_is_named(octets: str, expected: object) -> None:
    assert decode_write_property_multiple_error(bytes.fromhex(octets)) == expected


@pytest.mark.parametrize(
    ("octets", "request_octets"),
    [
        (encode_subscribe_cov(18, AI_10, lifetime_seconds=60, confirmed=True), "09121c0000000a2901393c"),
        (encode_subscribe_cov(300, AI_10, lifetime_seconds=3600, confirmed=False), "0a012c1c0000000a29003a0e10"),
        (encode_cancel_cov(18, AI_10), "09121c0000000a"),
    ],
)
def test_a_subscription_is_encoded(octets: bytes, request_octets: str) -> None:
    assert octets == bytes.fromhex("00050005" + request_octets)


@pytest.mark.parametrize("seconds", [0, -1, 2**32])
def test_a_lifetime_for_ever_is_refused(seconds: int) -> None:
    with pytest.raises(ValueError, match="lifetime"):
        encode_subscribe_cov(1, AI_10, lifetime_seconds=seconds, confirmed=False)


def test_a_notification_is_read() -> None:
    notification = decode_notification(NOTIFICATION)
    assert notification[:4] == (18, 4, AI_10, 0)
    assert notification.values == {
        PropertyReference(AI_10, PRESENT_VALUE): (65.0,),
        PropertyReference(AI_10, STATUS_FLAGS): (BitString((False, False, False, False)),),
    }


def test_a_notification_may_have_priorities_indexes_and_vendor_properties() -> None:
    octets = "0901 1c02000004 2c0000000a 393c 4e 0955 2e9101 2f 3908 0957 1901 2e00 2f 0a03e8 2e2107 2f 39ff 4f"
    assert decode_notification(bytes.fromhex(octets)).values == {
        PropertyReference(AI_10, PRESENT_VALUE): (Enumerated(1),),
        PropertyReference(AI_10, PRIORITY_ARRAY, 1): (None,),
        PropertyReference(AI_10, 1000): (7,),
    }


def test_a_notification_cut_off_anywhere_raises() -> None:
    for end in range(len(NOTIFICATION)):
        with pytest.raises(DecodeError):
            decode_notification(NOTIFICATION[:end])


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(NOTIFICATION.hex() + "00", id="octets behind it"),
        pytest.param("0912 1c00000004 2c0000000a 3900 4e4f", id="from no device"),
        pytest.param("0912 1c020004 2c0000000a 3900 4e4f", id="an identifier of three octets"),
        pytest.param("0912 1c02000004 2c0000000a 3900 4e 0955 3e4442820000 3f 4f", id="a value in another tag"),
    ],
)
def test_a_notification_that_is_none_raises(octets: str) -> None:
    with pytest.raises(DecodeError):
        decode_notification(bytes.fromhex(octets))


values_of_notifications = st.one_of(
    st.floats(width=32).map(lambda value: b"\x44" + struct.pack(">f", value)),
    st.integers(0, 255).map(lambda value: bytes((0x91, value))),
    st.integers(0, 255).map(lambda value: bytes((0x21, value))),
    st.sampled_from([b"", b"\x00", b"\x11", b"\x22\x01\x00", b"\x55\x08" + bytes(8), b"\x43abc"]),
)


@given(st.data())
def test_the_short_way_reads_every_notification_as_the_long_way_does(data: st.DataObject) -> None:
    remaining = data.draw(st.sampled_from([b"\x39\x3c", b"\x3a\x01\x2c", b"\x3b\x01\x00\x00", b"\x38"]))
    flags = bytes((0x82, 0x04, data.draw(st.integers(0, 255))))
    octets = bytearray(
        bytes.fromhex("0912 1c02000004 2c0000000a") + remaining + b"\x4e\x09\x55\x2e" + data.draw(values_of_notifications)
    )
    octets += b"\x2f\x09\x6f\x2e" + flags + b"\x2f\x4f"
    for _ in range(data.draw(st.integers(0, 2))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    short, long = (outcome_of(decode, bytes(octets)) for decode in (decode_notification, decode_any_notification))
    assert short == long


def outcome_of(decode: Callable[[bytes], Notification], octets: bytes) -> object:
    """What it decodes, comparable also where it is NaN; None for what it refuses."""
    try:
        notification = decode(octets)
    except DecodeError:
        return None
    values = {reference: tuple(map(bits_of, read)) for reference, read in notification.values.items()}
    return notification[:4], values


float32 = st.floats(width=32)
parts = st.one_of(st.none(), st.integers(0, 254))
primitives = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.integers(0, 2**32 - 1).map(Enumerated),
    float32,
    st.floats().map(Double),
    st.binary(max_size=300),
    st.text(max_size=80),
    st.lists(st.booleans(), max_size=40).map(BitString),
    st.builds(Date, st.one_of(st.none(), st.integers(1900, 2154)), parts, parts, parts),
    st.builds(Time, parts, parts, parts, parts),
    st.builds(ObjectId, st.integers(0, 1023), st.integers(0, 2**22 - 1)),
    st.builds(RawValue, st.just(13), st.binary(max_size=10)),
    st.builds(ContextValue, st.integers(0, 254), st.binary(max_size=10)),
)
values = st.recursive(
    primitives, lambda inner: st.builds(Constructed, st.integers(0, 254), st.lists(inner, max_size=4).map(tuple)), max_leaves=8
)


def bits_of(value: Value) -> object:
    """The value, comparable also where it is NaN."""
    if isinstance(value, Constructed):
        return value.tag, tuple(map(bits_of, value.items))
    if isinstance(value, float):
        return type(value), "nan" if math.isnan(value) else struct.pack(">d", value)
    return type(value), value


@given(st.lists(values, max_size=5))
def test_every_value_is_read_back_as_it_was_written(written: list[Value]) -> None:
    octets = b"".join(map(encode_value, written))
    assert list(map(bits_of, decode_all(octets))) == list(map(bits_of, written))


DECODERS = (decode_notification, decode_write_property_multiple_error)


@given(st.sampled_from(DECODERS), st.binary(max_size=100))
def test_no_octets_raise_anything_but_the_decoders_own_error(decode: Callable[[bytes], object], octets: bytes) -> None:
    try:
        decode(octets)
    except DecodeError:
        return


@given(st.data())
def test_no_mutation_of_a_notification_raises_anything_but_the_decoders_own_error(data: st.DataObject) -> None:
    octets = bytearray(NOTIFICATION)
    for _ in range(data.draw(st.integers(1, 5))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    try:
        notification = decode_notification(bytes(octets))
    except DecodeError:
        return
    assert all(reference.object == notification.object for reference in notification.values)
