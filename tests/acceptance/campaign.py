"""Disturb a whole site at random and record what happens: brokers and gateways killed, connections dropped, delayed, held and cut.

Everything is chosen from one seed. What was recorded is judged by `checker`, which is another program.
"""

import asyncio
import contextlib
import json
import os
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Protocol

from paho.mqtt import publish as paho_publish
from paho.mqtt.client import MQTTv311

from bms_iot.simulator.broker import EmbeddedBroker
from bms_iot.simulator.building import SimulatedBuilding
from tests.acceptance.proxy import Proxy, Recorder
from tests.acceptance.site import BASE
from tests.integration.mqtt_servers import Mosquitto

DEVICES, POINTS = 3, 18
SETTLE_SECONDS = 60.0
COMMANDED_ABOVE = 2_000_000.0
"""Values of commands; those of the simulation's test mode are below 2**21 with so few devices and points."""


class AnyBroker(Protocol):
    port: int

    async def start(self) -> None: ...

    async def kill(self) -> None: ...


class Amqtt(EmbeddedBroker):
    """amqtt forgets sessions and what is retained whenever it stops, so a stop is as good as a kill."""

    async def kill(self) -> None:
        await self.stop()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How often each thing happens."""

    broker_kills: int
    gateway_kills: int
    each_fault: int
    commands: int

    def shuffled(self, chance: Random) -> list[str]:
        faults = [fault for fault in ("drop", "delay", "hold", "cut") for _ in range(self.each_fault)]
        events = ["broker"] * self.broker_kills + ["gateway"] * self.gateway_kills + faults + ["command"] * self.commands
        chance.shuffle(events)
        return events


@dataclass
class Campaign:
    """One run in `directory`."""

    directory: Path
    broker: AnyBroker
    building: SimulatedBuilding
    proxy: Proxy
    recorder: Recorder
    chance: Random
    gateway: asyncio.subprocess.Process | None = None
    points: list[dict[str, Any]] = field(default_factory=list)
    """Commandable ones, as they came on `B/bulk`."""
    boots: set[int] = field(default_factory=set)
    acknowledged: set[tuple[int, int]] = field(default_factory=set)
    answered: dict[str, str] = field(default_factory=dict)
    sent: dict[str, dict[str, Any]] = field(default_factory=dict)
    _commands: int = 0

    def __post_init__(self) -> None:
        self.recorder.listeners.append(self._acknowledged)
        (self.directory / "commands.jsonl").touch()

    @property
    def database(self) -> Path:
        return self.directory / "data" / "bms_bacnet.db"

    async def run(self, plan: Plan) -> None:
        await self.start_gateway()
        await self.until(lambda: len(self.points) >= DEVICES, "the first readings")
        for event in plan.shuffled(self.chance):
            await asyncio.sleep(self.chance.uniform(0.2, 2.0))
            await self._disturb(event)
        await self.settle()

    async def _disturb(self, event: str) -> None:
        self.note(f"disturbed: {event}")
        match event:
            case "broker":
                await self.broker.kill()
                await asyncio.sleep(self.chance.uniform(0.0, 3.0))
                await self.broker.start()
            case "gateway":
                await self.kill_gateway()
                await self.start_gateway()
                if self.chance.random() < 0.7:
                    boots = len(self.boots)
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(self.chance.uniform(2.0, 8.0)):
                            while len(self.boots) == boots:
                                await asyncio.sleep(0.05)
            case "drop":
                self.proxy.drop()
            case "delay":
                self.proxy.delay_seconds = self.chance.uniform(0.05, 0.5)
                await asyncio.sleep(self.chance.uniform(0.5, 2.0))
                self.proxy.delay_seconds = 0.0
            case "hold":
                self.proxy.hold()
            case "cut":
                self.proxy.cut()
            case "command":
                await self.command()

    async def settle(self) -> None:
        """Everything well again: wait until all that was committed was acknowledged and every command answered; then stop."""
        await self.until(lambda: bool(self.waiting()) or self.is_drained(), "the database")
        for body in self.sent.values():
            await self._insist(body)
        await asyncio.sleep(5.0)  # leases of the last commands end
        await self.send("stop_monitoring", {"commandId": "last"})
        await self._insist(self.sent["last"])
        await self.until(self.is_drained, "everything that was committed to be delivered")
        assert self.gateway is not None
        self.gateway.terminate()
        assert await asyncio.wait_for(self.gateway.wait(), SETTLE_SECONDS) == 0
        self.note("committed", keys=self.waiting())

    async def _insist(self, body: dict[str, Any]) -> None:
        """Send a command again until its answer has come, as a cloud does that may not be heard."""
        for _ in range(20):
            if body["commandId"] in self.answered:
                return
            await self._publish(body)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(6.0):
                    while body["commandId"] not in self.answered:
                        await asyncio.sleep(0.05)
        raise AssertionError(f"{body['commandId']} was never answered\n{self.log_end()}")

    def is_drained(self) -> bool:
        return set(self.waiting()) <= self.acknowledged

    def waiting(self) -> list[tuple[int, int]]:
        """(boot, seq) of every message the outbox holds, those included that it keeps after delivery."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            return connection.execute("SELECT boot, seq FROM outbox ORDER BY boot, seq").fetchall()

    async def start_gateway(self) -> None:
        self.note("started")
        with (self.directory / "gateway.log").open("ab") as log:
            self.gateway = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bms_iot", "run", env=self.environment(),
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    async def kill_gateway(self) -> None:
        assert self.gateway is not None
        self.note("killed")
        self.gateway.kill()
        await self.gateway.wait()
        self.note("committed", keys=self.waiting())

    async def command(self) -> None:
        """A write, by chance expired, leased or repeated."""
        self._commands += 1
        number = self._commands
        kind = self.chance.choice(("plain", "plain", "expired", "lease"))
        point = self.points[number % len(self.points)]
        body: dict[str, Any] = {
            "commandId": f"c{number}",
            "iotDevicePointId": point["iot_device_point_id"],
            "controllerId": point["controller_id"],
            "pointInstanceId": str(point["point_id"]),
            "presentValue": COMMANDED_ABOVE + number,
            "commandType": "set_value_to_point",
            "priority": 9 if kind == "lease" else 10,
        }
        if kind == "lease":
            body["leaseSeconds"] = self.chance.randrange(1, 5)
        if kind == "expired":
            body["expiresAt"] = (datetime.now(UTC) - timedelta(seconds=self.chance.uniform(0.1, 60))).isoformat()
        await self.send("set_value_to_point", body, expired=kind == "expired")
        for _ in range(self.chance.choice((0, 0, 1, 4))):
            await self._publish(body)

    async def send(self, name: str, body: dict[str, Any], **marks: Any) -> None:
        self.sent[body["commandId"]] = {**body, "_name": name, "_marks": marks}
        await self._publish(self.sent[body["commandId"]])

    async def _publish(self, body: dict[str, Any]) -> None:
        command = self.sent[body["commandId"]]
        content = {key: value for key, value in command.items() if not key.startswith("_")}
        row = {"time": time.time(), "name": command["_name"], "body": content, **command["_marks"]}
        with (self.directory / "commands.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            await asyncio.wait_for(
                asyncio.to_thread(
                    paho_publish.single, f"{BASE}/command/{command['_name']}/request", json.dumps(content), qos=1,
                    hostname="127.0.0.1", port=self.broker.port, protocol=MQTTv311, keepalive=5,
                ),
                10.0,
            )  # fmt: skip

    def note(self, event: str, **more: Any) -> None:
        with (self.directory / "events.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"time": time.time(), "event": event, **more}) + "\n")

    async def until(self, holds: Callable[[], bool], what: str, seconds: float = SETTLE_SECONDS) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not holds():
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"waited {seconds} s for {what}\n{self.log_end()}") from None

    def log_end(self) -> str:
        return (self.directory / "gateway.log").read_text(encoding="utf-8")[-4000:]

    def _acknowledged(self, topic: str, payload: Any) -> None:
        if topic.endswith("/bulk") and "gap" not in payload:
            self.acknowledged.add((payload["boot"], payload["seq"]))
            self.boots.add(payload["boot"])
            known = {point["iot_device_point_id"] for point in self.points}
            self.points += [
                point
                for point in payload["points"]
                if point["bacnet_object_type"] in ("analogOutput", "analogValue") and point["iot_device_point_id"] not in known
            ]
        elif topic.endswith("/response") and payload.get("state") != "duplicate":
            self.answered[payload["commandId"]] = payload["state"]

    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("BMS_")}
        return {
            **inherited,
            "BMS_DATA_DIRECTORY": str(self.directory / "data"),
            "BMS_ORGANIZATION_ID": "org_test",
            "BMS_SITE_ID": "site",
            "BMS_DEVICE_ID": "gateway",
            "BMS_MQTT__HOST": "127.0.0.1",
            "BMS_MQTT__PORT": str(self.proxy.port),
            "BMS_MQTT__KEEP_ALIVE_SECONDS": "5",
            "BMS_BACNET__ADDRESS": "127.0.0.1",
            "BMS_BACNET__BROADCAST": self.building.broadcast,
            "BMS_BACNET__PORT": str(self.building.port),
            "BMS_POLLING__INTERVAL_SECONDS": "1",
            "BMS_WRITES__ENABLED": "true",
            "BMS_WRITES__PER_MINUTE": "6000",
            "BMS_CLOCK__TRUSTED": "always",
            "BMS_LOG__LEVEL": "debug",
        }


@asynccontextmanager
async def open_campaign(directory: Path, broker: AnyBroker, chance: Random) -> AsyncIterator[Campaign]:
    """The site without its gateway: devices, broker and proxy run, the database knows the building."""
    recorder = Recorder(directory / "broker.jsonl")
    building = SimulatedBuilding(
        port=0, test_mode=True, devices=DEVICES, points=POINTS,
        log_path=directory / "answers.jsonl", write_log_path=directory / "writes.jsonl",
    )  # fmt: skip
    try:
        async with building, Proxy(broker.port, recorder) as proxy:
            campaign = Campaign(directory, broker, building, proxy, recorder, chance)
            for arguments in (("db", "upgrade"), ("bacnet", "discover", "--save", "--wait", "1")):
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "bms_iot", *arguments, env=campaign.environment(),
                    stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
                )  # fmt: skip
                _, err = await asyncio.wait_for(process.communicate(), SETTLE_SECONDS)
                assert process.returncode == 0, err.decode()
            try:
                yield campaign
            finally:
                if campaign.gateway is not None and campaign.gateway.returncode is None:
                    campaign.gateway.kill()
                    await campaign.gateway.wait()
    finally:
        recorder.close()


def mosquitto(directory: Path) -> Mosquitto:
    return Mosquitto(directory, options=("allow_anonymous true", "autosave_interval 1", "max_queued_messages 0"))
