"""`bms-iot bacnet read`: any property of any object."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from bms_iot.cli.bacnet_device import DeviceArgument, JsonOption, ObjectArgument, WaitOption

if TYPE_CHECKING:
    from bms_iot.domain.identifiers import AnyObject, AnyProperty, AnyValue
    from bms_iot.domain.points import Device, DeviceAddress
    from bms_iot.settings import Settings


def read(
    device: DeviceArgument,
    identifier: ObjectArgument,
    properties: Annotated[
        list[str] | None,
        typer.Argument(metavar="PROPERTY", help="present-value (default), presentValue, 85, priority-array[3]."),
    ] = None,
    wait: WaitOption = 3.0,
    as_json: JsonOption = False,
) -> None:
    """Read properties of any object, whole arrays too. Exit code 1 when one cannot be read.

    \b
    bms-iot bacnet read 1200 AI1
    bms-iot bacnet read 192.168.1.10 AO3 present-value priority-array
    bms-iot bacnet read 1200 device:1200 object-list
    bms-iot bacnet read 2001:0c "analogInput 1" 85 units --json
    """  # noqa: D301
    import asyncio

    from bms_iot.bacnet.identifiers import parse_device, parse_object, parse_property
    from bms_iot.cli.log import configure
    from bms_iot.settings import load_settings

    wanted, target = parse_device(device), parse_object(identifier)
    asked = [parse_property(each) for each in properties or ["present-value"]]
    settings = load_settings()
    configure(settings.log)
    asyncio.run(_read(settings, wanted, target, asked, wait, as_json))


async def _read(
    settings: "Settings", wanted: "int | DeviceAddress", target: "AnyObject", asked: "list[AnyProperty]", wait: float, as_json: bool
) -> None:
    from bms_iot.cli.bacnet_device import find, our_port

    async with our_port(settings) as network:
        device = await find(network, wanted, wait)
        answers = await network.read_any(device, [(target, each) for each in asked])
    for answer in answers:
        _print(device, answer, as_json, alone=len(answers) == 1)
    if any(answer.error is not None and answer.error.error_code == "unknown-object" for answer in answers):
        typer.echo(f"  next: see what it holds: bms-iot bacnet objects {device.address}", err=True)
    if any(answer.error is not None for answer in answers):
        raise typer.Exit(1)


def _print(device: "Device", answer: "AnyValue", as_json: bool, *, alone: bool) -> None:
    from bms_iot.bacnet.identifiers import object_text, property_text

    name = property_text(answer.property)
    error = None if answer.error is None else f"{answer.error.error_class}, {answer.error.error_code}"
    if as_json:
        row = {"device_instance": device.instance, "object": object_text(answer.identifier), "property": name}
        typer.echo(json.dumps({**row, "value": answer.value, "error": error}, ensure_ascii=False))
    elif error is not None:
        typer.echo(f"{object_text(answer.identifier)} {name}: {error}", err=True)
    elif isinstance(answer.value, list) and answer.value and answer.property.index is None:
        typer.echo("\n".join(_lines(answer, "" if alone else f"{name} ")))
    else:
        typer.echo(answer.text if alone else f"{name}: {answer.text}")


def _lines(answer: "AnyValue", prefix: str) -> list[str]:
    """One line for each element, numbered as the array is."""
    elements = answer.value if isinstance(answer.value, list) else [answer.value]
    return [f"{prefix}[{number}] {_plain(element)}" for number, element in enumerate(elements, 1)]


def _plain(element: object) -> str:
    return element if isinstance(element, str) else json.dumps(element, ensure_ascii=False)
