"""When what is due: pure functions of the time that is passed in (seconds of a monotonic clock).

Each class of a device has its own beat. The beats of one device start together, so that classes whose intervals are multiples of
each other come due together and are read at once; the beats of different devices start one after the other, so that they do not.
"""

from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from bms_iot.domain.classes import PollingClass

Key = TypeVar("Key", bound=Hashable)

SPREAD_SECONDS = 0.01
"""Between the beats of one device and the next."""
TOGETHER_SECONDS = 0.001
"""Beats that are no further apart are one: intervals such as 0.1 s are no exact numbers."""
BACKOFF_MIN_SECONDS = 1.0
NOTHING_DUE_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often, in seconds."""

    interval: float
    """Of the class `normal`."""
    fast_interval: float = 2.0
    slow_interval: float = 60.0
    optional_interval: float
    backoff_max: float

    def of(self, polling_class: PollingClass) -> float:
        """The interval of a class."""
        match polling_class:
            case PollingClass.FAST:
                return self.fast_interval
            case PollingClass.NORMAL:
                return self.interval
            case PollingClass.SLOW:
                return self.slow_interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """When a class of a device is due, and from when on its optional properties are to be read as well."""

    due: float
    optional_due: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Agenda:
    """One device: the turns of its classes; or, while it is silent, when it is probed, and how often in a row it did not answer."""

    turns: Mapping[PollingClass, Turn] = field(default_factory=dict)
    failures: int = 0
    probe_due: float = 0.0

    @property
    def due(self) -> float:
        """The next moment to do something with the device."""
        return self.probe_due if self.failures else min(turn.due for turn in self.turns.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """The classes of a device that are due now: without and with their optional properties."""

    plain: tuple[PollingClass, ...]
    optional: tuple[PollingClass, ...]


def spread(position: int, devices: int, pace: Pace) -> float:
    """How much later than the first the beat of the device at `position` starts; less than the shortest interval."""
    shortest = min(pace.of(polling_class) for polling_class in PollingClass)
    return position * min(SPREAD_SECONDS, shortest / max(devices, 1))


def planned(before: Agenda | None, classes: Iterable[PollingClass], now: float, *, is_changed: bool) -> Agenda:
    """The agenda for these classes, at least one. Classes known before keep their beat, new ones join the next beat of the device.

    `now` is when a new device begins. `is_changed` says that there are other points than before: then their optional properties are
    due as well.
    """
    if before is None:
        return Agenda(turns={polling_class: Turn(due=now, optional_due=now) for polling_class in classes})
    joins = Turn(due=min(turn.due for turn in before.turns.values()), optional_due=now)
    turns = {polling_class: before.turns.get(polling_class, joins) for polling_class in classes}
    if is_changed:
        turns = {polling_class: replace(turn, optional_due=now) for polling_class, turn in turns.items()}
    return replace(before, turns=turns)


def due(moments: Mapping[Key, float], now: float) -> list[Key]:
    """Whose turn it is, longest waiting first; `moments` has the `due` of each."""
    waiting = [(moment, key) for key, moment in moments.items() if moment <= now]
    return [key for _, key in sorted(waiting, key=lambda item: item[0])]


def next_due(moments: Iterable[float], now: float) -> float:
    """The next moment something is due; a minute from now when there is none."""
    return min(moments, default=now + NOTHING_DUE_SECONDS)


def classes_due(agenda: Agenda, now: float) -> Due:
    """What of a device is to be read now, all of it at once."""
    ready = {known: turn for known, turn in agenda.turns.items() if turn.due <= now + TOGETHER_SECONDS}
    return Due(
        plain=tuple(known for known, turn in ready.items() if turn.optional_due > now),
        optional=tuple(known for known, turn in ready.items() if turn.optional_due <= now),
    )


def after_answer(
    agenda: Agenda, pace: Pace, now: float, *, read: Collection[PollingClass], optional: Collection[PollingClass]
) -> Agenda:
    """The next turns of the classes that were `read`, those of `optional` with their optional properties.

    They stay on their beat, so that slow answers do not make them drift; beats that were missed are skipped.
    """
    turns = dict(agenda.turns)
    for known in read:
        turn, interval = turns[known], pace.of(known)
        beats = max(1, int((now - turn.due) // interval) + 1)
        turns[known] = Turn(
            due=turn.due + beats * interval,
            optional_due=now + pace.optional_interval if known in optional else turn.optional_due,
        )
    return Agenda(turns=turns)


def after_silence(agenda: Agenda, pace: Pace, now: float, *, jitter: float) -> Agenda:
    """The next probe: the device's shortest interval, doubled for each silence in a row and capped.

    `jitter` (0 to 1) stretches it by up to a tenth.
    """
    interval = max(BACKOFF_MIN_SECONDS, min(pace.of(known) for known in agenda.turns))
    pause = min(interval * 2.0 ** min(agenda.failures, 16), max(pace.backoff_max, interval))
    return replace(agenda, failures=agenda.failures + 1, probe_due=now + pause * (1 + 0.1 * jitter))


def after_return(agenda: Agenda, pace: Pace, now: float) -> Agenda:
    """A silent device is there again: all its classes are due, each on the last of its beats, since all its points were lost."""
    turns = {}
    for known, turn in agenda.turns.items():
        early = max(0, -int(-(turn.due - now) // pace.of(known)))
        turns[known] = replace(turn, due=turn.due - early * pace.of(known))
    return Agenda(turns=turns)


def heard(agenda: Agenda, now: float) -> Agenda:
    """A device said that it is there: one that was silent is probed at once."""
    return replace(agenda, probe_due=min(agenda.probe_due, now)) if agenda.failures else agenda
