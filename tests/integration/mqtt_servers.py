"""Brokers for the tests: mosquitto as a program, and a scripted one that speaks just enough 3.1.1 to misbehave."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import pytest

from bms_iot.mqtt.client import MqttBroker
from bms_iot.simulator.broker import free_port

PATIENCE = 15.0
"""Seconds until a test gives up on something that ought to happen at once."""

T = TypeVar("T")


async def soon(awaitable: Awaitable[T]) -> T:
    return await asyncio.wait_for(awaitable, PATIENCE)


def client(port: int, client_id: str = "gateway", **more: Any) -> MqttBroker:
    """A client with pauses short enough for tests; 3.1.1 unless told otherwise, since amqtt does not answer MQTT 5."""
    defaults: dict[str, Any] = {"host": "127.0.0.1", "protocol": "3.1.1", "backoff_first_seconds": 0.05, "backoff_max_seconds": 0.2}
    return MqttBroker(port=port, client_id=client_id, **{**defaults, **more})


class Mosquitto:
    """mosquitto on one port of 127.0.0.1, keeping sessions and retained messages over `stop` and `start`."""

    def __init__(self, directory: Path, *, options: Sequence[str] = ("allow_anonymous true",)) -> None:
        program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
        if program is None:
            pytest.skip("mosquitto is not installed")
        self.port = free_port()
        self._configuration = directory / "mosquitto.conf"
        kept = ["user root", "persistence true", f"persistence_location {directory}/"]
        self._configuration.write_text("\n".join([*kept, f"listener {self.port} 127.0.0.1", *options, ""]))
        self._command = (program, "-v", "-c", str(self._configuration))
        self._process: asyncio.subprocess.Process | None = None
        self._log: asyncio.Task[None] | None = None
        self._running = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.stop()

    async def start(self) -> None:
        self._running.clear()
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        self._log = asyncio.create_task(self._read_log(self._process))
        await soon(self._running.wait())

    async def stop(self) -> None:
        await self._end(lambda process: process.terminate())

    async def kill(self) -> None:
        await self._end(lambda process: process.kill())

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def _end(self, how: Callable[[asyncio.subprocess.Process], None]) -> None:
        process, self._process = self._process, None
        if process is not None:
            assert self._log is not None
            how(process)
            await soon(process.wait())
            await self._log

    async def _read_log(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            if b" running" in line:
                self._running.set()


class ScriptedServer:
    """Accepts connections one after the other; each is handed to the next of `scripts`, the last one again and again."""

    def __init__(self, *scripts: Callable[["Peer"], Awaitable[None]]) -> None:
        self._scripts = list(scripts)
        self.port = 0
        self.connections = 0
        self._peers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.close()
        for writer in self._peers:
            writer.close()
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._peers.add(writer)
        script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
        try:
            await script(Peer(reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._peers.discard(writer)
            writer.close()


class Peer:
    """The broker's end of one connection."""

    CONNECT, PUBLISH, SUBSCRIBE = 1, 3, 8

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def packet(self) -> tuple[int, bytes]:
        """The next packet's type and body (MQTT 3.1.1 clause 2.2)."""
        first = (await self._reader.readexactly(1))[0]
        length = shift = 0
        while True:
            digit = (await self._reader.readexactly(1))[0]
            length |= (digit & 0x7F) << shift
            shift += 7
            if not digit & 0x80:
                return first >> 4, await self._reader.readexactly(length)

    def send(self, raw: bytes) -> None:
        self._writer.write(raw)

    async def welcome(self) -> bytes:
        """Read CONNECT, answer it with acceptance; returns its body."""
        kind, body = await self.packet()
        assert kind == self.CONNECT
        self.send(b"\x20\x02\x00\x00")
        return body

    async def end(self) -> None:
        """Returns when the client has hung up."""
        while await self._reader.read(65_536):
            pass
