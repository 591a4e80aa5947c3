"""`bms-iot simulate`: the simulated building, until stopped."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bms_iot.simulator import Fault, SimulatedBuilding

Misbehaviour = tuple[int, "Fault", dict[str, float]]


def simulate(
    *,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="UDP port of every device; 0 takes a free one.", show_default="47808, or a free one"),
    ] = None,
    devices: Annotated[
        int | None, typer.Option(min=0, max=2000, help="So many generic devices.", show_default="the building's eleven")
    ] = None,
    points: Annotated[int, typer.Option(min=1, max=4000, help="Objects of each generic device.")] = 50,
    test_mode: Annotated[bool, typer.Option("--test-mode", help="Values say which device, object and tick they are of.")] = False,
    log: Annotated[Path | None, typer.Option(help="Append each answered read to this file, a JSON line each.")] = None,
    misbehave: Annotated[
        list[str] | None, typer.Option(metavar="DEVICE:FAULT[=NUMBER]", help="For example 2003:silent or 2004:slow=8; repeatable.")
    ] = None,
    ill_mannered: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MANNER[=NUMBER][+MANNER…]",
            help="One device more that behaves badly by nature, for example nan or no-rpm+slow=2; repeatable; "
            "`all` is one of each. `--list-manners` explains them.",
        ),
    ] = None,
    list_manners: Annotated[bool, typer.Option("--list-manners", help="Explain the manners and stop.")] = False,
    seed: Annotated[int, typer.Option(help="The same seed gives the same building.")] = 0,
    speed: Annotated[float, typer.Option(min=0.001, max=3600, help="Simulated seconds for each second.")] = 1.0,
    seconds: Annotated[float | None, typer.Option(min=0, help="Stop after so long.", show_default="until stopped")] = None,
) -> None:
    """Run a simulated building of BACnet/IP devices on this machine's loopback addresses.

    Faults can be changed while it runs by lines on standard input, where that is a pipe: `silent 2003`, `slow=8 2004`, `heal 2003`.
    """
    from bms_iot.cli.stopping import until_stopped
    from bms_iot.simulator import SimulatedBuilding

    if list_manners:
        _list_manners()
        return
    wanted = [_parsed(text) for text in misbehave or []]
    try:
        building = SimulatedBuilding(
            port=port,
            devices=devices,
            points=points,
            ill_mannered=_manners(ill_mannered or []),
            test_mode=test_mode,
            log_path=log,
            seed=seed,
            speed=speed,
            fronts=True if wanted else None,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    asyncio.run(until_stopped(_run(building, wanted, seconds)))


def _manners(wanted: list[str]) -> list[str]:
    from bms_iot.simulator.adversary.catalogue import Manners

    return [word for text in wanted for word in ([each.value for each in Manners] if text == "all" else [text])]


def _list_manners() -> None:
    from bms_iot.simulator.adversary.catalogue import explained

    for word, what, number in explained():
        typer.echo(f"{word if number is None else f'{word}={number:g}':<26}{what}")


def _parsed(text: str) -> Misbehaviour:
    from bms_iot.simulator.faults import parse_fault

    device, separator, fault = text.partition(":")
    if not separator or not device.isdecimal():
        raise typer.BadParameter(f"{text!r} is not DEVICE:FAULT, such as 2003:silent", param_hint="--misbehave")
    try:
        return int(device), *parse_fault(fault)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--misbehave") from None


async def _run(building: "SimulatedBuilding", wanted: list[Misbehaviour], seconds: float | None) -> None:
    from bms_iot.cli.simulate_input import commands_from_stdin

    async with building:
        for instance, fault, options in wanted:
            try:
                building.set_fault(instance, fault, **options)
            except ValueError as error:
                raise typer.BadParameter(str(error), param_hint="--misbehave") from None
        _introduce(building)
        try:
            async with asyncio.timeout(seconds), commands_from_stdin(building):
                await building.wait()
        except TimeoutError:
            typer.echo(f"stopped after {seconds:g} s", err=True)


def _introduce(building: "SimulatedBuilding") -> None:
    points = sum(len(device.objects) for device in building.devices)
    typer.echo(
        f"{len(building.devices)} devices with {points} points answer on UDP port {building.port}; "
        f"broadcasts go to {building.broadcast}:{building.port}",
        err=True,
    )
    shown = building.devices if len(building.devices) <= 20 else (building.devices[0], building.devices[-1])
    for device in shown:
        typer.echo(f"  {device.instance}  {device.address.host:<12} {device.name:<16} {len(device.objects)} points", err=True)
    for device in building.devices:
        if device.manners:
            typer.echo(f"  {device.instance}  {device.address.host:<12} {device.manners}", err=True)
    for instance, faults in building.faults().items():
        typer.echo(f"  {instance} misbehaves: {', '.join(fault.value for fault in faults)}", err=True)
