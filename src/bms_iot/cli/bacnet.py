"""`bms-iot bacnet`: look at the controllers, and write to them. One verb a file."""

import typer

from bms_iot.cli.bacnet_discover import discover
from bms_iot.cli.bacnet_drift import drift
from bms_iot.cli.bacnet_objects import objects
from bms_iot.cli.bacnet_read import read
from bms_iot.cli.bacnet_subscribe import subscribe
from bms_iot.cli.bacnet_write import write

app = typer.Typer(help="Look at the controllers, and write to them.", no_args_is_help=True)
for verb in (discover, objects, read, subscribe, drift):
    app.command(verb.__name__)(verb)
app.command("write", context_settings={"ignore_unknown_options": True})(write)  # -5 is a value


@app.callback()
def _group() -> None:
    pass
