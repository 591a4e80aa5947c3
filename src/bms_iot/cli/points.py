"""`bms-iot points`: what is read, and how often."""

import json
import textwrap
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bms_iot.gateway.points import KnownPoint
    from bms_iot.settings import Settings

app = typer.Typer(name="points", help="The points: what they read, and how often they are read.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
WHICH = "1200 (a device), 1200/AI1, DEVICE/TYPE/NAME with * and ?, or an iot_device_point_id."
DEFAULT = "default"


@app.command("list")
def list_points(
    which: Annotated[str | None, typer.Argument(metavar="POINTS", help=f"{WHICH} All by default.")] = None, as_json: AsJson = False
) -> None:
    """List points with their class and last value. JSON is one object a line."""
    for known in _points(which):
        typer.echo(json.dumps(known.as_json(), ensure_ascii=False, default=str) if as_json else _line(known))


@app.command()
def show(which: Annotated[str, typer.Argument(metavar="POINTS", help=WHICH)], as_json: AsJson = False) -> None:
    """Show all that is known of points. JSON is one object a line."""
    for number, known in enumerate(_points(which)):
        if as_json:
            typer.echo(json.dumps(known.as_json(), ensure_ascii=False, default=str))
            continue
        if number:
            typer.echo("")
        for name, value in known.as_json().items():
            text = f"{name:<20} {'-' if value is None else value}"
            typer.echo(textwrap.fill(text, 80, subsequent_indent=" " * 21, break_on_hyphens=False))


@app.command("set")
def set_class(
    which: Annotated[str, typer.Argument(metavar="POINTS", help=WHICH)],
    polling_class: Annotated[str, typer.Option("--class", help=f"fast, normal or slow; {DEFAULT} takes the choice back.")],
    as_json: AsJson = False,
) -> None:
    """Choose how often points are read. It outweighs the cloud and the settings, and outlives a restart."""
    import asyncio

    from bms_iot.bootstrap import choose_class
    from bms_iot.domain.classes import class_named
    from bms_iot.settings import load_settings

    try:
        chosen = None if polling_class.lower() == DEFAULT else class_named(polling_class)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--class") from None
    points = asyncio.run(choose_class(load_settings(), which, chosen))
    for known in points:
        typer.echo(json.dumps(known.as_json(), ensure_ascii=False, default=str) if as_json else _line(known))
    typer.echo(f"{len(points)} points set; a gateway that runs takes it up within half a minute", err=True)


def _points(which: str | None) -> "list[KnownPoint]":
    import asyncio

    from bms_iot.bootstrap import look_at_points
    from bms_iot.settings import load_settings

    settings: Settings = load_settings()
    return asyncio.run(look_at_points(settings, which))


def _line(known: "KnownPoint") -> str:
    from bms_iot.cli.bacnet_device import fit

    value = known.latest.get("present_value")
    units = f" {known.point.units}" if known.point.units and value is not None else ""
    text = f"{known.spelling:<28} {known.choice.polling_class.value:<6} {'-' if value is None else value}{units}"
    return fit(f"{text}  {known.name}" if known.name else text)
