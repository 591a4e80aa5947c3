"""The demo on a terminal: one screen of 80 columns, live."""

import asyncio
import json
import time
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bms_iot.demo.observer import Identity, Seen
from bms_iot.demo.scene import Scene, close_account, open_scene
from bms_iot.errors import BmsError

OTHER_ROWS = 18
"""Of the screen, beside the values: headline, devices, footer."""
PAGE_SECONDS = 3.0
WIDTH = 80


async def run_screen(directory: Path) -> bool:
    """Show the scene until cancelled; true when the gateway ended well."""
    console = Console(width=min(WIDTH, Console().width))
    started = time.monotonic()
    console.print("Starting a simulated building, a broker and the gateway …")
    async with open_scene(directory) as scene:
        names = {
            (device.instance, thing.type.value, thing.instance): thing.name
            for device in scene.building.devices
            for thing in device.objects
        }
        try:
            with Live(console=console, refresh_per_second=2, screen=True) as live:
                while scene.gateway.returncode is None:
                    live.update(_screen(scene, names, max(3, console.height - OTHER_ROWS)))
                    await asyncio.sleep(0.5)
        except asyncio.CancelledError:
            console.print_json(json.dumps(await close_account(scene, started)))
            raise
        raise BmsError(f"the gateway ended with exit code {scene.gateway.returncode}", hint=f"see {scene.log_file}")


def _screen(scene: Scene, names: dict[Identity, str], rows: int) -> Group:
    now = time.monotonic()
    return Group(_headline(scene), _devices(scene, now), _values(scene, names, now, rows), _footer(scene))


def _headline(scene: Scene) -> Text:
    seen = scene.observer
    backlog = seen.heartbeat.get("backlog", "-")
    return Text.assemble(
        ("bms-iot demo", "bold"),
        f"  {len(seen.messages):,} messages, {seen.readings:,} readings delivered, backlog {backlog}, gateway {seen.state}",
    )


def _devices(scene: Scene, now: float) -> Table:
    table = Table(box=None, pad_edge=False, width=WIDTH)
    table.add_column("Device", style="cyan")
    table.add_column("Address")
    table.add_column("Points", justify="right")
    table.add_column("Good", justify="right")
    table.add_column("Bad", justify="right")
    table.add_column("Oldest value", justify="right")
    for device in scene.building.devices:
        points = scene.observer.of_device(device.instance).values()
        good = sum(point.quality == "good" for point in points)
        bad = len(points) - good
        table.add_row(
            f"{device.instance} {device.name}", str(device.address), f"{len(points)}/{len(device.objects)}", str(good),
            Text(str(bad), style="red" if bad else ""), _age(min((point.at for point in points), default=None), now),
        )  # fmt: skip
    return table


def _values(scene: Scene, names: dict[Identity, str], now: float, rows: int) -> Table:
    """A page of values with the age of each; the pages turn until every value was shown."""
    points = sorted(scene.observer.points.items())
    pages = [points[at : at + rows] for at in range(0, len(points), rows)] or [[]]
    number = int(now / PAGE_SECONDS) % len(pages)
    table = Table(box=None, pad_edge=False, width=WIDTH)
    table.add_column(f"Values, page {number + 1} of {len(pages)}", no_wrap=True, ratio=5)
    table.add_column("", no_wrap=True, ratio=4, justify="right")
    table.add_column("", no_wrap=True, ratio=1, justify="right", style="dim")
    for identity, seen in pages[number]:
        table.add_row(_named(names, identity), _shown(seen), _age(seen.at, now))
    for _ in range(rows - len(pages[number])):
        table.add_row("", "", "")
    return table


def _named(names: dict[Identity, str], identity: Identity) -> str:
    return f"{identity[0]} {names.get(identity, f'{identity[1]}:{identity[2]}')}"


def _shown(seen: Seen) -> str:
    return f"{'-' if seen.text is None else seen.text[:16]} {'' if seen.units in (None, 'noUnits') else seen.units}".strip()


def _age(at: float | None, now: float) -> str:
    return "-" if at is None else f"{now - at:.1f} s"


def _footer(scene: Scene) -> Text:
    return Text.assemble(("In another terminal (Ctrl-C ends the demo):", "bold"), "\n", scene.subscribe_command)
