"""Identity of points and types of values."""

import uuid

import pytest

from bms_iot.domain.points import ObjectIdentifier, ObjectType, new_point_id
from bms_iot.domain.readings import typed_value

OBJECT = ObjectIdentifier(type=ObjectType.ANALOG_INPUT, instance=1)


def test_a_new_points_key_is_the_uuid5_of_its_identity():
    expected = str(uuid.uuid5(uuid.NAMESPACE_URL, "c-1200-analogInput-1"))
    assert new_point_id("c", 1200, OBJECT, taken=set()) == expected
    second = str(uuid.uuid5(uuid.NAMESPACE_URL, "c-1200-analogInput-1-2"))
    assert new_point_id("c", 1200, OBJECT, taken={expected}) == second
    third = str(uuid.uuid5(uuid.NAMESPACE_URL, "c-1200-analogInput-1-3"))
    assert new_point_id("c", 1200, OBJECT, taken={expected, second}) == third


@pytest.mark.parametrize(
    ("object_type", "text", "value"),
    [
        (ObjectType.ANALOG_INPUT, "21.7", 21.7),
        (ObjectType.ANALOG_INPUT, "nan", None),
        (ObjectType.ANALOG_INPUT, "-inf", None),
        (ObjectType.ANALOG_VALUE, "open", "open"),
        (ObjectType.BINARY_VALUE, "active", True),
        (ObjectType.BINARY_VALUE, "inactive", False),
        (ObjectType.MULTI_STATE_VALUE, "3", 3),
        (ObjectType.MULTI_STATE_VALUE, None, None),
    ],
)
def test_a_text_gets_the_type_of_its_object(object_type, text, value):
    typed = typed_value(object_type, text)
    assert typed == value
    assert type(typed) is type(value)


def test_types_and_numbers_of_the_standard_agree_both_ways():
    for object_type in ObjectType:
        assert ObjectType.from_number(object_type.number) is object_type
    assert ObjectType.from_number(8) is None
