"""`bms-iot` and its groups."""

from typing import Annotated

import typer

from bms_iot import __version__
from bms_iot.cli import bacnet, commands, config, db, mqtt, points
from bms_iot.cli.demo import demo
from bms_iot.cli.mqtt_traffic import traffic
from bms_iot.cli.points_history import history
from bms_iot.cli.run import run, run_main
from bms_iot.cli.simulate import simulate

app = typer.Typer(
    name="bms-iot",
    help="Gateway between a building's BACnet/IP controllers and its cloud.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(db.app, name="db")
app.add_typer(config.app, name="config")
app.add_typer(commands.app, name="commands")
app.add_typer(bacnet.app, name="bacnet")
app.add_typer(mqtt.app, name="mqtt")
mqtt.app.command()(traffic)
points.app.command()(history)
app.add_typer(points.app, name="points")
app.command()(run)
app.command()(run_main)
app.command()(simulate)
app.command()(demo)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bms-iot {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    pass
