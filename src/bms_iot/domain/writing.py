"""Writing a present-value: the value, the priority it is written with, and what came of it."""

import enum
import math
import struct
from dataclasses import dataclass

from bms_iot.domain.points import ObjectType, Point
from bms_iot.domain.readings import ReadingError
from bms_iot.errors import InvalidInput

LOWEST_PRIORITY = 16
MINIMUM_TIMES_PRIORITY = 6
"""Reserved for minimum on and off times (ASHRAE 135 clause 19.2.3)."""

WrittenValue = float | int | bool | None
"""A float that is a float32 for analog, a bool for binary, a state number for multi-state; None relinquishes."""

_ACTIVE = {"active": True, "inactive": False, "true": True, "false": False, "on": True, "off": False, "1": True, "0": False}
_FLOAT32 = struct.Struct("<f")


def is_output(object_type: ObjectType) -> bool:
    """Always commandable; a value object is where it has a priority array."""
    return object_type.value.endswith("Output")


def is_input(object_type: ObjectType) -> bool:
    """Never commandable; it may be written while it is out of service."""
    return object_type.value.endswith("Input")


@dataclass(frozen=True, slots=True, kw_only=True)
class PointWrite:
    """Write `value` to a point. `priority` is used where the point is commandable, and left out where it is not."""

    point: Point
    value: WrittenValue
    priority: int = LOWEST_PRIORITY


class WriteState(enum.Enum):
    """How a write ended."""

    DONE = "done"
    """The device took it, or what was read back shows that it did."""
    REFUSED = "refused"
    """Nothing was written: the device refused, or what it says of the point rules the value out."""
    FAILED = "failed"
    """What was read back is not what was written."""
    UNKNOWN = "unknown"
    """No answer to the write, and none to reading back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotHolder:
    """The slot of the priority array that the present-value comes from, and its value as a text."""

    priority: int
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOutcome:
    """What came of a write. `before` and `after` are present-values as texts, None where they could not be read."""

    write: PointWrite
    state: WriteState
    reason: str
    """One sentence for a person."""
    before: str | None = None
    after: str | None = None
    priority: int | None = None
    """What it was written with; None where the point is not commandable."""
    is_acknowledged: bool = False
    """The device said that it took it."""
    is_read_back: bool = False
    """The written value was seen in its slot, or as the present-value where there are no slots."""
    holder: SlotHolder | None = None
    """Which slot wins, after the write; None where none does or there are no slots."""
    relinquish_default: str | None = None
    error: ReadingError | None = None
    """Error class and code when the device refused."""
    duration_seconds: float = 0.0

    @property
    def is_overruled(self) -> bool:
        """Written, but a slot of a higher priority holds the point."""
        return self.priority is not None and self.holder is not None and self.holder.priority < self.priority


def written_value(object_type: ObjectType, value: object) -> WrittenValue:
    """What is written for a value as people and JSON give it. Raises InvalidInput that says what fits."""
    if value is None:
        return None
    if object_type.is_analog:
        return _analog(value)
    return _binary(value) if object_type.is_binary else _state(value)


def checked_priority(priority: int) -> int:
    """Raises InvalidInput."""
    if not 1 <= priority <= LOWEST_PRIORITY:
        raise InvalidInput(f"{priority} is no priority", hint=f"priorities are 1 (highest) to {LOWEST_PRIORITY}")
    if priority == MINIMUM_TIMES_PRIORITY:
        raise InvalidInput("priority 6 is reserved for minimum on and off times", hint="take another, such as 8 (manual operator)")
    return priority


def float32(value: float) -> float:
    """The nearest float32. Raises OverflowError beyond its range."""
    (nearest,) = _FLOAT32.unpack(_FLOAT32.pack(value))
    return float(nearest)


def is_same(object_type: ObjectType, written: WrittenValue, text: str | None) -> bool:
    """Whether a present-value read back is what was written; of analog ones, as a float32."""
    if written is None or text is None:
        return False
    if object_type.is_binary:
        return text == ("active" if written else "inactive")
    try:
        return float32(float(text)) == written
    except (ValueError, OverflowError):
        return False


def _analog(value: object) -> float:
    number = _number(value)
    if number is None:
        raise InvalidInput(f"{value!r} is no number", hint="an analog point takes a number such as 21.5")
    if not math.isfinite(number):
        raise InvalidInput(f"{value!r} is not a finite number", hint="an analog point takes a number such as 21.5")
    try:
        return float32(number)
    except OverflowError:
        raise InvalidInput(f"{value!r} is beyond what a REAL can hold", hint="the largest is about 3.4e38") from None


def _binary(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, float) and value in (0, 1):
        value = int(value)
    state = _ACTIVE.get(str(value).strip().lower())
    if state is None:
        raise InvalidInput(f"{value!r} is no binary value", hint="a binary point takes active or inactive (true, false, 1, 0)")
    return state


def _state(value: object) -> int:
    number = _number(value)
    if number is None or not number.is_integer() or not 1 <= number < 2**32:
        raise InvalidInput(f"{value!r} is no state", hint="a multi-state point takes the number of a state, from 1")
    return int(number)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.inf if isinstance(value, int) else None
