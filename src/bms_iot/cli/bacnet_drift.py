"""`bms-iot bacnet drift`: how the network differs from what is known."""

import json
import textwrap
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bms_iot.domain.drift import Drift, DriftReport
    from bms_iot.domain.points import Device
    from bms_iot.errors import BacnetError
    from bms_iot.settings import Settings

DRIFT_EXIT_CODE = 3


def drift(
    wait: Annotated[float, typer.Option(help="Seconds to wait for answers.", min=0.1, max=60.0)] = 3.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare the network with what the gateway reads. Changes nothing. Exit code 0: no difference, 3: there are some."""
    import asyncio

    from bms_iot.cli.log import configure
    from bms_iot.settings import load_settings

    settings = load_settings()
    configure(settings.log)
    report, failed = asyncio.run(_compare(settings, wait))
    typer.echo(json.dumps(report.as_json(), ensure_ascii=False)) if as_json else _print(report)
    for device, error in failed.items():
        typer.echo(f"device {device.instance} at {device.address}: {error}", err=True)
    if report:
        raise typer.Exit(DRIFT_EXIT_CODE)
    if failed:
        raise typer.Exit(1)


async def _compare(settings: "Settings", wait: float) -> "tuple[DriftReport, dict[Device, BacnetError]]":
    from bms_iot.bootstrap import known_devices, open_readers
    from bms_iot.gateway.rediscover import look_again

    known = await known_devices(settings)
    async with open_readers(settings) as network:
        return await look_again(network, known, wait_seconds=wait, on_start=_progress)


def _progress(device: "Device") -> None:
    typer.echo(f"reading device {device.instance} at {device.address}", err=True)


def _print(report: "DriftReport") -> None:
    for found in report.drifts:
        for line in lines(found):
            typer.echo(line)
    counts = ", ".join(f"{number} {kind}" for kind, number in report.counts.items())
    typer.echo(f"{report.devices} known devices compared: {counts or 'no drift'}", err=True)


def lines(found: "Drift") -> list[str]:
    """One difference in lines of at most 80 columns."""
    what = f"{found.kind.value:<13}{found.device_instance:>8}  {found.object or 'device'!s:<24}"
    text = found.change or f"at {found.address}"
    if len(what) + 2 + len(text) <= 80:
        return [f"{what}  {text}"]
    return [what.rstrip(), *textwrap.wrap(text, 80, initial_indent="    ", subsequent_indent="      ")]
