"""Values of every kind become readings, and their columns."""

import json
import math
import struct
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms_iot.bacnet.polling.convert import INVALID_DATA_TYPE, NOT_INITIALIZED, present_value, references_of, to_reading
from bms_iot.bacnet.polling.optional import OPTIONAL_NUMBERS, NoValue, optional_value
from bms_iot.bacnet.polling.poller import Outcome
from bms_iot.bacnet.services.reading import PropertyReference, PropertyValues
from bms_iot.bacnet.values.codec import (
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
    decode_all,
)
from bms_iot.bacnet.values.text import number_text
from bms_iot.domain.points import Device, DeviceAddress, ObjectIdentifier, ObjectType, Point
from bms_iot.domain.readings import JSON_PROPERTIES, OPTIONAL_PROPERTIES, OptionalValue, Quality, ReadingError, StatusFlag

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
DEVICE = Device(address=DeviceAddress(host="10.0.0.7"), instance=1200, controller_id="controller")
ANALOG, BINARY, MULTI_STATE = ObjectType.ANALOG_INPUT, ObjectType.BINARY_VALUE, ObjectType.MULTI_STATE_VALUE
REFUSED = ReadingError(error_class="property", error_code="read-access-denied")


def float32(number: float) -> float:
    (rounded,) = struct.unpack(">f", struct.pack(">f", number))
    return float(rounded)


def point(object_type: ObjectType = ANALOG) -> Point:
    identifier = ObjectIdentifier(type=object_type, instance=3)
    return Point(id=17, device=DEVICE, object=identifier, iot_device_point_id="point")


def outcomes(object_type: ObjectType, **values: Outcome) -> dict[PropertyReference, Outcome]:
    """Outcomes by property, `p85` for present-value."""
    identifier = ObjectId(object_type.number, 3)
    return {PropertyReference(identifier, int(name[1:])): outcome for name, outcome in values.items()}


@pytest.mark.parametrize(
    ("object_type", "values", "text", "quality", "error"),
    [
        (ANALOG, (float32(21.7),), "21.7", Quality.GOOD, None),
        (ANALOG, (21.0,), "21", Quality.GOOD, None),
        (ANALOG, (-0.0,), "-0", Quality.GOOD, None),
        (ANALOG, (Double(21.700000762939453),), "21.700000762939453", Quality.GOOD, None),
        (ANALOG, (72,), "72", Quality.GOOD, None),
        (ANALOG, (math.nan,), "nan", Quality.UNCERTAIN, None),
        (ANALOG, (math.inf,), "inf", Quality.UNCERTAIN, None),
        (ANALOG, (-math.inf,), "-inf", Quality.UNCERTAIN, None),
        (ANALOG, ("21,7 °C",), "21,7 °C", Quality.UNCERTAIN, None),
        (ANALOG, ("a\0b",), "ab", Quality.UNCERTAIN, None),
        (ANALOG, (b"\x01\xff",), "01ff", Quality.UNCERTAIN, None),
        (ANALOG, (None,), None, Quality.BAD, NOT_INITIALIZED),
        (ANALOG, (), None, Quality.BAD, NOT_INITIALIZED),
        (ANALOG, (1.0, 2.0), None, Quality.BAD, INVALID_DATA_TYPE),
        (ANALOG, (RawValue(4, b"\x01"),), None, Quality.BAD, INVALID_DATA_TYPE),
        (ANALOG, (Constructed(0, ()),), None, Quality.BAD, INVALID_DATA_TYPE),
        (ANALOG, REFUSED, None, Quality.BAD, REFUSED),
        (BINARY, (Enumerated(1),), "active", Quality.GOOD, None),
        (BINARY, (Enumerated(0),), "inactive", Quality.GOOD, None),
        (BINARY, (True,), "active", Quality.GOOD, None),
        (BINARY, (0,), "inactive", Quality.GOOD, None),
        (BINARY, (1.0,), "active", Quality.GOOD, None),
        (BINARY, (Enumerated(7),), "7", Quality.GOOD, None),
        (MULTI_STATE, (3,), "3", Quality.GOOD, None),
        (MULTI_STATE, (Enumerated(3),), "3", Quality.GOOD, None),
        (MULTI_STATE, (3.0,), "3", Quality.GOOD, None),
    ],
)
def test_a_present_value_becomes_a_text_with_a_quality(
    object_type: ObjectType, values: Outcome, text: str | None, quality: Quality, error: ReadingError | None
) -> None:
    assert present_value(object_type, values) == (text, quality, error)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.1, "0.1"),
        (16777216.0, "16777216"),
        (1e10, "10000000000"),
        (1e16, "1e16"),
        (1e-7, "1e-7"),
        (3.4028235e38, "3.4028235e38"),
        (1e-45, "1e-45"),
    ],
)
def test_a_real_is_written_with_the_fewest_digits(number: float, text: str) -> None:
    assert number_text(float32(number)) == text


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_the_text_of_a_real_gives_the_same_float32_back_and_no_shorter_one_does(number: float) -> None:
    text = number_text(number)
    assert struct.pack(">f", float(text)) == struct.pack(">f", number)
    digits = len(text.split("e")[0].strip("-").replace(".", "").strip("0"))
    if digits > 1:
        shorter = float(f"{number:.{digits - 1}g}")
        assert abs(shorter) > 3.4028235e38 or struct.pack(">f", shorter) != struct.pack(">f", number)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_text_of_a_double_gives_the_same_double_back(number: float) -> None:
    assert float(number_text(Double(number))) == number


def test_a_reading_has_the_properties_beside_the_value() -> None:
    reading = to_reading(
        point(),
        outcomes(
            ANALOG,
            p85=(float32(21.7),),
            p111=(BitString((True, False, True, True)),),
            p36=(Enumerated(3),),
            p81=(True,),
            p103=(Enumerated(0),),
        ),
        NOW,
        optional=False,
    )
    assert (reading.point_id, reading.acquired_at, reading.present_value, reading.error) == (17, NOW, "21.7", None)
    assert reading.status_flags == (StatusFlag.IN_ALARM, StatusFlag.OVERRIDDEN, StatusFlag.OUT_OF_SERVICE)
    assert (reading.event_state, reading.out_of_service, reading.reliability) == ("high-limit", True, "no-fault-detected")
    assert reading.quality is Quality.GOOD
    assert reading.optional is None


@pytest.mark.parametrize(
    ("flags", "reliability", "quality"),
    [
        ((False, True, False, False), 0, Quality.UNCERTAIN),
        ((False, False, False, False), 7, Quality.UNCERTAIN),
        ((False, False, False, False), 900, Quality.UNCERTAIN),
        ((True, False, True, True), 0, Quality.GOOD),
        ((False, True), 0, Quality.UNCERTAIN),
    ],
)
def test_a_fault_makes_a_value_uncertain_and_leaves_its_text(flags: tuple[bool, ...], reliability: int, quality: Quality) -> None:
    answered = outcomes(ANALOG, p85=(1.5,), p111=(BitString(flags),), p103=(Enumerated(reliability),))
    reading = to_reading(point(), answered, NOW, optional=False)
    assert (reading.present_value, reading.quality) == ("1.5", quality)


def test_vendor_states_are_numbers_and_what_was_not_read_is_none() -> None:
    answered = outcomes(ANALOG, p85=(1.5,), p36=(Enumerated(64),), p103=(Enumerated(1000),), p81=REFUSED, p111=("odd",))
    reading = to_reading(point(), answered, NOW, optional=False)
    assert (reading.event_state, reading.reliability, reading.out_of_service, reading.status_flags) == ("64", "1000", None, ())


def test_a_present_value_nobody_answered_is_bad() -> None:
    reading = to_reading(point(), {}, NOW, optional=False)
    assert reading.quality is Quality.BAD
    assert reading.error is not None


def test_every_optional_column_is_asked_for_by_its_property() -> None:
    assert tuple(OPTIONAL_NUMBERS) == OPTIONAL_PROPERTIES
    asked = {reference.property for reference in references_of(point(), optional=True)}
    assert asked == {85, 111, 36, 81, 103, *OPTIONAL_NUMBERS.values()}
    assert len(asked) == 5 + len(OPTIONAL_PROPERTIES)


NULLS: list[object] = [None] * 16
MOMENT = Constructed(2, (Date(2026, 11, 22, 7), Time(8, 30, 5, 7)))
NO_MOMENT = Constructed(2, (Date(None, None, None, None), Time(None, None, None, None)))
ALL_EVENTS = {"toOffnormal": True, "toFault": False, "toNormal": True}


@pytest.mark.parametrize(
    ("column", "object_type", "values", "converted"),
    [
        ("high_limit", ANALOG, (float32(21.7),), 21.7),
        ("low_limit", ANALOG, (Double(21.7),), 21.7),
        ("resolution", ANALOG, (1,), 1.0),
        ("relinquish_default", BINARY, (Enumerated(1),), 1.0),
        ("time_delay", ANALOG, (30,), 30),
        ("notification_class", ANALOG, (4.0,), 4),
        ("notify_type", ANALOG, (Enumerated(1),), "event"),
        ("notify_type", ANALOG, (Enumerated(9),), "9"),
        ("limit_enable", ANALOG, (BitString((True, False)),), {"lowLimitEnable": True, "highLimitEnable": False}),
        ("event_enable", ANALOG, (BitString((True, False, True)),), ALL_EVENTS),
        ("acked_transitions", ANALOG, (BitString((True, False, True, True)),), ALL_EVENTS),
        ("event_enable", ANALOG, (BitString((True,)),), {"toOffnormal": True, "toFault": False, "toNormal": False}),
        ("event_detection_enable", ANALOG, (True,), True),
        ("event_algorithm_inhibit", ANALOG, (Enumerated(0),), False),
        ("priority_array", ANALOG, (None,) * 7 + (float32(21.7),) + (None,) * 8, [*NULLS[:7], 21.7, *NULLS[:8]]),
        ("priority_array", ANALOG, (None, None, 1.0), [None, None, 1.0, *NULLS[:13]]),
        ("priority_array", BINARY, (Enumerated(1),) + (None,) * 15, [True, *NULLS[:15]]),
        ("priority_array", MULTI_STATE, (2,) + (None,) * 15, [2, *NULLS[:15]]),
        ("priority_array", ANALOG, (Constructed(0, (3.5,)), math.nan) + (None,) * 14, [3.5, "nan", *NULLS[:14]]),
        ("event_message_texts", ANALOG, ("to off", "", "normal"), ["to off", "", "normal"]),
        ("event_time_stamps", ANALOG, (MOMENT, NO_MOMENT, ContextValue(1, b"\x07")), ["2026-11-22T08:30:05.07", None, 7]),
        ("event_time_stamps", ANALOG, (ContextValue(0, b"\x08\x1e\x05\x07"), ContextValue(0, b"\xff" * 4)), ["08:30:05.07", None]),
        (
            "event_algorithm_inhibit_ref",
            ANALOG,
            (ContextValue(0, bytes.fromhex("01400001")), ContextValue(1, b"\x55")),
            {"objectIdentifier": "binaryValue:1", "propertyIdentifier": "presentValue", "arrayIndex": None},
        ),
        (
            "event_algorithm_inhibit_ref",
            ANALOG,
            (ContextValue(0, bytes.fromhex("32000001")), ContextValue(1, b"\x03\xe8"), ContextValue(2, b"\x04")),
            {"objectIdentifier": "200:1", "propertyIdentifier": "1000", "arrayIndex": 4},
        ),
    ],
)
def test_an_optional_property_becomes_what_its_column_holds(
    column: str, object_type: ObjectType, values: PropertyValues, converted: OptionalValue
) -> None:
    assert optional_value(column, object_type, values) == converted
    assert type(optional_value(column, object_type, values)) is type(converted)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("high_limit", math.nan),
        ("high_limit", "high"),
        ("time_delay", 2**64),
        ("time_delay", 1.5),
        ("time_delay", math.inf),
        ("limit_enable", 3),
        ("event_detection_enable", 3),
        ("event_algorithm_inhibit_ref", ContextValue(0, b"\x01")),
    ],
)
def test_a_value_its_column_has_no_place_for_is_left_out(column: str, value: Value) -> None:
    with pytest.raises(NoValue):
        optional_value(column, ANALOG, (value,))
    answered: dict[PropertyReference, Outcome] = {PropertyReference(ObjectId(0, 3), OPTIONAL_NUMBERS[column]): (value,)}
    assert to_reading(point(), answered, NOW, optional=True).optional == {}


@given(st.sampled_from(OPTIONAL_PROPERTIES), st.sampled_from(ObjectType), st.binary(max_size=60))
def test_whatever_a_device_sends_becomes_a_reading_that_can_be_stored_and_sent(
    column: str, object_type: ObjectType, octets: bytes
) -> None:
    try:
        values = decode_all(octets)
    except ValueError:
        values = ()
    answered = outcomes(object_type, p85=values, p111=values, p36=values, p81=values, p103=values)
    answered[PropertyReference(ObjectId(object_type.number, 3), OPTIONAL_NUMBERS[column])] = values
    reading = to_reading(point(object_type), answered, NOW, optional=True)
    assert (reading.present_value is None) == (reading.error is not None)
    assert reading.optional is not None
    json.dumps(dict(reading.optional), allow_nan=False).encode()
    assert {name for name, value in reading.optional.items() if isinstance(value, (list, dict))} <= JSON_PROPERTIES
