"""What may be written to a point, and what is compared with what was read back."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms_iot.bacnet.values.text import number_text
from bms_iot.domain.points import ObjectType
from bms_iot.domain.writing import WrittenValue, checked_priority, is_same, written_value
from bms_iot.errors import InvalidInput

ANALOG, BINARY, STATE = ObjectType.ANALOG_VALUE, ObjectType.BINARY_OUTPUT, ObjectType.MULTI_STATE_VALUE


@pytest.mark.parametrize(
    ("object_type", "value", "written"),
    [
        (ANALOG, 21.5, 21.5),
        (ANALOG, "21.5", 21.5),
        (ANALOG, " -3 ", -3.0),
        (ANALOG, 7, 7.0),
        (ANALOG, 21.7, struct.unpack("<f", struct.pack("<f", 21.7))[0]),
        (BINARY, "active", True),
        (BINARY, "Inactive", False),
        (BINARY, True, True),
        (BINARY, 0, False),
        (BINARY, 1.0, True),
        (BINARY, "false", False),
        (STATE, 3, 3),
        (STATE, "2", 2),
        (STATE, 4.0, 4),
        (ANALOG, None, None),
        (BINARY, None, None),
        (STATE, None, None),
    ],
)
def test_a_value_is_taken_as_the_type_of_the_object_has_it(object_type: ObjectType, value: object, written: WrittenValue) -> None:
    taken = written_value(object_type, value)
    assert taken == written
    assert type(taken) is type(written)


@pytest.mark.parametrize(
    ("object_type", "value"),
    [
        (ANALOG, "warm"),
        (ANALOG, True),
        (ANALOG, math.nan),
        (ANALOG, math.inf),
        (ANALOG, "-inf"),
        (ANALOG, 1e39),
        (ANALOG, 10**400),
        (ANALOG, [1]),
        (BINARY, 2),
        (BINARY, "open"),
        (BINARY, 0.5),
        (STATE, 0),
        (STATE, -1),
        (STATE, 1.5),
        (STATE, True),
        (STATE, "nan"),
        (STATE, 2**32),
        (STATE, "high"),
    ],
)
def test_what_the_type_cannot_hold_is_refused_with_what_fits(object_type: ObjectType, value: object) -> None:
    with pytest.raises(InvalidInput) as refused:
        written_value(object_type, value)
    assert refused.value.hint


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-3.4e38, max_value=3.4e38))
def test_an_analog_value_is_the_same_when_it_is_read_back(value: float) -> None:
    written = written_value(ANALOG, value)
    assert isinstance(written, float)
    assert is_same(ANALOG, written, number_text(written))


def test_what_is_read_back_is_compared_as_the_type_has_it() -> None:
    assert is_same(ANALOG, written_value(ANALOG, 21.7), "21.700000762939453")
    assert not is_same(ANALOG, written_value(ANALOG, 21.7), "21.70001")
    assert not is_same(ANALOG, 21.5, "nan")
    assert not is_same(ANALOG, 21.5, "1e300")
    assert not is_same(ANALOG, 21.5, None)
    assert is_same(BINARY, True, "active")
    assert not is_same(BINARY, True, "inactive")
    assert is_same(STATE, 3, "3")
    assert not is_same(STATE, 3, "three")


@pytest.mark.parametrize("priority", [0, 17, -1, 6])
def test_priorities_that_nobody_may_write_with_are_refused(priority: int) -> None:
    with pytest.raises(InvalidInput):
        checked_priority(priority)


def test_all_other_priorities_are_taken() -> None:
    assert [checked_priority(n) for n in range(1, 17) if n != 6] == [1, 2, 3, 4, 5, *range(7, 17)]
