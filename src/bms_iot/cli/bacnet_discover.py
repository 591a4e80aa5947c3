"""`bms-iot bacnet discover`: who is there, and what they hold."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bms_iot.domain.points import Device, DeviceAddress
    from bms_iot.domain.ports import FoundDevice
    from bms_iot.gateway.discover import Discovered
    from bms_iot.settings import Settings


def discover(
    address: Annotated[str | None, typer.Option(help="Ask this address alone: IP, IP:PORT or 2001:0c.")] = None,
    low: Annotated[int | None, typer.Option(help="Lowest device instance.", min=0, max=4_194_302)] = None,
    high: Annotated[int | None, typer.Option(help="Highest device instance.", min=0, max=4_194_302)] = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait for answers.", min=0.1, max=60.0)] = 3.0,
    save: Annotated[bool, typer.Option("--save", help="Add what is found to what the gateway reads.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a device.")] = False,
) -> None:
    """Find controllers and list what they hold.

    Nothing is changed without --save, and nothing that is known is ever removed.

    \b
    bms-iot bacnet discover
    bms-iot bacnet discover --low 1000 --high 1999 --save
    bms-iot bacnet discover --address 192.168.1.10
    """  # noqa: D301
    import asyncio

    from bms_iot.bacnet.identifiers import parse_address
    from bms_iot.cli.log import configure
    from bms_iot.settings import load_settings

    if (low is None) != (high is None) or (low is not None and high is not None and low > high):
        raise typer.BadParameter("--low and --high go together, the lower one first")
    settings = load_settings()
    configure(settings.log)
    asyncio.run(_discover(settings, None if address is None else parse_address(address), low, high, wait, save, as_json))


async def _discover(
    settings: "Settings",
    address: "DeviceAddress | None",
    low: int | None,
    high: int | None,
    wait: float,
    save: bool,
    as_json: bool,
) -> None:
    from bms_iot.bootstrap import save_discovered
    from bms_iot.cli.bacnet_device import our_port
    from bms_iot.gateway.discover import discover_all, name_device
    from bms_iot.provisioning import check_schema

    if save:
        check_schema(settings)
    async with our_port(settings) as network:
        found = await network.who_is(low=low, high=high, address=address, wait_seconds=wait)
        _report_conflicts(found)
        devices = [name_device(device, settings.device_id) for device in found]
        discovered, failed = await discover_all(network, devices, on_start=_progress)
    for result in discovered:
        _print(result, as_json)
    for device, error in failed.items():
        typer.echo(f"device {device.instance} at {device.address}: {error}", err=True)
    if not found:
        typer.echo(_nothing_found(settings, address, low, high), err=True)
        raise typer.Exit(1)
    if save:
        points, refused = await save_discovered(settings, discovered)
        for result in refused:
            device = result.configured.device
            typer.echo(_not_saved(device), err=True)
        saved = len(discovered) - len(refused)
        typer.echo(f"saved: {saved} devices; the gateway reads {points} points from its next start", err=True)
    if failed:
        raise typer.Exit(1)


def _progress(device: "Device") -> None:
    typer.echo(f"reading device {device.instance} at {device.address}", err=True)


def _report_conflicts(found: "list[FoundDevice]") -> None:
    from collections import Counter

    for instance, count in Counter(device.instance for device in found).items():
        if count > 1:
            places = ", ".join(str(device.address) for device in found if device.instance == instance)
            typer.echo(f"conflict: device instance {instance} is used {count} times: {places}", err=True)


def _print(result: "Discovered", as_json: bool) -> None:
    device, objects = result.configured.device, result.configured.objects
    if as_json:
        row = {
            "device_instance": device.instance,
            "address": device.address.host,
            "port": device.address.port,
            "vendor_id": device.vendor_id,
            "points": len(objects),
            "other_objects": result.other_objects,
            "complete": result.complete,
            "objects": [{"type": o.object.type.value, "instance": o.object.instance, **o.properties} for o in objects],
        }
        typer.echo(json.dumps(row, ensure_ascii=False))
        return
    partly = "" if result.complete else "  (object list read in part)"
    typer.echo(f"{device.instance:>8}  {device.address!s:<21}  {len(objects):>5} points{partly}")


def _not_saved(device: "Device") -> str:
    """Two that claim one instance are told apart by their addresses only, which may change; so people decide."""
    return (
        f"not saved: device {device.instance} at {device.address}: another device is known by that instance\n"
        f"  next: give it an instance of its own; where it is: bms-iot points list {device.instance} --json"
    )


def _nothing_found(settings: "Settings", address: "DeviceAddress | None", low: int | None, high: int | None) -> str:
    asked = f"at {address}" if address else f"by broadcast from {settings.bacnet.address}:{settings.bacnet.port}"
    who = "no device" if low is None else f"no device from {low} to {high}"
    if address is not None:
        hint = "check address and port, or ask everybody: bms-iot bacnet discover"
    else:
        hint = "bms-iot config set bacnet.address OUR-ADDRESS, or ask one device: --address IP"
    return f"{who} answered {asked}\n  next: {hint}"
