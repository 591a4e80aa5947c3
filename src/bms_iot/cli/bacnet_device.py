"""What the verbs of `bms-iot bacnet` share: which device is meant, and our port beside a running gateway."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bms_iot.domain.points import Device, DeviceAddress, ObjectIdentifier, Point
    from bms_iot.domain.ports import FoundDevice
    from bms_iot.gateway.readers import Readers
    from bms_iot.settings import Settings

QUICK_SECONDS = 0.8
"""Most devices answer Who-Is within this time; those that do not are waited for as long as --wait says."""

DeviceArgument = Annotated[
    str,
    typer.Argument(metavar="DEVICE", help="Instance (1200), address (192.168.1.10, IP:PORT), or 2001:0c behind a router."),
]
ObjectArgument = Annotated[str, typer.Argument(metavar="OBJECT", help="Any spelling: AI1, analog-input:1, 'analogInput 1', 0:1.")]
WaitOption = Annotated[float, typer.Option("--wait", help="Seconds to look for the device.", min=0.1, max=60.0)]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON, one object a line.")]


@asynccontextmanager
async def our_port(settings: "Settings") -> AsyncIterator["Readers"]:
    """Our BACnet interfaces; on another port, and saying so, where the gateway has ours."""
    from bms_iot.bootstrap import open_readers

    async with open_readers(settings, say=lambda words: typer.echo(words, err=True)) as readers:
        yield readers


async def find(network: "Readers", wanted: "int | DeviceAddress", wait_seconds: float) -> "Device":
    """The device that is meant. Raises DeviceUnreachable when it is not there, or is not one."""
    from bms_iot.errors import DeviceUnreachable

    if isinstance(wanted, int):
        hint = "give its address instead (192.168.1.10), or see who is there: bms-iot bacnet discover"
        return _only(await _who_is(network, wait_seconds, low=wanted, high=wanted), f"device {wanted}", wait_seconds, hint)
    try:
        return _named(wanted, await network.identify(wanted))
    except DeviceUnreachable:  # some do not know the instance that stands for any
        found = await _who_is(network, wait_seconds, address=wanted)
        hint = "check address and port, or see who is there: bms-iot bacnet discover"
        return _only(found, f"the device at {wanted}", wait_seconds, hint)


async def _who_is(
    network: "Readers",
    wait_seconds: float,
    *,
    low: int | None = None,
    high: int | None = None,
    address: "DeviceAddress | None" = None,
) -> "list[FoundDevice]":
    """Those that answer at once, else those that answer in all the time there is."""
    quick = min(QUICK_SECONDS, wait_seconds)
    found = await network.who_is(low=low, high=high, address=address, wait_seconds=quick)
    if found or wait_seconds <= quick:
        return found
    return await network.who_is(low=low, high=high, address=address, wait_seconds=wait_seconds - quick)


def _only(found: "list[FoundDevice]", what: str, wait_seconds: float, hint: str) -> "Device":
    from bms_iot.errors import DeviceUnreachable

    if not found:
        raise DeviceUnreachable(f"{what} did not answer within {wait_seconds:g} s", hint=hint)
    if len(found) > 1:
        places = ", ".join(f"{device.instance} at {device.address}" for device in found)
        raise DeviceUnreachable(
            f"{what} is not one device but {len(found)}: {places}", hint="give the address of the one that is meant"
        )
    return _named(found[0].address, found[0].instance)


def _named(address: "DeviceAddress", instance: int) -> "Device":
    from bms_iot.domain.points import Device

    return Device(address=address, instance=instance, controller_id="")


def polled_object(text: str) -> "ObjectIdentifier":
    """An object of a type that has a present-value we write and follow. Raises InvalidInput for others."""
    from bms_iot.bacnet.identifiers import object_text, parse_object
    from bms_iot.domain.points import ObjectIdentifier, ObjectType
    from bms_iot.errors import InvalidInput

    identifier = parse_object(text)
    object_type = ObjectType.from_number(identifier.type)
    if object_type is None:
        raise InvalidInput(
            f"{object_text(identifier)} is no analog, binary or multi-state object",
            hint="only the present-value of inputs, outputs and values is written and followed; `bacnet read` reads any",
        )
    return ObjectIdentifier(type=object_type, instance=identifier.instance)


def spelled(identifier: "ObjectIdentifier") -> str:
    """`analog-input:1`, as every verb prints it."""
    from bms_iot.domain.points import kebab_case

    return f"{kebab_case(identifier.type.value)}:{identifier.instance}"


def fit(line: str) -> str:
    """The line as wide as the terminal, with an ellipsis where it is cut; whole for files and pipes, that it may be searched."""
    import shutil

    width = max(80, shutil.get_terminal_size().columns)
    return line if not sys.stdout.isatty() or len(line) <= width else f"{line[: width - 1]}…"


def as_point(device: "Device", identifier: "ObjectIdentifier", number: int = 0) -> "Point":
    """The object as a point; `number` tells it apart from others."""
    from bms_iot.domain.points import Point

    return Point(id=number, device=device, object=identifier, iot_device_point_id="")
