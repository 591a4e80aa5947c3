"""`bms-iot bacnet objects`: what one controller holds."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from bms_iot.cli.bacnet_device import DeviceArgument, JsonOption, WaitOption

if TYPE_CHECKING:
    from bms_iot.domain.points import Device, DeviceAddress
    from bms_iot.domain.ports import ObjectDescription, ObjectList
    from bms_iot.domain.readings import Reading
    from bms_iot.settings import Settings

AT_ONCE = 200
"""Objects that are read between two words of progress."""


def objects(
    device: DeviceArgument,
    values: Annotated[bool, typer.Option("--values/--no-values", help="Read the present-values, too.")] = True,
    wait: WaitOption = 3.0,
    as_json: JsonOption = False,
) -> None:
    """List the analog, binary and multi-state objects of a device, with their values.

    \b
    bms-iot bacnet objects 1200
    bms-iot bacnet objects 192.168.1.10 --json
    """  # noqa: D301
    import asyncio

    from bms_iot.bacnet.identifiers import parse_device
    from bms_iot.cli.log import configure
    from bms_iot.settings import load_settings

    wanted = parse_device(device)
    settings = load_settings()
    configure(settings.log)
    asyncio.run(_objects(settings, wanted, values, wait, as_json))


async def _objects(settings: "Settings", wanted: "int | DeviceAddress", values: bool, wait: float, as_json: bool) -> None:
    from bms_iot.cli.bacnet_device import as_point, find, our_port
    from bms_iot.cli.progress import Progress

    progress = Progress()
    async with our_port(settings) as network:
        device = await find(network, wanted, wait)
        listed = await network.read_object_list(device)
        for start in range(0, len(listed.objects), AT_ONCE):
            some = listed.objects[start : start + AT_ONCE]
            descriptions = await network.describe_objects(device, some)
            points = [as_point(device, each, number) for number, each in enumerate(some)]
            readings: list[Reading | None] = [*await network.read_points(device, points)] if values else [None] * len(some)
            for described, reading in zip(descriptions, readings, strict=True):
                typer.echo(_json(device, described, reading) if as_json else _row(described, reading))
            progress(start + len(some), len(listed.objects), "objects")
    typer.echo(_summary(device, listed), err=True)
    if not listed.complete:
        raise typer.Exit(1)


def _json(device: "Device", described: "ObjectDescription", reading: "Reading | None") -> str:
    from bms_iot.domain.points import kebab_case
    from bms_iot.domain.readings import typed_value

    row: dict[str, object] = {
        "device_instance": device.instance,
        "type": kebab_case(described.object.type.value),
        "instance": described.object.instance,
        "name": described.name,
        "description": described.description,
        "units": described.units,
    }
    if reading is not None:
        row |= {
            "present_value": reading.present_value,
            "value": typed_value(described.object.type, reading.present_value),
            "quality": reading.quality.value,
            "status_flags": [flag.value for flag in reading.status_flags],
            "error": None if reading.error is None else f"{reading.error.error_class}, {reading.error.error_code}",
        }
    return json.dumps(row, ensure_ascii=False)


def _row(described: "ObjectDescription", reading: "Reading | None") -> str:
    from bms_iot.cli.bacnet_device import fit, spelled

    identifier = spelled(described.object)
    value, note = "", ""
    if reading is not None:
        value = "?" if reading.present_value is None else reading.present_value
        reason = "" if reading.error is None else reading.error.error_code
        note = " ".join(word for word in (*(flag.value for flag in reading.status_flags), reason) if word)
    words = " ".join(word for word in (described.units or "", f"({note})" if note else "") if word)
    return fit(f"{identifier:<22} {value:>12} {words:<18} {described.name or ''}".rstrip())


def _summary(device: "Device", listed: "ObjectList") -> str:
    others = f" and {listed.other} of other types" if listed.other else ""
    partly = "" if listed.complete else "; part of the object list could not be read"
    return f"device {device.instance} at {device.address}: {len(listed.objects)} objects{others}{partly}"
