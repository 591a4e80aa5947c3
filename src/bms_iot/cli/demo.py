"""`bms-iot demo`: everything on this machine, in a minute."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    directory: Annotated[
        Path | None,
        typer.Option(help="Where its database and log go; a temporary directory by default.", envvar="BMS_DEMO_DIRECTORY"),
    ] = None,
) -> None:
    """Run a simulated building, a broker and the gateway; without a terminal a script of one minute with two outages."""
    import asyncio
    import sys
    import tempfile

    from bms_iot.cli.stopping import until_stopped
    from bms_iot.errors import ConfigurationError

    try:
        from bms_iot.demo.screen import run_screen
        from bms_iot.demo.script import run_script
    except ImportError as error:
        raise ConfigurationError(f"the demo needs {error.name}", hint="pip install 'bms-iot[demo]'") from None

    whole = True

    async def show(place: Path) -> None:
        nonlocal whole
        whole = await (run_screen if sys.stdout.isatty() else run_script)(place)

    with tempfile.TemporaryDirectory(prefix="bms-iot-demo-") as temporary:
        asyncio.run(until_stopped(show((directory or Path(temporary)).absolute())))
    if not whole:
        raise typer.Exit(1)
