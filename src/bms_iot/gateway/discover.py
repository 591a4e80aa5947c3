"""Find controllers and what they hold. A failed or partial discovery never takes away what is configured."""

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from bms_iot.domain.configuration import ConfiguredDevice, ConfiguredObject
from bms_iot.domain.points import Device, DeviceAddress, ObjectIdentifier
from bms_iot.domain.ports import ControllerNetwork, FoundDevice, ObjectDescription
from bms_iot.errors import BacnetError, DeviceUnreachable


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
    found = await network.who_is(address=address, wait_seconds=3.0)
    for candidate in found:
        if candidate.instance == instance:
            return Device(address=candidate.address, instance=instance, controller_id=controller_id, vendor_id=candidate.vendor_id)
    others = ", ".join(str(candidate.instance) for candidate in found)
    raise DeviceUnreachable(
        f"device {instance} did not answer at {address}" + (f", but device {others} did" if others else ""),
        hint=f"bms-iot bacnet discover --address {address}",
    )


def merge(known: Iterable[ConfiguredDevice], discovered: Iterable[Discovered]) -> list[ConfiguredDevice]:
    """The known configuration with what was discovered added.

    A device whose whole object list was read is replaced by what it says; of one read in part, the known objects stay. Ids that are
    known stay with their object.
    """
    result = {_identity(configured.device): configured for configured in known}
    for found in discovered:
        key = _identity(found.configured.device)
        before = {wanted.object: wanted for wanted in result[key].objects} if key in result else {}
        objects = {wanted.object: _with_known_id(wanted, before) for wanted in found.configured.objects}
        kept = {} if found.complete else before
        result[key] = ConfiguredDevice(device=found.configured.device, objects=tuple({**kept, **objects}.values()))
    return [configured for configured in result.values() if configured.objects]


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
    """Discover devices one after the other, announcing each; those that failed come back with their reason."""
    discovered: list[Discovered] = []
    failed: dict[Device, BacnetError] = {}
    for device in devices:
        on_start(device)
        try:
            discovered.append(await discover_device(network, device))
        except BacnetError as error:
            failed[device] = error
    return discovered, failed


def _identity(device: Device) -> tuple[str, int]:
    return device.controller_id, device.instance


def _with_known_id(wanted: ConfiguredObject, before: dict[ObjectIdentifier, ConfiguredObject]) -> ConfiguredObject:
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
