"""A site whose one device counts what is written to it, and tells of each request before it answers: the moment to strike."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, cast

from bms_iot.simulator.adversary import requests
from bms_iot.simulator.adversary.manner import Manner
from bms_iot.simulator.adversary.requests import Asked, Request
from tests.acceptance.site import Site, open_consumer
from tests.integration.bacnet_devices import INSTANCE, adversary
from tests.integration.bacnet_responder import free_port
from tests.integration.mqtt_servers import Mosquitto

QUIET = {"BMS_POLLING__INTERVAL_SECONDS": "3600", "BMS_BACNET__TIMEOUT_SECONDS": "0.5", "BMS_BACNET__TRIES": "2"}
PRIORITY_ARRAY = 87


class Watched(Manner):
    """Notes every write, and gives a test the word before a request is answered."""

    def __init__(self) -> None:
        super().__init__(0, Random(0))
        self.writes: list[tuple[bytes, int | None]] = []
        """Octets of the value and priority, of every WriteProperty that arrived."""
        self.strike: Callable[[str], bool] | None = None
        """Called with `look`, `write` or `other`; true drops the request."""

    def refuse(self, request: Request, asked: Sequence[Asked]) -> bytes | None:
        word = "other"
        if request.service == requests.WRITE_PROPERTY:
            written = requests.write_property(request.body)
            self.writes.append((written.octets, written.priority))
            word = "write"
        elif any(each.property == PRIORITY_ARRAY for each in asked):
            word = "look"
        return b"" if self.strike is not None and self.strike(word) else None


@dataclass
class Blow:
    """The gateway is killed at the first request of a kind, `look` or `write`, after so many writes have arrived."""

    at: str
    writes: int = 0
    is_lost: bool = False
    """The request at which it happens is not carried out."""
    is_silent: bool = False
    """The device says nothing from then on."""
    struck: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class CommandedSite:
    """The site, its device, and the cloud's side of commands."""

    site: Site
    device: Watched
    points: dict[str, str] = field(default_factory=dict)
    """Keys by object type."""

    @property
    def point(self) -> str:
        """An analog output from 0 to 100."""
        return self.points["ANALOG_OUTPUT"]

    async def command(self, name: str, body: dict[str, Any] | bytes, *options: str) -> None:
        """Publish it as a cloud would, large ones from a file."""
        payload = self.site.directory / "payload"
        payload.write_bytes(body if isinstance(body, bytes) else json.dumps(body).encode())
        await self.site.publish(name, payload, *options)

    async def set_value(self, command_id: str, value: object = 50.0, **more: Any) -> None:
        await self.command(
            "set_value_to_point", {"commandId": command_id, "iotDevicePointId": self.point, "presentValue": value, **more}
        )

    def answers(self, command_id: str | None, name: str = "set_value_to_point") -> list[dict[str, Any]]:
        return [a for a in self.site.consumer.on(f"command/{name}/response") if a.get("commandId") == command_id]

    async def answer(self, command_id: str | None, name: str = "set_value_to_point", count: int = 1) -> list[dict[str, Any]]:
        await self.site.until(lambda: len(self.answers(command_id, name)) >= count)
        return self.answers(command_id, name)

    async def start(self) -> None:
        """The gateway is there, and has read its points, which it does once in these tests."""
        online = self._online()
        await self.site.start()
        await self.site.until(lambda: self._online() > online)
        ((boot,),) = self.site.query("SELECT max(boot) FROM boots")
        await self.site.until(lambda: any(message["boot"] == boot for message in self.site.consumer.on("bulk")))

    def _online(self) -> int:
        return sum(message["state"] == "online" for message in self.site.consumer.on("status/update"))

    def strike(self, blow: Blow) -> None:
        """Prepare it."""
        before = len(self.device.writes)

        def strike(word: str) -> bool:
            if blow.struck.is_set():
                return blow.is_silent
            written = len(self.device.writes) - before - (word == "write")
            if word != blow.at or written < blow.writes:
                return False
            blow.struck.set()
            self.kill()
            return blow.is_lost

        self.device.strike = strike

    def kill(self) -> None:
        """SIGKILL, at once; `gone` follows."""
        assert self.site.gateway is not None
        self.site.gateway.kill()

    async def gone(self) -> int:
        assert self.site.gateway is not None
        return await asyncio.wait_for(self.site.gateway.wait(), 30)


@asynccontextmanager
async def commanded_site(
    directory: Path, *, settings: dict[str, str] | None = None, broker_options: Sequence[str] = ("allow_anonymous true",)
) -> AsyncIterator[CommandedSite]:
    """Everything but the gateway is running; writes are on."""
    watched = Watched()
    async with (
        adversary(watched) as (_, device),
        Mosquitto(directory, options=broker_options) as broker,
        open_consumer(directory, broker.port, settings or {}) as consumer,
    ):
        place = SimpleNamespace(broadcast="127.255.255.255", port=free_port())
        given = {**QUIET, "BMS_WRITES__ENABLED": "true", **(settings or {})}
        site = Site(directory, cast("Any", place), broker, consumer, given)
        address = f"{device.address.host}:{device.address.port}"
        for arguments in (("db", "upgrade"), ("bacnet", "discover", "--save", "--wait", "1", "--address", address)):
            code, _, err = await site.command(*arguments)
            assert code == 0, err
        commanded = CommandedSite(
            site, watched, dict(site.query("SELECT bacnet_object_type, iot_device_point_id FROM controller_points"))
        )
        assert device.instance == INSTANCE
        try:
            yield commanded
        finally:
            watched.strike = None
            if site.gateway is not None and site.gateway.returncode is None:
                site.gateway.kill()
                await site.gateway.wait()
