"""What the cloud may write, and how often: the site's own rules, beside those of the point itself."""

from collections.abc import Sequence
from dataclasses import dataclass

from bms_iot.domain.classes import PointPattern
from bms_iot.domain.commands import SetValue
from bms_iot.domain.points import Point
from bms_iot.domain.writing import PointWrite, WrittenValue, checked_priority, is_input, written_value
from bms_iot.errors import CommandRejected, InvalidInput

PRIORITY_FLOOR = 8
"""Manual operator (ASHRAE 135 clause 19.2.1, table 19-1); those above it are for life safety and critical equipment."""
SECONDS_PER_MINUTE = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueRange:
    """What may be written to the points a pattern fits; None for no limit. For binary and multi-state: 0, 1 and state numbers."""

    low: float | None
    high: float | None
    pattern: PointPattern

    def __str__(self) -> str:
        return f"{_number(self.low)}..{_number(self.high)} {self.pattern}"

    @classmethod
    def parse(cls, text: str) -> "ValueRange":
        """`LOW..HIGH DEVICE/TYPE/NAME`, as in `18..26 */AV/*setpoint*`; either limit may be left out. Raises ValueError."""
        limits, _, pattern = text.strip().partition(" ")
        low, dots, high = limits.partition("..")
        if not dots or not pattern:
            raise ValueError(f"{text!r} is not LOW..HIGH DEVICE/TYPE/NAME, as in 18..26 */AV/*setpoint*")
        parsed = cls(low=_limit(low), high=_limit(high), pattern=PointPattern.parse(pattern.strip()))
        if parsed.low is not None and parsed.high is not None and parsed.low > parsed.high:
            raise ValueError(f"{text!r}: the lower limit is above the higher one")
        return parsed


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteRules:
    """The rules of a site. `points` are those that may be written, any where it is empty; of several ranges all count."""

    is_enabled: bool = False
    points: Sequence[PointPattern] = ()
    ranges: Sequence[ValueRange] = ()
    priority_floor: int = PRIORITY_FLOOR
    """No smaller number, which would be a higher priority."""
    default_priority: int = PRIORITY_FLOOR

    def write(self, command: SetValue, point: Point, name: str | None) -> PointWrite:
        """What is to be written to `point`, whose object-name is `name`. Raises CommandRejected."""
        if not self.is_enabled:
            raise CommandRejected("writing is off on this gateway", hint="bms-iot config set writes.enabled true")
        _require_agreement(command, point)
        if self.points and not any(pattern.fits(point, name) for pattern in self.points):
            raise CommandRejected(f"{point.object} of device {point.device.instance} is not among writes.points")
        if command.lease_seconds is not None and is_input(point.object.type):
            raise CommandRejected("leaseSeconds: an input has no priority array, so that nothing could be released")
        value = self._value(command, point, name)
        return PointWrite(point=point, value=value, priority=self._priority(command))

    def _value(self, command: SetValue, point: Point, name: str | None) -> WrittenValue:
        try:
            value = written_value(point.object.type, command.value)
        except InvalidInput as error:
            raise CommandRejected(f"presentValue: {error}; {error.hint}") from None
        if value is not None:
            for limits in (limits for limits in self.ranges if limits.pattern.fits(point, name)):
                if limits.low is not None and value < limits.low:
                    raise CommandRejected(f"presentValue: below {_number(limits.low)}, which writes.ranges allows here")
                if limits.high is not None and value > limits.high:
                    raise CommandRejected(f"presentValue: above {_number(limits.high)}, which writes.ranges allows here")
        return value

    def _priority(self, command: SetValue) -> int:
        priority = self.default_priority if command.priority is None else command.priority
        if priority < self.priority_floor:
            raise CommandRejected(f"priority: {priority} is above what this gateway may use, {self.priority_floor} to 16")
        try:
            return checked_priority(priority)
        except InvalidInput as error:
            raise CommandRejected(f"priority: {error}") from None


class RateLimit:
    """At most `per_minute` at once, and as many again in each minute (a token bucket)."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._left = float(per_minute)
        self._counted_at: float | None = None

    def take(self, now: float) -> None:
        """One more, at `now` on the monotonic clock. Raises CommandRejected that says when the next one fits."""
        if self._counted_at is not None:
            self._left = min(self._per_minute, self._left + (now - self._counted_at) * self._per_minute / SECONDS_PER_MINUTE)
        self._counted_at = now
        if self._left < 1:
            seconds = (1 - self._left) * SECONDS_PER_MINUTE / self._per_minute
            raise CommandRejected(f"too fast: {self._per_minute} writes a minute are the most; the next fits in {seconds:.1f} s")
        self._left -= 1


def _require_agreement(command: SetValue, point: Point) -> None:
    if command.controller_id is not None and command.controller_id != point.device.controller_id:
        raise CommandRejected("controllerId: the point is of another controller")
    if command.instance is not None and command.instance != point.object.instance:
        raise CommandRejected(f"pointInstanceId: the point is {point.object}")


def _limit(text: str) -> float | None:
    try:
        value = float(text) if text else None
    except ValueError:
        raise ValueError(f"{text!r} is no number") from None
    if value is not None and value != value:  # noqa: PLR0124 - only NaN is not itself
        raise ValueError(f"{text!r} is no number")
    return value


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"
