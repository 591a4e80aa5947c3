"""Leave out of the stream what has not changed, for the classes where a site chose so. Off by default."""

from collections.abc import Mapping, Sequence

from bms_iot.domain.classes import PollingClass
from bms_iot.domain.ports import Clock
from bms_iot.domain.readings import Condition, Reading
from bms_iot.domain.reporting import ReportRule, moved
from bms_iot.gateway.state import GatewayState


class Spare:
    """Knows what was last sent of each point. After a start every point is sent once."""

    def __init__(self, *, rules: Sequence[ReportRule], clock: Clock, state: GatewayState) -> None:
        self._rules: Mapping[PollingClass, ReportRule] = {rule.polling_class: rule for rule in rules}
        self._clock, self._state = clock, state
        self._sent: dict[int, tuple[float, str | None, Condition]] = {}

    def worth_sending(self, readings: Sequence[Reading]) -> Sequence[Reading]:
        """Those that a rule does not leave out, in order; what carries a changed optional property is always sent."""
        if not self._rules:
            return readings
        now = self._clock.monotonic()
        return [reading for reading in readings if self._is_worth(reading, now)]

    def _is_worth(self, reading: Reading, now: float) -> bool:
        point_id, _, present_value, condition, optional = reading
        rule = self._rules.get(self._state.classes.get(point_id, PollingClass.NORMAL))
        if rule is None:
            return True
        sent = self._sent.get(point_id)
        if sent is not None and not optional:
            at, value, said = sent
            is_same = (condition is said or condition == said) and not moved(value, present_value, rule.dead_band)
            if is_same and now - at < rule.silence_seconds:
                return False
        self._sent[point_id] = now, present_value, condition
        return True
