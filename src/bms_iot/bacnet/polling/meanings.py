"""What the octets of one object's results mean, remembered by the octets themselves.

A building has few different conditions and discrete values: the general decoder sees each of them once.
"""

from typing import TypeAlias

from bms_iot.bacnet.polling.convert import state_of
from bms_iot.bacnet.polling.poller import Outcome, outcome_of
from bms_iot.bacnet.services.reading import PropertyReference, decode_read_property_multiple_ack
from bms_iot.bacnet.values.codec import ObjectId
from bms_iot.domain.points import ObjectType
from bms_iot.domain.readings import Condition

MAX_REMEMBERED = 4096

State: TypeAlias = tuple[str | None, Condition]
"""The text of a present-value and what is said beside it."""

_ANALOG = ObjectType.ANALOG_VALUE
_BEFORE_REAL = b"\x29\x55\x4e\x44"
_ZERO, _NOT_A_NUMBER = b"\x00\x00\x00\x00", b"\x7f\xc0\x00\x00"


class Meanings:
    """Remembers at most so many of each kind, then starts anew."""

    def __init__(self) -> None:
        self._states: dict[tuple[int, bytes], State] = {}
        self._beside: dict[bytes, tuple[Condition, Condition]] = {}

    def state(self, object_type: int, results: bytes) -> State:
        """Of an object of that type, from all its results. Raises DecodeError."""
        key = object_type, results
        state = self._states.get(key)
        if state is None:
            if len(self._states) >= MAX_REMEMBERED:
                self._states.clear()
            state = self._states[key] = _state(object_type, results)
        return state

    def beside(self, results: bytes, *, finite: bool) -> Condition:
        """Of an analog object whose present-value is a REAL, from what follows its four octets. Raises DecodeError."""
        conditions = self._beside.get(results)
        if conditions is None:
            if len(self._beside) >= MAX_REMEMBERED:
                self._beside.clear()
            _, of_finite = _state(_ANALOG.number, _BEFORE_REAL + _ZERO + results)
            _, of_other = _state(_ANALOG.number, _BEFORE_REAL + _NOT_A_NUMBER + results)
            conditions = self._beside[results] = (of_other, of_finite)
        return conditions[finite]


def _state(number: int, results: bytes) -> State:
    """By the general decoder; the instance does not matter."""
    object_type = ObjectType.from_number(number)
    assert object_type is not None, "only points are planned"
    parameters = b"\x0c" + (number << 22).to_bytes(4, "big") + b"\x1e" + results + b"\x1f"
    outcomes: dict[PropertyReference, Outcome] = {
        result.reference: outcome_of(result.outcome) for result in decode_read_property_multiple_ack(parameters)
    }
    return state_of(object_type, ObjectId(number, 0), outcomes)
