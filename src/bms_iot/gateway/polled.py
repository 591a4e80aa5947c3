"""A device as it is polled: its points by class, when they are due, and whether it is known to be itself."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from bms_iot.domain import schedule
from bms_iot.domain.classes import PollingClass, by_class
from bms_iot.domain.points import Device, Point
from bms_iot.domain.schedule import Agenda


@dataclass(slots=True, eq=False)
class PolledDevice:
    """One device of the plan. `wanted` are its points in their order, at least one."""

    device: Device
    wanted: tuple[Point, ...]
    groups: dict[PollingClass, tuple[Point, ...]]
    agenda: Agenda
    is_proven: bool = False
    """It was asked who it is since it was last silent or doubted."""
    doubts: int = 0
    """How often another device was heard at its address."""
    _batches: dict[tuple[PollingClass, ...], tuple[Point, ...]] = field(default_factory=dict)

    def points(self, classes: tuple[PollingClass, ...]) -> tuple[Point, ...]:
        """The points of these classes in their order: the same tuple each time, so that what is derived from it can be kept."""
        batch = self._batches.get(classes)
        if batch is None:
            ids = {point.id for polling_class in classes for point in self.groups.get(polling_class, ())}
            batch = self.wanted if len(ids) == len(self.wanted) else tuple(point for point in self.wanted if point.id in ids)
            self._batches[classes] = batch
        return batch

    def regroup(
        self, points: Sequence[Point], classes: Mapping[int, PollingClass], reported: Collection[int], *, now: float
    ) -> None:
        """Take over these points and classes; what is as before stays the very same, beats included."""
        groups = by_class(points, classes, reported=reported)
        is_changed = tuple(points) != self.wanted
        if not is_changed and groups == self.groups:
            return
        self.wanted = tuple(points) if is_changed else self.wanted
        self.groups, self._batches = groups, {}
        self.agenda = schedule.planned(self.agenda, groups, now, is_changed=is_changed)

    def doubt(self) -> None:
        """Ask the device who it is before anything else of it is kept."""
        self.doubts += 1
        self.is_proven = False


def begin(
    device: Device, points: Sequence[Point], classes: Mapping[int, PollingClass], reported: Collection[int], *, now: float
) -> PolledDevice:
    """A device that is new to the plan; `now` is when its beats begin."""
    groups = by_class(points, classes, reported=reported)
    agenda = schedule.planned(None, groups, now, is_changed=True)
    return PolledDevice(device=device, wanted=tuple(points), groups=groups, agenda=agenda)
