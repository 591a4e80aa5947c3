"""Prepared polls: what is asked of a device again and again, encoded once, and what it answered last."""

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from itertools import repeat
from typing import TypeAlias

from bms_iot.bacnet.apdu import encode_confirmed
from bms_iot.bacnet.network.npdu import Station
from bms_iot.bacnet.polling.convert import VALUE_PROPERTIES
from bms_iot.bacnet.polling.layouts import Layout, Layouts, Shape
from bms_iot.bacnet.polling.meanings import Meanings
from bms_iot.bacnet.polling.profile import Profile, estimate
from bms_iot.bacnet.services.reading import READ_PROPERTY_MULTIPLE, PropertyReference
from bms_iot.bacnet.services.who_is import WILDCARD_INSTANCE
from bms_iot.bacnet.values.codec import DecodeError, ObjectId, encode_context, encode_unsigned, object_id
from bms_iot.bacnet.values.text import real_text
from bms_iot.domain.points import Point
from bms_iot.domain.readings import Condition, Quality, Sweep

MAX_STATIONS = 10_000
MAX_PLANS_OF_STATION = 8
LAST_WAIT = 1024
"""So many replies of unknown layout are left to the general decoder, at most, before the next is learned from."""

Terms: TypeAlias = tuple[int, bool, int]
"""What a plan depends on: the room of an answer, whether there is ReadPropertyMultiple, how often `absent` changed."""

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_UNKNOWN = Condition(quality=Quality.BAD)


class States:
    """The latest state of each point of a plan, as columns."""

    __slots__ = ("acquired_at", "conditions", "texts")

    def __init__(self, size: int) -> None:
        self.texts: list[str | None] = [None] * size
        self.conditions = [_UNKNOWN] * size
        self.acquired_at = [_NEVER] * size


@dataclass(slots=True, kw_only=True, eq=False)
class Chunk:
    """What one ReadPropertyMultiple asks: the points `start` to `stop` of a plan. `request` is the APDU."""

    start: int
    stop: int
    shape: Shape
    identifiers: tuple[bytes, ...]
    request: bytes
    _last: bytes | None = None
    _layout: Layout | None = None
    _expected: int = 0
    _numbers: tuple[bytes, ...] = ()
    _results: tuple[bytes, ...] = ()
    _learned: int = 0
    _wait: int = 0

    def references(self) -> list[PropertyReference]:
        """What is asked, for the tolerant way."""
        return [
            PropertyReference(object_id(identifier), number)
            for identifier, (_, properties) in zip(self.identifiers, self.shape, strict=True)
            for number in properties
        ]

    def take(self, parameters: bytes, states: States, layouts: Layouts, meanings: Meanings) -> bool:
        """Bring `states` up to date with a reply; false when its layout is not known and cannot be learned.

        After that the chunk's states are whatever they are, and somebody else has to write them: nothing is compared with them.
        """
        if parameters == self._last:
            return True
        layout = self._layout
        if layout is None or not layout.accepts(parameters, self._expected):
            layout = self._find(parameters, layouts)
            if layout is None:
                self.forget()
                return False
        parts = layout.parts.unpack(parameters)
        numbers, results = parts[::2], parts[1::2]
        try:
            self._compare(numbers, results, states, meanings)
        except DecodeError:
            self.forget()
            return False
        self._last, self._numbers, self._results = parameters, numbers, results
        return True

    def forget(self) -> None:
        """The states were written by somebody else: compare with nothing next time."""
        self._last, self._numbers, self._results = None, (), ()

    def _compare(self, numbers: Sequence[bytes], results: Sequence[bytes], states: States, meanings: Meanings) -> None:
        """Take what differs from the last reply. Raises DecodeError."""
        texts, conditions = states.texts, states.conditions
        before = zip(self._numbers, self._results, strict=True) if self._results else repeat((None, None))
        for at, (number, beside, (number_before, beside_before)) in enumerate(zip(numbers, results, before), self.start):  # noqa: B905
            if beside != beside_before:
                if number:
                    texts[at] = real_text(number)
                    conditions[at] = meanings.beside(beside, finite=_is_finite(number))
                else:
                    texts[at], conditions[at] = meanings.state(self.shape[at - self.start][0], beside)
            elif number != number_before:
                texts[at] = real_text(number)
                if number[0] & 0x7F == 0x7F or (number_before and number_before[0] & 0x7F == 0x7F):  # perhaps not finite
                    conditions[at] = meanings.beside(beside, finite=_is_finite(number))

    def _find(self, parameters: bytes, layouts: Layouts) -> Layout | None:
        """A layout that accepts the reply: of another device, or learned from this very reply."""
        found = None
        for layout in layouts.of(self.shape, len(parameters)):
            expected = layout.expecting(self.identifiers)
            if layout.accepts(parameters, expected):
                found = layout
                break
        else:
            found = self._learn(parameters, layouts)
            if found is None:
                return None
            expected = found.expecting(self.identifiers)
        self._layout, self._expected = found, expected
        self._numbers, self._results = (), ()
        return found

    def _learn(self, parameters: bytes, layouts: Layouts) -> Layout | None:
        """Replies that never look the same twice are not worth learning from: wait longer each time."""
        if self._wait:
            self._wait -= 1
            return None
        self._learned += 1
        self._wait = min(2**self._learned - 2, LAST_WAIT)
        return layouts.learn(parameters, self.shape, self.identifiers)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """How the value properties of `points` are read from one device whose profile is as `terms` says."""

    points: tuple[Point, ...]
    terms: Terms
    chunks: tuple[Chunk, ...]
    point_ids: tuple[int, ...]
    states: States

    def sweep(self) -> Sweep:
        """The latest readings."""
        states = self.states
        return Sweep(
            point_ids=self.point_ids,
            acquired_at=tuple(states.acquired_at),
            present_values=tuple(states.texts),
            conditions=tuple(states.conditions),
        )


@dataclass(slots=True, kw_only=True)
class _Draft:
    """A chunk that grows."""

    start: int
    shape: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)
    identifiers: list[bytes] = field(default_factory=list)

    def chunk(self) -> Chunk:
        specifications = [_specification(properties) for _, properties in self.shape]
        parts = [b"\x0c" + identifier + rest for identifier, rest in zip(self.identifiers, specifications, strict=True)]
        return Chunk(
            start=self.start,
            stop=self.start + len(self.shape),
            shape=tuple(self.shape),
            identifiers=tuple(self.identifiers),
            request=encode_confirmed(READ_PROPERTY_MULTIPLE, b"".join(parts)),
        )


def prepare(points: tuple[Point, ...], profile: Profile) -> Plan | None:
    """None where batches cannot be prepared: no ReadPropertyMultiple, a budget too small for an object, an object twice."""
    drafts = _drafts(points, profile) if profile.has_rpm else None
    if drafts is None or any(sum(len(properties) for _, properties in draft.shape) < 2 for draft in drafts):
        return None
    if len({identifier for draft in drafts for identifier in draft.identifiers}) < len(points):
        return None
    return Plan(
        points=points,
        terms=terms_of(profile),
        chunks=tuple(draft.chunk() for draft in drafts),
        point_ids=tuple([point.id for point in points]),
        states=States(len(points)),
    )


def _drafts(points: Sequence[Point], profile: Profile) -> list[_Draft] | None:
    """What fits an answer, again and again; None where one object does not, or cannot be."""
    room, absent, left = profile.room, profile.absent, 0
    drafts = [_Draft(start=0)] if not points else []
    for place, point in enumerate(points):
        number, instance = point.object.type.number, point.object.instance
        if not 0 <= instance <= WILDCARD_INSTANCE:
            return None
        properties = _properties(absent, number, instance) if absent else VALUE_PROPERTIES
        octets = _octets(number, properties)
        if octets > left:
            if octets > room:
                return None
            drafts.append(_Draft(start=place))
            left = room
        left -= octets
        drafts[-1].shape.append((number, properties))
        drafts[-1].identifiers.append((number << 22 | instance).to_bytes(4, "big"))
    return drafts


class Plans:
    """The plans in use; bounded, the oldest go first. A plan is prepared anew when the profile of its device has changed."""

    def __init__(self) -> None:
        self._plans: dict[Station, list[Plan]] = {}

    def of(self, station: Station, points: Sequence[Point], profile: Profile) -> Plan | None:
        """The plan of these points, found by identity where they are the same tuple as last time. None: see `prepare`."""
        plans = self._plans.get(station)
        if plans is None:
            if len(self._plans) >= MAX_STATIONS:
                del self._plans[next(iter(self._plans))]
            plans = self._plans[station] = []
        points = tuple(points)  # the very same object when it is a tuple already
        known = next((plan for plan in plans if plan.points is points or plan.points == points), None)
        if known is not None and known.terms == terms_of(profile):
            return known
        plan = prepare(points, profile)
        if known is not None:
            plans.remove(known)
        if plan is not None:
            plans.append(plan)
            del plans[:-MAX_PLANS_OF_STATION]
        return plan


def terms_of(profile: Profile) -> Terms:
    return profile.room, profile.has_rpm, profile.changes


def _properties(absent: Container[PropertyReference], number: int, instance: int) -> tuple[int, ...]:
    """The value properties, without those the object was found not to have."""
    identifier = ObjectId(number, instance)
    return tuple(each for each in VALUE_PROPERTIES if PropertyReference(identifier, each) not in absent)


@lru_cache(maxsize=256)
def _octets(number: int, properties: tuple[int, ...]) -> int:
    """About how many octets of answer an object takes."""
    identifier = ObjectId(number, 0)
    return sum(
        estimate(PropertyReference(identifier, each), identifier if place else None) for place, each in enumerate(properties)
    )


@lru_cache(maxsize=256)
def _specification(properties: tuple[int, ...]) -> bytes:
    """The references of one object, between their tags (clause 15.7)."""
    return b"\x1e" + b"".join(encode_context(0, encode_unsigned(each)) for each in properties) + b"\x1f"


def _is_finite(number: bytes) -> bool:
    """Of the octets of a REAL: neither an infinity nor a NaN."""
    return not (number[0] & 0x7F == 0x7F and number[1] & 0x80)
