"""The demo on a terminal: one screen of 80 columns, live."""

import asyncio
import time
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bms_iot.demo.observer import Identity, Seen
from bms_iot.demo.scene import Scene, open_scene
from bms_iot.errors import BmsError

ROWS_PER_PAGE = 5
PAGE_SECONDS = 3.0
WIDTH = 80


async def run_screen(directory: Path) -> bool:
    """Show the scene until cancelled; true when the gateway ended well."""
    console = Console(width=min(WIDTH, Console().width))
    console.print("Starting a simulated building, a broker and the gateway …")
    async with open_scene(directory) as scene:
        names = {
            (device.instance, thing.type.value, thing.instance): thing.name
            for device in scene.building.devices
            for thing in device.objects
        }
        with Live(console=console, refresh_per_second=2, screen=True) as live:
            while scene.gateway.returncode is None:
                live.update(_screen(scene, names))
                await asyncio.sleep(0.5)
        raise BmsError(f"the gateway ended with exit code {scene.gateway.returncode}", hint=f"see {scene.log_file}")


def _screen(scene: Scene, names: dict[Identity, str]) -> Group:
    now = time.monotonic()
    return Group(_headline(scene), _devices(scene, now), _values(scene, names, now), _footer(scene))


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


def _values(scene: Scene, names: dict[Identity, str], now: float) -> Table:
    """A page of values with the age of each; the pages turn until every value was shown."""
    table = Table(box=None, pad_edge=False, width=WIDTH, title="Values", title_justify="left", title_style="bold")
    for _ in range(2):
        table.add_column("", no_wrap=True, ratio=4)
        table.add_column("", no_wrap=True, ratio=3, justify="right")
        table.add_column("", no_wrap=True, ratio=1, justify="right", style="dim")
    table.show_header = False
    points = sorted(scene.observer.points.items())
    pages = _batches(points)
    page = list(pages[int(now / PAGE_SECONDS) % len(pages)]) if pages else []
    cells = [(_named(names, identity), _shown(seen), _age(seen.at, now)) for identity, seen in page]
    cells += [("", "", "")] * (2 * ROWS_PER_PAGE - len(cells))
    for row in range(ROWS_PER_PAGE):
        table.add_row(*cells[row], *cells[row + ROWS_PER_PAGE])
    return table


def _batches(points: list[tuple[Identity, Seen]]) -> list[tuple[tuple[Identity, Seen], ...]]:
    size = 2 * ROWS_PER_PAGE
    return [tuple(points[at : at + size]) for at in range(0, len(points), size)]


def _named(names: dict[Identity, str], identity: Identity) -> str:
    return f"{identity[0]} {names.get(identity, f'{identity[1]}:{identity[2]}')}"


def _shown(seen: Seen) -> str:
    return f"{'-' if seen.text is None else seen.text[:9]} {'' if seen.units in (None, 'noUnits') else seen.units}".strip()


def _age(at: float | None, now: float) -> str:
    return "-" if at is None else f"{now - at:.1f} s"


def _footer(scene: Scene) -> Text:
    return Text.assemble(("In another terminal: ", "bold"), scene.subscribe_command, "\n", ("Ctrl-C ends the demo.", "dim"))
