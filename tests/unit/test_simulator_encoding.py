"""Present-values of the test mode."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms_iot.simulator import Encoding

ENCODING = Encoding.sized(devices=200, objects=50)


@given(device=st.integers(1, 200), position=st.integers(1, 50), tick=st.integers(0, 10**6))
def test_an_analog_value_is_exact_in_a_real_and_says_what_it_is_of(device, position, tick):
    value = ENCODING.analog(device, position, tick)
    (as_real,) = struct.unpack(">f", struct.pack(">f", value))
    assert as_real == value
    assert ENCODING.decode(as_real) == (device, position, tick % 2**ENCODING.sequence_bits)


def test_consecutive_ticks_change_every_analog_value():
    assert ENCODING.analog(3, 4, 10) != ENCODING.analog(3, 4, 11)


POINTS = st.tuples(st.integers(1, 11), st.integers(1, 44))


@given(first=POINTS, second=POINTS)
def test_two_binary_points_differ_in_half_of_the_ticks(first: tuple[int, int], second: tuple[int, int]) -> None:
    encoding = Encoding.sized(devices=11, objects=44)
    period = 2**encoding.sequence_bits
    differing = sum(
        encoding.binary(first[0], first[1], tick) != encoding.binary(second[0], second[1], tick) for tick in range(period)
    )
    assert differing == (0 if first == second else period // 2)


@given(states=st.integers(2, 9), tick=st.integers(0, 5000))
def test_a_multi_state_value_is_one_of_the_states(states, tick):
    assert 1 <= ENCODING.multi_state(7, 3, tick, states) <= states


@pytest.mark.parametrize("value", [0.5, -1.0, float(2**24), 1e30])
def test_a_number_that_is_no_value_of_the_test_mode_is_refused(value):
    with pytest.raises(ValueError, match="no value of the test mode"):
        ENCODING.decode(value)


def test_more_points_than_a_real_can_tell_apart_are_refused():
    with pytest.raises(ValueError, match="too many"):
        Encoding.sized(devices=2000, objects=4000)
