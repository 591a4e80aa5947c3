"""Find controllers and what they hold. A failed or partial discovery never takes away what is configured."""

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from bms_iot.domain.configuration import ConfiguredDevice, ConfiguredObject
from bms_iot.domain.drift import Presence, whereabouts
from bms_iot.domain.points import Device, DeviceAddress, ObjectIdentifier, Point
from bms_iot.domain.ports import ControllerNetwork, FoundDevice, ObjectDescription
from bms_iot.errors import BacnetError, DeviceUnreachable

AT_ONCE = 8
"""Devices that are discovered side by side."""
WAIT_SECONDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovered:
    """A device as discovery saw it; `complete` is false when part of its object list could not be read."""

    configured: ConfiguredDevice
    complete: bool
    other_objects: int


async def discover_device(network: ControllerNetwork, device: Device) -> Discovered:
    """Read a device's object list and what its objects are called. Raises BacnetError."""
    listed = await network.read_object_list(device)
    descriptions = await network.describe_objects(device, listed.objects)
    return Discovered(
        configured=ConfiguredDevice(device=device, objects=tuple(map(_configured, descriptions))),
        complete=listed.complete,
        other_objects=listed.other,
    )


async def find_device(network: ControllerNetwork, address: DeviceAddress, instance: int, controller_id: str) -> Device:
    """The device of that instance at that address. Raises DeviceUnreachable when it is not there, naming who is."""
    for candidate in await network.who_is(address=address, low=instance, high=instance, wait_seconds=WAIT_SECONDS):
        if candidate.instance == instance:
            return Device(address=candidate.address, instance=instance, controller_id=controller_id, vendor_id=candidate.vendor_id)
    found = await network.who_is(address=address, wait_seconds=1.0)
    others = ", ".join(str(candidate.instance) for candidate in found)
    raise DeviceUnreachable(
        f"device {instance} did not answer at {address}" + (f", but device {others} did" if others else ""),
        hint=f"bms-iot bacnet discover --address {address}",
    )


def merge(known: Iterable[ConfiguredDevice], discovered: Iterable[Discovered]) -> list[ConfiguredDevice]:
    """The known configuration with what was discovered added.

    A device is known by controller id and instance, else by instance and address, and takes the controller id it was found with.
    Known objects stay, also those that the device no longer names: they are read as errors, and reported as drift. Known keys, and
    what the cloud said of an object, stay with it.
    """
    result = list(known)
    for found in discovered:
        position = _position(result, found.configured.device)
        before = {} if position is None else {wanted.object: wanted for wanted in result[position].objects}
        objects = {wanted.object: _with_known_key(wanted, before) for wanted in found.configured.objects}
        merged = ConfiguredDevice(device=found.configured.device, objects=tuple({**before, **objects}.values()))
        if position is None:
            result.append(merged)
        else:
            result[position] = merged
    return [configured for configured in result if configured.objects]


def devices_of(points: Iterable[Point]) -> list[ConfiguredDevice]:
    """Known points as a configuration that was never made."""
    objects: dict[Device, list[ConfiguredObject]] = {}
    for point in points:
        wanted = ConfiguredObject(object=point.object, iot_device_point_id=point.iot_device_point_id)
        objects.setdefault(point.device, []).append(wanted)
    return [ConfiguredDevice(device=device, objects=tuple(some)) for device, some in objects.items()]


def only(configured: Iterable[ConfiguredDevice], wanted: Iterable[Device]) -> list[ConfiguredDevice]:
    """Those of the configured devices that are wanted, by controller id and instance."""
    named = {(device.controller_id, device.instance) for device in wanted}
    return [c for c in configured if (c.device.controller_id, c.device.instance) in named]


def _position(configured: Sequence[ConfiguredDevice], device: Device) -> int | None:
    by_controller = {(c.device.controller_id, c.device.instance): at for at, c in enumerate(configured)}
    by_address = {(c.device.address, c.device.instance): at for at, c in enumerate(configured)}
    at = by_controller.get((device.controller_id, device.instance))
    return by_address.get((device.address, device.instance)) if at is None else at


def name_device(found: FoundDevice, gateway_id: str | None) -> Device:
    """A device found by hand, which no cloud has named: its controller id is a uuid5 of the gateway's id and its instance."""
    name = f"{gateway_id or ''}-{found.instance}"
    return Device(
        address=found.address,
        instance=found.instance,
        controller_id=str(uuid.uuid5(uuid.NAMESPACE_URL, name)),
        vendor_id=found.vendor_id,
    )


def moved_to(device: Device, address: DeviceAddress) -> Device:
    """The same device, elsewhere."""
    return replace(device, address=address)


def claim(discovered: Iterable[Discovered], known: Sequence[ConfiguredDevice]) -> tuple[list[Discovered], list[Discovered]]:
    """Give what was found by hand the controller ids it is known by; the second list has those that must not be taken for anybody.

    A device is known at its address, or as the only one of its instance that moved. Another device of a known instance is refused:
    it is told apart by nothing that lasts. Several new devices of one instance are told apart by their addresses.
    """
    every = list(discovered)
    present = [_presence(found.configured.device) for found in every]
    times = Counter(one.instance for one in present)
    claimed, refused = [], []
    for found in every:
        device = found.configured.device
        namesakes = [c.device for c in known if c.device.instance == device.instance]
        home = next((one for one in namesakes if whereabouts(one, known, present).address == device.address), None)
        if home is not None:
            claimed.append(_named(found, home.controller_id))
        elif namesakes:
            refused.append(found)
        elif times[device.instance] > 1:
            claimed.append(_named(found, str(uuid.uuid5(uuid.NAMESPACE_URL, f"{device.controller_id}-{device.address}"))))
        else:
            claimed.append(found)
    return claimed, refused


def _presence(device: Device) -> Presence:
    return Presence(instance=device.instance, address=device.address, vendor_id=device.vendor_id)


def _named(found: Discovered, controller_id: str) -> Discovered:
    device = replace(found.configured.device, controller_id=controller_id)
    return replace(found, configured=replace(found.configured, device=device))


async def discover_all(
    network: ControllerNetwork, devices: Sequence[Device], *, on_start: Callable[[Device], None]
) -> tuple[list[Discovered], dict[Device, BacnetError]]:
    """Discover devices, a few at a time, announcing each; those that failed come back with their reason."""
    limit = asyncio.Semaphore(AT_ONCE)
    failed: dict[Device, BacnetError] = {}

    async def one(device: Device) -> Discovered | None:
        async with limit:
            on_start(device)
            try:
                return await discover_device(network, device)
            except BacnetError as error:
                failed[device] = error
                return None

    results = await asyncio.gather(*map(one, devices))
    return [result for result in results if result is not None], failed


def _with_known_key(wanted: ConfiguredObject, before: Mapping[ObjectIdentifier, ConfiguredObject]) -> ConfiguredObject:
    known = before.get(wanted.object)
    if known is None:
        return wanted
    return ConfiguredObject(
        object=wanted.object,
        iot_device_point_id=known.iot_device_point_id,
        properties={**known.properties, **wanted.properties},
    )


def _configured(description: ObjectDescription) -> ConfiguredObject:
    named = {"objectName": description.name, "description": description.description, "units": description.units}
    return ConfiguredObject(
        object=description.object,
        iot_device_point_id=None,
        properties={name: value for name, value in named.items() if value is not None},
    )
