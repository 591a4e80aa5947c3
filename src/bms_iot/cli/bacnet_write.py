"""`bms-iot bacnet write`: give a point a value, or give it back."""

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from bms_iot.cli.bacnet_device import DeviceArgument, JsonOption, ObjectArgument, WaitOption

if TYPE_CHECKING:
    from bms_iot.domain.points import Device, DeviceAddress, ObjectIdentifier
    from bms_iot.domain.writing import WriteOutcome, WrittenValue
    from bms_iot.settings import Settings

MANUAL_OPERATOR = 8
"""The priority that ASHRAE 135 clause 19.2 gives a person's override."""


def write(
    device: DeviceArgument,
    identifier: ObjectArgument,
    value: Annotated[str | None, typer.Argument(metavar="VALUE", help="21.5, active, inactive, or the number of a state.")] = None,
    release: Annotated[bool, typer.Option("--release", help="Give the point back: relinquish the priority.")] = False,
    priority: Annotated[int, typer.Option(help="1 (highest) to 16; for points that are commandable.")] = MANUAL_OPERATOR,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    wait: WaitOption = 3.0,
    as_json: JsonOption = False,
) -> None:
    """Write a present-value, read it back, and say who holds the point.

    Needs the setting writes.enabled; writes.priority_floor bounds --priority.
    Exit code 1 when the value is not there afterwards.

    \b
    bms-iot bacnet write 1200 AO3 55
    bms-iot bacnet write 1200 AO3 --release
    bms-iot bacnet write 192.168.1.10 binary-output:1 active --priority 10 --yes
    """  # noqa: D301
    import asyncio

    from bms_iot.bacnet.identifiers import parse_device
    from bms_iot.cli.bacnet_device import polled_object
    from bms_iot.cli.log import configure
    from bms_iot.domain.writing import checked_priority, written_value
    from bms_iot.errors import ConfigurationError, InvalidInput
    from bms_iot.settings import load_settings

    wanted, target = parse_device(device), polled_object(identifier)
    if (value is None) != release:
        raise InvalidInput("a value is missing, or there is one beside --release", hint="give a value, or --release")
    new = written_value(target.type, value)
    checked_priority(priority)
    settings = load_settings()
    configure(settings.log)
    if not settings.writes.enabled:
        raise ConfigurationError("writes are off", hint="bms-iot config set writes.enabled true")
    if priority < settings.writes.priority_floor:
        raise ConfigurationError(
            f"priority {priority} is above {settings.writes.priority_floor}, which writes.priority_floor allows",
            hint=f"bms-iot config set writes.priority_floor {priority}",
        )
    if not yes and not sys.stdin.isatty():
        raise InvalidInput("nobody is there to confirm the write", hint="add --yes")
    asyncio.run(_write(settings, wanted, target, new, priority, yes, wait, as_json))


async def _write(
    settings: "Settings",
    wanted: "int | DeviceAddress",
    target: "ObjectIdentifier",
    value: "WrittenValue",
    priority: int,
    yes: bool,
    wait: float,
    as_json: bool,
) -> None:
    import asyncio

    from bms_iot.cli.bacnet_device import as_point, find, our_port, spelled
    from bms_iot.domain.writing import PointWrite, WriteState

    async with our_port(settings) as network:
        device = await find(network, wanted, wait)
        point = as_point(device, target)
        if not yes:
            (described,) = await network.describe_objects(device, [target])
            (now,) = await network.read_points(device, [point])
            place = f"{spelled(target)} ({described.name}) of device {device.instance} at {device.address}"
            question = f"{place} is {now.present_value}; {_wish(value, priority)}?"
            if not await asyncio.to_thread(typer.confirm, question, err=True):
                typer.echo("nothing was written", err=True)
                raise typer.Exit(1)
        (outcome,) = await network.write_points(device, [PointWrite(point=point, value=value, priority=priority)])
    typer.echo(json.dumps(_as_json(device, outcome), ensure_ascii=False) if as_json else _as_text(outcome))
    if outcome.state is not WriteState.DONE:
        raise typer.Exit(1)


def _wish(value: "WrittenValue", priority: int) -> str:
    return f"relinquish priority {priority}" if value is None else f"write {_shown(value)} at priority {priority}"


def _shown(value: "WrittenValue") -> object:
    from bms_iot.bacnet.values.text import number_text

    if isinstance(value, bool):
        return "active" if value else "inactive"
    return number_text(value) if isinstance(value, float) else value


def _as_text(outcome: "WriteOutcome") -> str:
    before, after = outcome.before or "?", outcome.after or "?"
    return f"{outcome.state.value}: {outcome.reason}" + (f" ({before} -> {after})" if outcome.after is not None else "")


def _as_json(device: "Device", outcome: "WriteOutcome") -> dict[str, object]:
    from bms_iot.cli.bacnet_device import spelled

    holder, error = outcome.holder, outcome.error
    return {
        "device_instance": device.instance,
        "object": spelled(outcome.write.point.object),
        "state": outcome.state.value,
        "reason": outcome.reason,
        "written": outcome.write.value,
        "before": outcome.before,
        "after": outcome.after,
        "priority": outcome.priority,
        "read_back": outcome.is_read_back,
        "holder": None if holder is None else {"priority": holder.priority, "value": holder.value},
        "relinquish_default": outcome.relinquish_default,
        "error": None if error is None else {"class": error.error_class, "code": error.error_code},
        "duration_ms": round(outcome.duration_seconds * 1000, 1),
    }
