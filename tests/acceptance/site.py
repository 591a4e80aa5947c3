"""A whole site on this machine: simulated building, mosquitto, the gateway as a process, and an independent consumer."""

import asyncio
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from bms_iot.simulator.building import SimulatedBuilding
from tests.integration.mqtt_servers import Mosquitto

BASE = "iot/global/org_test/site/gateway"
PATIENCE = 30.0
NO_SETTINGS: Mapping[str, str] = MappingProxyType({})


@dataclass
class Consumer:
    """mosquitto_sub with a session of its own; what it received is read from the file it writes."""

    file: Path
    process: asyncio.subprocess.Process

    def received(self) -> list[tuple[str, bool, dict[str, Any]]]:
        """(topic, retained, payload), in order of arrival; an unfinished last line is left out."""
        lines = self.file.read_text(encoding="utf-8").split("\n")[:-1]
        messages = []
        for line in lines:
            topic, retained, payload = line.split("\t", 2)
            messages.append((topic, retained == "1", json.loads(payload) if payload else {}))
        return messages

    def on(self, topic: str) -> list[dict[str, Any]]:
        return [payload for received, _, payload in self.received() if received == f"{BASE}/{topic}"]


@dataclass
class Site:
    """What runs, and how to end and restart it."""

    directory: Path
    building: SimulatedBuilding
    broker: Mosquitto
    consumer: Consumer
    settings: dict[str, str]
    gateway: asyncio.subprocess.Process | None = None
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.directory / "gateway.log"

    @property
    def database(self) -> Path:
        return self.directory / "data" / "bms_bacnet.db"

    async def command(self, *arguments: str) -> tuple[int, str, str]:
        """Run `bms-iot` to its end: exit code, stdout, stderr."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bms_iot", *arguments, env=self.environment(),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("BMS_")}
        return {
            **inherited,
            "BMS_DATA_DIRECTORY": str(self.directory / "data"),
            "BMS_ORGANIZATION_ID": "org_test",
            "BMS_SITE_ID": "site",
            "BMS_DEVICE_ID": "gateway",
            "BMS_MQTT__HOST": "127.0.0.1",
            "BMS_MQTT__PORT": str(self.broker.port),
            "BMS_BACNET__ADDRESS": "127.0.0.1",
            "BMS_BACNET__BROADCAST": self.building.broadcast,
            "BMS_BACNET__PORT": str(self.building.port),
            "BMS_POLLING__INTERVAL_SECONDS": "1",
            "BMS_LOG__LEVEL": "debug",
            **self.settings,
        }

    async def start(self) -> None:
        """Start the gateway; returns at once."""
        with self.log.open("ab") as log:
            self.gateway = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bms_iot", "run", env=self.environment(),
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.gateway is not None
        self.gateway.terminate()
        return await asyncio.wait_for(self.gateway.wait(), PATIENCE)

    async def kill(self) -> None:
        """SIGKILL."""
        assert self.gateway is not None
        self.gateway.kill()
        await asyncio.wait_for(self.gateway.wait(), PATIENCE)

    async def send(self, name: str, body: dict[str, Any], *options: str) -> None:
        """Publish a command as a cloud would."""
        await self._publish(name, *options, "-m", json.dumps(body))

    async def publish(self, name: str, payload: Path, *options: str) -> None:
        """Publish what a file holds as a command."""
        await self._publish(name, *options, "-f", str(payload))

    async def _publish(self, name: str, *options: str) -> None:
        process = await asyncio.create_subprocess_exec(
            "mosquitto_pub", "-h", "127.0.0.1", "-p", str(self.broker.port), "-q", "1", *_credentials(self.settings),
            "-t", f"{BASE}/command/{name}/request", *options,
        )  # fmt: skip
        assert await asyncio.wait_for(process.wait(), PATIENCE) == 0

    def query(self, statement: str) -> list[Any]:
        """What the database holds, read past the gateway."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            return connection.execute(statement).fetchall()

    async def until(self, holds: Callable[[], bool], seconds: float = PATIENCE) -> None:
        """Wait for something to become true; the gateway's log is the failure's text."""
        try:
            async with asyncio.timeout(seconds):
                while not holds():
                    await asyncio.sleep(0.1)
        except TimeoutError:
            pytest.fail(f"waited {seconds} s; the gateway said:\n{self.log.read_text()[-4000:]}")

    async def answer(self, name: str, command_id: str) -> dict[str, Any]:
        """The answer to a command, when it has come."""
        answers: list[dict[str, Any]] = []

        def has_come() -> bool:
            answers[:] = [a for a in self.consumer.on(f"command/{name}/response") if a.get("commandId") == command_id]
            return bool(answers)

        await self.until(has_come)
        assert len(answers) == 1
        return answers[0]

    def waiting(self) -> list[tuple[int, int]]:
        """(boot, seq) of what waits in the outbox, read past the gateway."""
        return self.query("SELECT boot, seq FROM outbox EXCEPT SELECT boot, seq FROM deliveries ORDER BY boot, seq")


@asynccontextmanager
async def open_site(
    directory: Path,
    *,
    test_mode: bool = False,
    settings: dict[str, str] | None = None,
    broker_options: Sequence[str] = ("allow_anonymous true",),
) -> AsyncIterator[Site]:
    """Everything but the gateway is running; the database is at head and knows the building."""
    if shutil.which("mosquitto_sub") is None:
        pytest.skip("mosquitto_sub is not installed (Debian: mosquitto-clients)")
    answers = directory / "answers.jsonl" if test_mode else None
    async with (
        SimulatedBuilding(port=0, test_mode=test_mode, log_path=answers) as building,
        Mosquitto(directory, options=broker_options) as broker,
        open_consumer(directory, broker.port) as consumer,
    ):
        site = Site(directory, building, broker, consumer, settings or {})
        for arguments in (("db", "upgrade"), ("bacnet", "discover", "--save", "--wait", "1")):
            code, _, err = await site.command(*arguments)
            assert code == 0, err
        try:
            yield site
        finally:
            if site.gateway is not None and site.gateway.returncode is None:
                site.gateway.kill()
                await site.gateway.wait()


@asynccontextmanager
async def open_consumer(directory: Path, port: int, settings: Mapping[str, str] = NO_SETTINGS) -> AsyncIterator[Consumer]:
    """Hears everything below `iot/global`; with the gateway's user and password where it has them."""
    file = directory / "consumer.tsv"
    arguments: Sequence[str] = (
        "-h",
        "127.0.0.1",
        "-p",
        str(port),
        "-q",
        "1",
        "-i",
        "consumer",
        "-c",
        "-t",
        "iot/global/#",
        "-T",
        f"{BASE}/command/+/request",
    )
    arguments = (*arguments, *_credentials(settings))
    with file.open("wb") as out:
        process = await asyncio.create_subprocess_exec("mosquitto_sub", *arguments, "-F", "%t\t%r\t%p", stdout=out)
    try:
        yield Consumer(file, process)
    finally:
        process.terminate()
        await process.wait()


def _credentials(settings: Mapping[str, str]) -> tuple[str, ...]:
    if "BMS_MQTT__PASSWORD" not in settings:
        return ()
    return ("-u", settings["BMS_MQTT__USERNAME"], "-P", settings["BMS_MQTT__PASSWORD"])
