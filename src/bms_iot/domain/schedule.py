"""When each device is due: pure functions of the time that is passed in (seconds of a monotonic clock)."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """When a device is due, when its optional properties are, and how often in a row it did not answer."""

    due: float
    optional_due: float
    failures: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often, in seconds."""

    interval: float
    optional_interval: float
    backoff_max: float


def due(turns: Mapping[Key, Turn], now: float) -> list[Key]:
    """The devices whose turn it is, longest waiting first."""
    return sorted((key for key, turn in turns.items() if turn.due <= now), key=lambda key: turns[key].due)


def next_due(turns: Mapping[Key, Turn], now: float) -> float:
    """The next moment a device is due; a minute from now when there is none."""
    return min((turn.due for turn in turns.values()), default=now + 60.0)


def after_answer(turn: Turn, pace: Pace, now: float, *, with_optional: bool) -> Turn:
    """The next turn on the device's own beat, so that slow answers do not make it drift; beats already missed are skipped."""
    beats = max(1, int((now - turn.due) // pace.interval) + 1)
    return Turn(
        due=turn.due + beats * pace.interval,
        optional_due=now + pace.optional_interval if with_optional else turn.optional_due,
    )


def after_silence(turn: Turn, pace: Pace, now: float, *, jitter: float) -> Turn:
    """The next probe: the interval doubled for each silence in a row, capped, times 1 + `jitter` (0 to 1) of a tenth."""
    pause = min(pace.interval * 2.0 ** min(turn.failures, 16), max(pace.backoff_max, pace.interval))
    return Turn(due=now + pause * (1 + 0.1 * jitter), optional_due=turn.optional_due, failures=turn.failures + 1)
