"""`bms-iot commands`: what was asked for, and what came of it. Nothing is changed."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from bms_iot.storage.commands import Entry
    from bms_iot.storage.leases import Lease

app = typer.Typer(name="commands", help="The journal of commands, and overrides that are to be released.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]


@app.command("list")
def list_commands(
    name: Annotated[str | None, typer.Argument(help="Only commands of this name, such as set_value_to_point.")] = None,
    limit: Annotated[int, typer.Option(help="How many, the newest first.", min=1, max=10_000)] = 20,
    as_json: AsJson = False,
) -> None:
    """List what was asked for, by whom, when, and what came of it."""
    from bms_iot.storage import commands

    for entry in _read(commands.newest, limit, name):
        typer.echo(json.dumps(_as_json(entry), ensure_ascii=False) if as_json else _line(entry))


@app.command("leases")
def list_leases(as_json: AsJson = False) -> None:
    """List overrides whose lease has not ended, or that could not be released yet."""
    from bms_iot.storage import leases

    for lease in _read(leases.active):
        typer.echo(json.dumps(_lease_as_json(lease), ensure_ascii=False) if as_json else _lease_line(lease))


def _read(work: Any, *arguments: object) -> Any:
    import asyncio

    from bms_iot.provisioning import check_schema
    from bms_iot.settings import load_settings
    from bms_iot.storage.database import open_database

    settings = load_settings()
    check_schema(settings)

    async def read() -> Any:
        async with open_database(settings.url) as database:
            return await database.read(work, *arguments)

    return asyncio.run(read())


def _as_json(entry: "Entry") -> dict[str, object]:
    from bms_iot.mqtt.payload import wire_time

    times = {
        "received_at": entry.received_at,
        "expires_at": entry.expires_at,
        "started_at": entry.started_at,
        "written_at": entry.written_at,
        "finished_at": entry.finished_at,
        "answered_at": entry.answered_at,
    }
    return {
        "id": entry.id,
        "name": entry.name,
        "command_id": entry.command_id,
        "source": entry.source,
        "boot": entry.boot,
        "state": entry.state.value,
        **{key: None if moment is None else wire_time(moment) for key, moment in times.items()},
        "request": dict(entry.request),
        "outcome": None if entry.outcome is None else dict(entry.outcome),
        "duplicates": entry.duplicates,
    }


def _line(entry: "Entry") -> str:
    """At most 80 columns, but for the message, which comes last."""
    moment = entry.received_at.strftime("%Y-%m-%d %H:%M:%S")
    repeated = f" (+{entry.duplicates})" if entry.duplicates else ""
    message = (entry.outcome or {}).get("message", "")
    return f"{moment}  {entry.state.value:<8}  {entry.name:<18}  {entry.command_id}{repeated}  {message}"


def _lease_as_json(lease: "Lease") -> dict[str, object]:
    from datetime import timedelta

    from bms_iot.mqtt.payload import wire_time

    return {
        "iot_device_point_id": lease.iot_device_point_id,
        "priority": lease.priority,
        "value": lease.value,
        "command_id": lease.command_id,
        "granted_at": wire_time(lease.granted_at),
        "expires_at": wire_time(lease.granted_at + timedelta(seconds=lease.seconds)),
        "attempts": lease.attempts,
        "last_error": lease.last_error,
    }


def _lease_line(lease: "Lease") -> str:
    error = f"  {lease.attempts} attempts: {lease.last_error}" if lease.last_error else ""
    until = _lease_as_json(lease)["expires_at"]
    return f"{lease.iot_device_point_id}  priority {lease.priority}  {lease.value}  until {until}{error}"
