"""`bms-iot bacnet subscribe`: changes of value as they come."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from bms_iot.cli.bacnet_device import DeviceArgument, JsonOption, WaitOption

if TYPE_CHECKING:
    from bms_iot.domain.points import Device, DeviceAddress, ObjectIdentifier
    from bms_iot.domain.readings import Reading
    from bms_iot.domain.subscriptions import CovTerms
    from bms_iot.settings import Settings


def subscribe(
    device: DeviceArgument,
    identifiers: Annotated[list[str], typer.Argument(metavar="OBJECT", help="Any spelling: AI1, analog-input:1, 0:1.")],
    seconds: Annotated[float | None, typer.Option(help="Stop after so long; else Ctrl-C stops.", min=0.1)] = None,
    lifetime: Annotated[int, typer.Option(help="Seconds a subscription lasts; renewed at half.", min=10, max=86_400)] = 300,
    confirmed: Annotated[bool, typer.Option("--confirmed", help="Ask for confirmed notifications.")] = False,
    wait: WaitOption = 3.0,
    as_json: JsonOption = False,
) -> None:
    """Subscribe to changes of value and print them as they come; the subscriptions are cancelled in the end.

    Exit code 1 when no object could be subscribed to.

    \b
    bms-iot bacnet subscribe 1200 AI1 BI1 MSV3
    bms-iot bacnet subscribe 192.168.1.10 analog-input:1 --seconds 60 --json
    """  # noqa: D301
    import asyncio

    from bms_iot.bacnet.identifiers import parse_device
    from bms_iot.cli.bacnet_device import polled_object
    from bms_iot.cli.log import configure
    from bms_iot.cli.stopping import until_stopped
    from bms_iot.domain.subscriptions import CovTerms
    from bms_iot.settings import load_settings

    wanted, targets = parse_device(device), list(dict.fromkeys(map(polled_object, identifiers)))
    settings = load_settings()
    configure(settings.log)
    terms = CovTerms(lifetime_seconds=lifetime, confirmed=confirmed)
    covered: set[int] = set()
    asyncio.run(until_stopped(_subscribe(settings, wanted, targets, terms, seconds, wait, as_json, covered)))
    if not covered:
        typer.echo("nothing was subscribed to", err=True)
        raise typer.Exit(1)


async def _subscribe(
    settings: "Settings",
    wanted: "int | DeviceAddress",
    targets: "list[ObjectIdentifier]",
    terms: "CovTerms",
    seconds: float | None,
    wait: float,
    as_json: bool,
    covered: set[int],
) -> None:
    import asyncio
    from contextlib import suppress

    from bms_iot.cli.bacnet_device import as_point, find, our_port, spelled
    from bms_iot.domain.points import Point
    from bms_iot.domain.subscriptions import Coverage

    async with our_port(settings) as network:
        device = await find(network, wanted, wait)
        points = [as_point(device, target, number) for number, target in enumerate(targets)]

        def deliver(change: "Reading") -> None:
            typer.echo(_line(device, targets[change.point_id], change, as_json))

        refused, hopeless, ended = set[int](), asyncio.Event(), False

        def report(point: Point, coverage: Coverage, reason: str) -> None:
            if coverage is Coverage.COVERED:
                covered.add(point.id)
            if coverage is Coverage.REFUSED:
                refused.add(point.id)
            if len(refused) == len(points):
                hopeless.set()
            if coverage is not Coverage.PENDING or not ended:
                typer.echo(f"{spelled(point.object)}: {coverage.value}: {reason}", err=True)

        async with asyncio.TaskGroup() as group:
            work = group.create_task(network.follow(device, points, terms, deliver=deliver, report=report))
            try:
                with suppress(TimeoutError):
                    await asyncio.wait_for(hopeless.wait(), seconds)
            finally:
                ended = True
                work.cancel()


def _line(device: "Device", identifier: "ObjectIdentifier", change: "Reading", as_json: bool) -> str:
    from bms_iot.cli.bacnet_device import spelled
    from bms_iot.domain.readings import typed_value

    at = change.acquired_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    flags = [flag.value for flag in change.status_flags]
    if not as_json:
        value = "?" if change.present_value is None else change.present_value
        return f"{at}  {spelled(identifier):<22} {value:>14}  {' '.join(flags)}".rstrip()
    row = {
        "acquired_at": at,
        "device_instance": device.instance,
        "object": spelled(identifier),
        "present_value": change.present_value,
        "value": typed_value(identifier.type, change.present_value),
        "quality": change.quality.value,
        "status_flags": flags,
    }
    return json.dumps(row, ensure_ascii=False)
