"""How often a point is read: its polling class, and who chose it.

The heaviest choice counts: what was set on site for the point itself (`bms-iot points set`), then what the cloud's configuration
says of it, then the first pattern of the settings that fits, then `normal`. A point whose changes the device reports by itself
(COV) is read as `slow`, whatever was chosen.
"""

import enum
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from bms_iot.domain.points import ObjectType, Point, kebab_case


class PollingClass(enum.Enum):
    """The database stores the NAME, JSON and MQTT carry the value."""

    FAST = "fast"
    NORMAL = "normal"
    SLOW = "slow"


class Chooser(enum.Enum):
    """Who chose a point's class."""

    SITE = "points set"
    CLOUD = "cloud"
    SETTINGS = "settings"
    NOBODY = "default"


POLLING_CLASS = "pollingClass"
"""The key of an object's `properties` in a configuration, where the cloud says a class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A point's class and who chose it."""

    polling_class: PollingClass
    by: Chooser


DEFAULT = Choice(polling_class=PollingClass.NORMAL, by=Chooser.NOBODY)


@dataclass(frozen=True, slots=True, kw_only=True)
class PointPattern:
    """Which points are meant, by shell patterns (`*`, `?`, `[…]`), without regard to case.

    `device` is compared with the device instance and with the controller id, `type` with the object type in any of its spellings
    (`analogInput`, `analog-input`, `AI`), `name` with the object-name as discovery saw it. `*` fits what has no name, too.
    """

    device: str = "*"
    type: str = "*"
    name: str = "*"

    def __str__(self) -> str:
        return f"{self.device}/{self.type}/{self.name}"

    def fits(self, point: Point, name: str | None) -> bool:
        """Whether this point, whose object-name is `name`, is meant."""
        return (
            _fits(self.device, (str(point.device.instance), point.device.controller_id))
            and _fits(self.type, spellings(point.object.type))
            and (self.name == "*" or (name is not None and _fits(self.name, (name,))))
        )

    @classmethod
    def parse(cls, text: str) -> "PointPattern":
        """`DEVICE`, `DEVICE/TYPE` or `DEVICE/TYPE/NAME`; what follows the second slash is the name. Raises ValueError."""
        parts = [part.strip() for part in text.split("/", 2)]
        if not all(parts):
            raise ValueError(f"{text!r} is no pattern DEVICE/TYPE/NAME; * stands for any")
        pattern = cls(**dict(zip(("device", "type", "name"), parts, strict=False)))
        if not any(_fits(pattern.type, spellings(known)) for known in ObjectType):
            raise ValueError(f"{pattern.type!r} fits no object type; analog-input, analogInput and AI are how one is spelled")
        return pattern


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassRule:
    """What a pattern of the settings chooses."""

    polling_class: PollingClass
    pattern: PointPattern

    def __str__(self) -> str:
        return f"{self.polling_class.value} {self.pattern}"

    @classmethod
    def parse(cls, text: str) -> "ClassRule":
        """`CLASS DEVICE/TYPE/NAME`, as in `fast 1200/analog-input/*supply*`. Raises ValueError."""
        word, _, pattern = text.strip().partition(" ")
        return cls(polling_class=class_named(word), pattern=PointPattern.parse(pattern.strip()))


def class_named(word: str) -> PollingClass:
    """Raises ValueError."""
    try:
        return PollingClass(word.lower())
    except ValueError:
        names = ", ".join(known.value for known in PollingClass)
        raise ValueError(f"{word!r} is no polling class; {names} are") from None


def class_of_cloud(properties: Mapping[str, object]) -> PollingClass | None:
    """What the configuration says of an object; None for nothing, and for a class that this release does not know."""
    said = properties.get(POLLING_CLASS)
    return next((known for known in PollingClass if known.value == said), None)


def choose(
    point: Point, properties: Mapping[str, object], *, on_site: Mapping[str, PollingClass], rules: Sequence[ClassRule]
) -> Choice:
    """The class of a point.

    `properties` are its object's in the configuration; `on_site` is what was set there, by `iot_device_point_id`.
    """
    if (chosen := on_site.get(point.iot_device_point_id)) is not None:
        return Choice(polling_class=chosen, by=Chooser.SITE)
    if (chosen := class_of_cloud(properties)) is not None:
        return Choice(polling_class=chosen, by=Chooser.CLOUD)
    name = object_name(properties)
    for rule in rules:
        if rule.pattern.fits(point, name):
            return Choice(polling_class=rule.polling_class, by=Chooser.SETTINGS)
    return DEFAULT


def by_class(
    points: Iterable[Point], classes: Mapping[int, PollingClass], *, reported: Collection[int] = ()
) -> dict[PollingClass, tuple[Point, ...]]:
    """The points by class, in their order. `classes` is by point id, `reported` has the ids of those that COV brings."""
    groups: dict[PollingClass, list[Point]] = {}
    for point in points:
        polling_class = PollingClass.SLOW if point.id in reported else classes.get(point.id, PollingClass.NORMAL)
        groups.setdefault(polling_class, []).append(point)
    return {known: tuple(groups[known]) for known in PollingClass if known in groups}


def object_name(properties: Mapping[str, object]) -> str | None:
    """The object-name as discovery saw it."""
    name = properties.get("objectName")
    return name if isinstance(name, str) and name else None


def spellings(object_type: ObjectType) -> tuple[str, ...]:
    """`multiStateInput`, `multi-state-input`, `MSI`, `MI`."""
    words = kebab_case(object_type.value).split("-")
    initials = "".join(word[0] for word in words)
    return object_type.value, "-".join(words), initials, initials[0] + initials[-1]


def _fits(pattern: str, texts: Iterable[str]) -> bool:
    return pattern == "*" or any(fnmatchcase(text.lower(), pattern.lower()) for text in texts)
