"""Look at the network again and compare it with what is known. Nothing is changed by it."""

import asyncio
from collections.abc import Callable, Iterable, Sequence

from bms_iot.domain.classes import object_name
from bms_iot.domain.configuration import ConfiguredDevice
from bms_iot.domain.drift import DriftReport, Presence, SeenDevice, compare, whereabouts
from bms_iot.domain.points import Device
from bms_iot.domain.ports import ControllerNetwork, FoundDevice
from bms_iot.errors import BacnetError, DeviceUnreachable, WrongDevice
from bms_iot.gateway.discover import AT_ONCE, Discovered, discover_all, moved_to


async def look_again(
    network: ControllerNetwork,
    known: Sequence[ConfiguredDevice],
    *,
    wait_seconds: float,
    on_start: Callable[[Device], None],
) -> tuple[DriftReport, dict[Device, BacnetError]]:
    """Who is there by broadcast, each known device that did not say so by itself, and the objects of those that are there.

    The second value has the devices that are there, but whose objects could not be read. Raises TransportError.
    """
    present = [presence(found) for found in await network.who_is(wait_seconds=wait_seconds)]
    heard = {(one.instance, one.address) for one in present}
    unheard = [c.device for c in known if (c.device.instance, c.device.address) not in heard]
    present += await _probed(network, unheard)
    here = []
    for configured in known:
        place = whereabouts(configured.device, known, present)
        if place.address is not None:
            here.append(moved_to(configured.device, place.address))
    discovered, failed = await discover_all(network, here, on_start=on_start)
    return compare(known, present, map(seen, discovered)), failed


async def _probed(network: ControllerNetwork, devices: Iterable[Device]) -> list[Presence]:
    """Who answers at the addresses of these: the device itself, or another."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(device: Device) -> Presence | None:
        async with limit:
            try:
                await network.probe(device)
            except DeviceUnreachable:
                return None
            except WrongDevice as error:
                return None if error.instance is None else Presence(instance=error.instance, address=device.address)
            return Presence(instance=device.instance, address=device.address, vendor_id=device.vendor_id)

    return [found for found in await asyncio.gather(*map(one, devices)) if found is not None]


def presence(found: FoundDevice) -> Presence:
    """An I-Am, as far as it is compared."""
    return Presence(instance=found.instance, address=found.address, vendor_id=found.vendor_id)


def seen(discovered: Discovered) -> SeenDevice:
    """What discovery saw of a device, as far as it is compared."""
    configured = discovered.configured
    return SeenDevice(
        device=configured.device,
        names={wanted.object: object_name(wanted.properties) for wanted in configured.objects},
        is_complete=discovered.complete,
    )
