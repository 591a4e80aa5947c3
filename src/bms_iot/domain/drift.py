"""How the network differs from what is known of it. It is reported, never acted upon: nothing known is ever taken away."""

import enum
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from bms_iot.domain.classes import object_name
from bms_iot.domain.configuration import ConfiguredDevice
from bms_iot.domain.points import Device, DeviceAddress, ObjectIdentifier

JsonObject: TypeAlias = dict[str, object]


class DriftKind(enum.Enum):
    """What can be different."""

    NEW = "new"
    MISSING = "missing"
    MOVED = "moved"
    RENAMED = "renamed"
    TYPE_CHANGED = "type-changed"
    ID_CONFLICT = "id-conflict"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One difference, of a device or of one `object` of it.

    `address` is where the device is known to be, or was found when it is new. `was` and `now` say what is different: names,
    addresses, objects, instances; None where there is nothing to say.
    """

    kind: DriftKind
    device_instance: int
    address: DeviceAddress
    object: ObjectIdentifier | None = None
    was: str | None = None
    now: str | None = None

    def as_json(self) -> JsonObject:
        """One entry of the report's list; keys without a value are left out."""
        values = {
            "kind": self.kind.value,
            "device_instance": self.device_instance,
            "address": str(self.address),
            "object": self.object and str(self.object),
            "was": self.was,
            "now": self.now,
        }
        return {name: value for name, value in values.items() if value is not None}

    @property
    def change(self) -> str:
        """`10.0.0.5 → 10.0.0.9`, one side alone, or nothing."""
        return " → ".join(side for side in (self.was, self.now) if side is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReport:
    """All differences that one look at the network found. `devices` is how many known devices were compared."""

    drifts: tuple[Drift, ...]
    devices: int

    def __bool__(self) -> bool:
        return bool(self.drifts)

    @property
    def counts(self) -> dict[str, int]:
        """How many of each kind there are."""
        return dict(Counter(drift.kind.value for drift in self.drifts))

    def as_json(self, *, at_most: int | None = None) -> JsonObject:
        """`{devices, counts, drift: […]}`; `counts` has all of them also where the list is cut to `at_most`."""
        return {"devices": self.devices, "counts": self.counts, "drift": [drift.as_json() for drift in self.drifts[:at_most]]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """A device that answered at an address."""

    instance: int
    address: DeviceAddress
    vendor_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenDevice:
    """What was seen of a device's objects; `is_complete` is false when part of its object list could not be read."""

    device: Device
    names: Mapping[ObjectIdentifier, str | None] = field(default_factory=dict)
    is_complete: bool = True


def compare(known: Sequence[ConfiguredDevice], present: Iterable[Presence], seen: Iterable[SeenDevice]) -> DriftReport:
    """What is different: `known` are the devices that were looked for, `present` is who answered, `seen` are their objects."""
    found = tuple({(one.instance, one.address): one for one in reversed([*present])}.values())[::-1]
    drifts = [*_devices(known, found), *_strangers(known, found), *_shared_ids(known)]
    by_instance = {(one.device.instance, one.device.address): one for one in seen}
    for configured in known:
        place = whereabouts(configured.device, known, found)
        objects = place.address and by_instance.get((configured.device.instance, place.address))
        if objects:
            drifts += _objects(configured, objects)
    return DriftReport(drifts=tuple(drifts), devices=len(known))


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """Where a known device is: `address` None when it is nowhere, or when nobody can tell."""

    address: DeviceAddress | None
    conflicts: tuple[DeviceAddress, ...] = ()
    """Where its device instance answers as well, or instead, but cannot be this device."""


def whereabouts(device: Device, known: Iterable[ConfiguredDevice], present: Iterable[Presence]) -> Whereabouts:
    """A device is where it is known to be, else at the one other address that has its instance, unless that is another vendor's.

    Addresses where another known device of that instance is at home are that one's.
    """
    homes = {other.device.address for other in known if other.device.instance == device.instance} - {device.address}
    answering = [one for one in present if one.instance == device.instance and one.address not in homes]
    elsewhere = [one for one in answering if one.address != device.address]
    if len(elsewhere) < len(answering):
        return Whereabouts(address=device.address, conflicts=tuple(one.address for one in elsewhere))
    if len(elsewhere) == 1 and not homes and _may_be(device, elsewhere[0]):
        return Whereabouts(address=elsewhere[0].address)
    return Whereabouts(address=None, conflicts=tuple(one.address for one in elsewhere))


def _may_be(device: Device, found: Presence) -> bool:
    """Vendors agree, or one of them is not known."""
    return device.vendor_id == found.vendor_id or None in (device.vendor_id, found.vendor_id)


def _of(device: Device, kind: DriftKind, *, about: ObjectIdentifier | None = None, was: object = None, now: object = None) -> Drift:
    return Drift(
        kind=kind,
        device_instance=device.instance,
        address=device.address,
        object=about,
        was=None if was is None else str(was),
        now=None if now is None else str(now),
    )


def _devices(known: Sequence[ConfiguredDevice], present: Sequence[Presence]) -> Iterable[Drift]:
    at_address = defaultdict[DeviceAddress, list[int]](list)
    for one in present:
        at_address[one.address].append(one.instance)
    for device in (configured.device for configured in known):
        place = whereabouts(device, known, present)
        for address in place.conflicts:
            yield _of(device, DriftKind.ID_CONFLICT, was=device.address, now=address)
        if place.address == device.address:
            continue
        if place.address is not None:
            yield _of(device, DriftKind.MOVED, was=device.address, now=place.address)
            continue
        yield _of(device, DriftKind.MISSING, was=device.address)
        for other in at_address[device.address]:
            yield _of(device, DriftKind.ID_CONFLICT, was=f"device {device.instance}", now=f"device {other}")


def _strangers(known: Sequence[ConfiguredDevice], present: Sequence[Presence]) -> Iterable[Drift]:
    instances = {configured.device.instance for configured in known}
    new = [one for one in present if one.instance not in instances]
    times = Counter(one.instance for one in new)
    for one in new:
        yield Drift(kind=DriftKind.NEW, device_instance=one.instance, address=one.address, now=str(one.address))
        if times[one.instance] > 1:
            others = ", ".join(str(other.address) for other in new if other.instance == one.instance and other != one)
            yield Drift(
                kind=DriftKind.ID_CONFLICT, device_instance=one.instance, address=one.address, was=str(one.address), now=others
            )


def _shared_ids(known: Sequence[ConfiguredDevice]) -> Iterable[Drift]:
    owners: dict[str, str] = {}
    places: dict[int, Device] = {}
    for configured in known:
        device = configured.device
        if (other := places.setdefault(device.instance, device)) is not device:
            yield _of(
                device,
                DriftKind.ID_CONFLICT,
                was=f"controller {other.controller_id} at {other.address}",
                now=f"controller {device.controller_id} at {device.address}",
            )
        for wanted in configured.objects:
            key, name = wanted.iot_device_point_id, f"{device.instance}/{wanted.object}"
            if key is not None and owners.setdefault(key, name) != name:
                shared = f"{key} of {owners[key]}", f"{key} of {name}"
                yield _of(device, DriftKind.ID_CONFLICT, about=wanted.object, was=shared[0], now=shared[1])


def _objects(configured: ConfiguredDevice, seen: SeenDevice) -> Iterable[Drift]:
    before = {wanted.object: object_name(wanted.properties) for wanted in configured.objects}
    device = configured.device
    new = [known for known in seen.names if known not in before]
    missing = [known for known in before if known not in seen.names] if seen.is_complete else []
    for old, replaced in _retyped(before, seen.names, missing, new):
        missing.remove(old)
        new.remove(replaced)
        yield _of(device, DriftKind.TYPE_CHANGED, about=old, was=old, now=replaced)
    for known in missing:
        yield _of(device, DriftKind.MISSING, about=known, was=before[known])
    for known in new:
        yield _of(device, DriftKind.NEW, about=known, now=seen.names[known])
    for known, name in before.items():
        now = seen.names.get(known)
        if name is not None and now is not None and name != now:
            yield _of(device, DriftKind.RENAMED, about=known, was=name, now=now)


def _retyped(
    before: Mapping[ObjectIdentifier, str | None],
    after: Mapping[ObjectIdentifier, str | None],
    missing: Sequence[ObjectIdentifier],
    new: Sequence[ObjectIdentifier],
) -> list[tuple[ObjectIdentifier, ObjectIdentifier]]:
    """Objects that went and came under one name, which is unique in its device (ASHRAE 135 clause 12.1.1.2), with another type."""
    came = {name: known for known in new if (name := after[known]) is not None}
    went = {name: known for known in missing if (name := before[known]) is not None}
    return [(old, came[name]) for name, old in went.items() if name in came and came[name].type is not old.type]
