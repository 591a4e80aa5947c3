"""Building, broker and gateway together. The gateway is a process of its own, started as an operator would start it."""

import asyncio
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bms_iot.demo.observer import Observer
from bms_iot.errors import BmsError
from bms_iot.simulator.broker import EmbeddedBroker
from bms_iot.simulator.building import SimulatedBuilding

ORGANIZATION, SITE, DEVICE = "org_demo", "demo-building", "demo-gateway"
POLL_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What is running."""

    building: SimulatedBuilding
    broker: EmbeddedBroker
    observer: Observer
    gateway: asyncio.subprocess.Process
    log_file: Path
    outages: list[str] = field(default_factory=list)
    """What went away and came back."""

    @property
    def subscribe_command(self) -> str:
        """Shows the stream in another terminal."""
        return f"mosquitto_sub -h {self.broker.host} -p {self.broker.port} -v -t 'iot/global/{ORGANIZATION}/#'"

    async def stop_gateway(self) -> dict[str, Any]:
        """Stop the gateway as a supervisor would; what comes back is its own last account."""
        if self.gateway.returncode is None:
            self.gateway.terminate()
        async with asyncio.timeout(10.0):
            code = await self.gateway.wait()
        for line in reversed(self.log_file.read_text(encoding="utf-8").splitlines()):
            if '"gateway_stopped"' in line:
                return dict(json.loads(line))
        if code == -signal.SIGTERM:  # stopped before it had begun
            return {"committed_readings": 0}
        raise BmsError(f"the gateway ended with exit code {code} and no account", hint=f"its log is {self.log_file}")


@asynccontextmanager
async def open_scene(directory: Path, settings: Mapping[str, str] | None = None) -> AsyncIterator[Scene]:
    """Everything, running, with a fresh database below `directory`; `settings` are further variables for the gateway."""
    shutil.rmtree(directory / "data", ignore_errors=True)
    data = directory / "data"
    data.mkdir(parents=True, mode=0o700)
    observer = Observer()
    async with SimulatedBuilding(speed=20.0) as building, EmbeddedBroker(observer=observer) as broker:
        environment = _environment(data, building, broker) | dict(settings or {})
        log_file = directory / "gateway.log"
        with log_file.open("wb") as log:
            await _run(environment, log_file, log.fileno(), "db", "upgrade")
            await _run(environment, log_file, log.fileno(), "bacnet", "discover", "--save", "--wait", "1")
            gateway = await _start(environment, log.fileno(), "run")
        scene = Scene(building=building, broker=broker, observer=observer, gateway=gateway, log_file=log_file)
        try:
            yield scene
        finally:
            if gateway.returncode is None:
                gateway.terminate()
                await gateway.wait()


async def close_account(scene: Scene, started: float) -> dict[str, Any]:
    """Stop the gateway and set what it kept against what arrived; `started` is the monotonic time the demo began."""
    account, seen = await scene.stop_gateway(), scene.observer
    return {
        "devices": len({identity[0] for identity in seen.points}),
        "points": len(seen.points),
        "readings": account["committed_readings"],
        "delivered": seen.readings,
        "lost": account["committed_readings"] - seen.readings,
        "outages": len(scene.outages),
        "seconds": round(time.monotonic() - started, 1),
    }


def _environment(data: Path, building: SimulatedBuilding, broker: EmbeddedBroker) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BMS_")}
    return inherited | {
        "BMS_DATA_DIRECTORY": str(data),
        "BMS_ORGANIZATION_ID": ORGANIZATION,
        "BMS_SITE_ID": SITE,
        "BMS_DEVICE_ID": DEVICE,
        "BMS_HEARTBEAT_SECONDS": "2",
        "BMS_LOG__FORMAT": "json",
        "BMS_MQTT__HOST": broker.host,
        "BMS_MQTT__PORT": str(broker.port),
        "BMS_MQTT__PROTOCOL": "3.1.1",  # all that the embedded broker speaks
        "BMS_BACNET__ADDRESS": "127.0.0.1",
        "BMS_BACNET__BROADCAST": building.broadcast,
        "BMS_BACNET__PORT": str(building.port),
        "BMS_BACNET__TIMEOUT_SECONDS": "1",
        "BMS_BACNET__TRIES": "2",
        "BMS_POLLING__INTERVAL_SECONDS": str(POLL_SECONDS),
        "BMS_POLLING__BACKOFF_MAX_SECONDS": "4",
    }


async def _start(environment: dict[str, str], log: int, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bms_iot", *arguments, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
        start_new_session=True,
    )  # fmt: skip


async def _run(environment: dict[str, str], log_file: Path, log: int, *arguments: str) -> None:
    process = await _start(environment, log, *arguments)
    if await process.wait():
        raise BmsError(f"bms-iot {' '.join(arguments)} failed: {_last_line(log_file)}", hint=f"see {log_file}")


def _last_line(log_file: Path) -> str:
    said = log_file.read_text(encoding="utf-8").strip().splitlines()
    return said[-1] if said else "it said nothing"
