"""Find controllers and what they hold. A failed or partial discovery never takes away what is configured."""

import asyncio
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from bms_iot.domain.configuration import ConfiguredDevice, ConfiguredObject
from bms_iot.domain.points import Device, DeviceAddress, ObjectIdentifier
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
    One whose whole object list was read is replaced by what it says; of one read in part, the known objects stay. Known keys stay
    with their object.
    """
    result = list(known)
    for found in discovered:
        position = _position(result, found.configured.device)
        before = {} if position is None else {wanted.object: wanted for wanted in result[position].objects}
        objects = {wanted.object: _with_known_key(wanted, before) for wanted in found.configured.objects}
        kept = {} if found.complete else before
        merged = ConfiguredDevice(device=found.configured.device, objects=tuple({**kept, **objects}.values()))
        if position is None:
            result.append(merged)
        else:
            result[position] = merged
    return [configured for configured in result if configured.objects]


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


def keep_known_controllers(discovered: Iterable[Discovered], known: Iterable[ConfiguredDevice]) -> list[Discovered]:
    """Devices that the configuration knows by their instance keep the controller id they have there."""
    ids = {configured.device.instance: configured.device.controller_id for configured in known}
    result = []
    for found in discovered:
        device = found.configured.device
        named = replace(device, controller_id=ids.get(device.instance, device.controller_id))
        result.append(replace(found, configured=replace(found.configured, device=named)))
    return result


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
