"""Report by exception: which readings of a point are worth sending, where a site chose not to send them all."""

import math
from dataclasses import dataclass

from bms_iot.domain.classes import PollingClass, class_named

DEFAULT_SILENCE_SECONDS = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRule:
    """For the points of one class: what changed by no more than `dead_band` is sent after `silence_seconds` only."""

    polling_class: PollingClass
    dead_band: float = 0.0
    silence_seconds: float = DEFAULT_SILENCE_SECONDS

    def __str__(self) -> str:
        return f"{self.polling_class.value} {self.dead_band:g} {self.silence_seconds:g}"

    @classmethod
    def parse(cls, text: str) -> "ReportRule":
        """`CLASS`, `CLASS DEAD_BAND` or `CLASS DEAD_BAND SILENCE_SECONDS`, as in `slow 0.5 900`. Raises ValueError."""
        words = text.split()
        if not 1 <= len(words) <= 3:
            raise ValueError(f"{text!r} is not CLASS DEAD_BAND SILENCE_SECONDS")
        figures = dict(zip(("dead_band", "silence_seconds"), map(float, words[1:]), strict=False))
        rule = cls(polling_class=class_named(words[0]), **figures)
        if not (0 <= rule.dead_band < math.inf and 0 < rule.silence_seconds < math.inf):
            raise ValueError(f"{text!r}: neither figure may be negative, and silence must end")
        return rule


def moved(before: str | None, after: str | None, by_more_than: float) -> bool:
    """Whether a present-value changed: a number by more than that, anything else at all."""
    if before == after:
        return False
    if before is None or after is None or not by_more_than:
        return True
    try:
        distance = abs(float(after) - float(before))
    except ValueError:
        return True
    return not distance <= by_more_than  # NaN has moved
