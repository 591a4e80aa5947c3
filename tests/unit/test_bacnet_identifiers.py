"""Identifiers as people spell them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms_iot.bacnet.identifiers import object_text, parse_device, parse_object, parse_property, property_text
from bms_iot.bacnet.values import names
from bms_iot.domain.identifiers import MAX_INSTANCE, AnyObject, AnyProperty
from bms_iot.domain.points import DeviceAddress
from bms_iot.errors import InvalidInput


@pytest.mark.parametrize(
    "text",
    [
        "AI1", "ai1", "AI:1", "AI-1", "AI 1", "AI,1", "AI_1", "analog-input,1", "analogInput 1", "analog-input:1", "analog_input 1",
        "ANALOG INPUT 1", "analogInput:1", "AnalogInput1", "0:1", "0,1", "0 1", "(analog-input, 1)", "(0, 1)", " ( AI 1 ) ",
    ],
)  # fmt: skip
def test_an_object_may_be_spelled_in_any_way(text: str) -> None:
    assert parse_object(text) == AnyObject(type=0, instance=1)


@pytest.mark.parametrize(
    ("text", "number"),
    [("MSV7", 19), ("MV:7", 19), ("multi-state-value 7", 19), ("DEV7", 8), ("device,7", 8), ("128:7", 128), ("trendLog-7", 20)],
)
def test_every_object_type_may_be_named(text: str, number: int) -> None:
    assert parse_object(text) == AnyObject(type=number, instance=7)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "a type and an instance"),
        ("AI", "a type and an instance"),
        ("1", "a type and an instance"),
        ("AI1.5", "a type and an instance"),
        ("AI-input", "a type and an instance"),
        ("AI1 AI2", "a type and an instance"),
        ("AX1", "there is no type 'AX'"),
        ("1024:1", "types are numbered 0 to 1023"),
        ("AI4194303", "instances are 0 to 4194302"),
        ("AI١", "a type and an instance"),
    ],
)
def test_what_is_no_object_is_refused_with_the_reason_and_what_to_do(text: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as refused:
        parse_object(text)
    assert refused.value.hint


def test_a_misspelled_name_is_answered_with_those_like_it() -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_object("analog-imput:1")
    assert "analog-input" in str(refused.value.hint)
    with pytest.raises(InvalidInput) as refused:
        parse_property("presentvalu")
    assert "present-value" in str(refused.value.hint)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("present-value", AnyProperty(number=85)),
        ("presentValue", AnyProperty(number=85)),
        ("PRESENT_VALUE", AnyProperty(number=85)),
        ("85", AnyProperty(number=85)),
        ("priority-array[3]", AnyProperty(number=87, index=3)),
        ("87[0]", AnyProperty(number=87, index=0)),
        ("priorityArray [ 16 ]", AnyProperty(number=87, index=16)),
        ("4000", AnyProperty(number=4000)),
    ],
)
def test_a_property_may_be_named_or_numbered(text: str, expected: AnyProperty) -> None:
    assert parse_property(text) == expected


@pytest.mark.parametrize(
    "text", ["", "[3]", "priority-array[", "priority-array[x]", "nonsense", "4194304", "87[99999999999]", "85]"]
)
def test_what_is_no_property_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_property(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1200", 1200),
        ("0", 0),
        ("192.168.1.10", DeviceAddress(host="192.168.1.10")),
        ("192.168.1.10:47809", DeviceAddress(host="192.168.1.10", port=47809)),
        ("2001:0c", DeviceAddress(host="2001:0c")),
        ("*", DeviceAddress(host="*")),
        ("2001:*", DeviceAddress(host="2001:*")),
        ("2001:C", DeviceAddress(host="2001:0c")),
        ("2001:0x0C", DeviceAddress(host="2001:0c")),
        ("7:c0a8010abac0", DeviceAddress(host="7:c0a8010abac0")),
        ("7:192.168.1.10:47808", DeviceAddress(host="7:c0a8010abac0")),
    ],
)
def test_a_device_is_an_instance_or_an_address(text: str, expected: object) -> None:
    assert parse_device(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "4194303",
        "-1",
        "192.168.1",
        "192.168.1.10:0",
        "192.168.1.10:x",
        "host",
        "0:0c",
        "65535:0c",
        "2001:",
        "2001:xyz",
        "1:1:1:1:1:1.2",
    ],
)
def test_what_is_no_device_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_device(text)


@given(st.integers(0, 1023), st.integers(0, MAX_INSTANCE))
def test_what_is_printed_is_understood(number: int, instance: int) -> None:
    identifier = AnyObject(type=number, instance=instance)
    assert parse_object(object_text(identifier)) == identifier


@given(st.sampled_from(sorted(names.PROPERTIES)), st.one_of(st.none(), st.integers(0, 1000)))
def test_what_is_printed_of_a_property_is_understood(number: int, index: int | None) -> None:
    wanted = AnyProperty(number=number, index=index)
    assert parse_property(property_text(wanted)) == wanted


@given(st.text(max_size=30))
def test_no_text_raises_anything_but_a_refusal(text: str) -> None:
    for parse in (parse_object, parse_property, parse_device):
        try:
            parse(text)
        except InvalidInput:
            continue
