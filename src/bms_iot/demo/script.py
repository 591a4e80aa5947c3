"""The demo without a terminal: one minute with two outages, and an account at its end."""

import asyncio
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bms_iot.demo.observer import Observer
from bms_iot.demo.scene import POLL_SECONDS, Scene, close_account, open_scene
from bms_iot.errors import BmsError
from bms_iot.simulator.faults import Fault

LENGTH_SECONDS = 60.0
OUTAGE_SECONDS = 10.0


async def run_script(directory: Path) -> bool:
    """Print what happens on stderr and one JSON line on stdout; true when nothing was lost."""
    started = time.monotonic()
    _say("starting a simulated building, a broker and the gateway")
    async with open_scene(directory) as scene:
        expected = {device.instance: len(device.objects) for device in scene.building.devices}
        await _until("all points", scene, lambda seen: _all_good(seen, expected), 30.0)
        _say(f"all {len(expected)} devices and {sum(expected.values())} points are there")
        await _silence_a_controller(scene, expected)
        await _take_the_broker_away(scene)
        await asyncio.sleep(max(0.0, started + LENGTH_SECONDS - 1.0 - time.monotonic()))
        account = await close_account(scene, started)
    print(json.dumps(account), flush=True)  # noqa: T201 - the account is the demo's data
    return bool(account["lost"] == 0)


async def _silence_a_controller(scene: Scene, expected: dict[int, int]) -> None:
    silent = scene.building.devices[1]
    _say(f"controller {silent.instance} ({silent.name}) goes silent")
    scene.building.set_fault(silent.instance, Fault.SILENT)
    await _until(
        "its points to be reported bad", scene,
        lambda seen: all(point.quality == "bad" for point in seen.of_device(silent.instance).values()), OUTAGE_SECONDS + 10,
    )  # fmt: skip
    _say("its points are reported bad, the other controllers go on")
    scene.building.clear_fault(silent.instance)
    await _until("it to come back", scene, lambda seen: _all_good(seen, expected), 20.0)
    scene.outages.append("controller")
    _say("it answers again")


async def _take_the_broker_away(scene: Scene) -> None:
    before = scene.observer.readings
    _say(f"the broker goes away for {OUTAGE_SECONDS:.0f} s")
    await scene.broker.stop()
    await asyncio.sleep(OUTAGE_SECONDS)
    await scene.broker.start()
    missed = before + int(OUTAGE_SECONDS / POLL_SECONDS - 1) * len(scene.observer.points)
    await _until("the backlog", scene, lambda seen: seen.readings > missed and not seen.gaps(), 30.0)
    scene.outages.append("broker")
    _say("it is back, and so is everything that was read meanwhile")


async def _until(what: str, scene: Scene, holds: Callable[[Observer], bool], seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            while not holds(scene.observer):
                if scene.gateway.returncode is not None:
                    raise BmsError(f"the gateway ended with exit code {scene.gateway.returncode}", hint=f"see {scene.log_file}")
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise BmsError(f"waited {seconds:.0f} s for {what}", hint=f"the gateway's log is {scene.log_file}") from None


def _all_good(seen: Observer, expected: dict[int, int]) -> bool:
    return all(
        sum(point.quality == "good" for point in seen.of_device(instance).values()) >= count for instance, count in expected.items()
    )


def _say(text: str) -> None:
    print(f"demo: {text}", file=sys.stderr, flush=True)  # noqa: T201 - talk for whoever watches
