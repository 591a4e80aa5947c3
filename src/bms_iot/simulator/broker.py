"""An MQTT 3.1.1 broker inside the process, for the demo and the tests."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from amqtt.adapters import StreamReaderAdapter, StreamWriterAdapter
from amqtt.broker import Broker
from amqtt.mqtt.publish import PublishPacket
from amqtt.plugins.base import BaseAuthPlugin, BasePlugin

Observer = Callable[[str, bytes, bool], None]
"""Called with topic, payload and the retain flag of every PUBLISH a client sent, before its sender sees the PUBACK."""

_LISTENER: Final = "default"
_CONNECT_START_BYTES: Final = 14
"""Of the shortest CONNECT: fixed header 2, protocol name 6, level 1, flags 1, keep-alive 2, empty client id 2."""
_NAME_AND_LEVEL: Final = 7
_MQTT_3_1_1: Final = b"\x00\x04MQTT\x04"
_WRONG_VERSION: Final = b"\x20\x02\x00\x01"
"""CONNACK with return code 1 (MQTT 3.1.1 clause 3.2.2.3)."""
_CONNECT_SECONDS: Final = 5.0
_STOP_SECONDS: Final = 5.0


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


class ObserverPlugin(BasePlugin[Any]):  # type: ignore[misc]  # amqtt is not analysed
    """Tells the observer what clients publish. amqtt builds it, by its dotted name."""

    @dataclass
    class Config:
        """`observer` is an Observer."""

        observer: Any = None

    async def on_mqtt_packet_received(self, *, packet: object, session: object = None) -> None:
        if isinstance(packet, PublishPacket):
            self.config.observer(packet.topic_name, bytes(packet.data or b""), bool(packet.retain_flag))


class OpenPlugin(BaseAuthPlugin):  # type: ignore[misc]  # as above
    """Lets everybody in. amqtt's own plugin for that marks them anonymous, and forgets the sessions of those."""

    async def authenticate(self, *, session: object) -> bool:
        return True


class _Replayed(StreamReaderAdapter):  # type: ignore[misc]  # as above
    """A stream whose first bytes were already looked at."""

    def __init__(self, start: bytes, reader: asyncio.StreamReader) -> None:
        super().__init__(reader)
        self._start = start

    async def read(self, n: int = -1) -> bytes:
        if not self._start:
            return bytes(await super().read(n))
        start = self._start if n < 0 else self._start[:n]
        self._start = self._start[len(start) :]
        missing = n - len(start)
        return start + bytes(await super().read(missing)) if missing > 0 else start


class EmbeddedBroker:
    """amqtt on one address, open to everybody, without TLS. Sessions and retained messages are gone after `stop`.

    `port` is the one given, else a free one chosen at construction; `start` listens on the same one again. The connections are
    accepted here and not by amqtt, which does not answer MQTT 5 and cannot hang up on a client that is sending.
    """

    def __init__(self, *, host: str = "127.0.0.1", port: int | None = None, observer: Observer | None = None) -> None:
        self.host = host
        self.port = port or free_port(host)
        self._observer = observer
        self._broker: Broker | None = None
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def __aenter__(self) -> Self:
        for name in ("amqtt", "transitions"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; nothing when it already does."""
        if self._broker is None:
            self._broker = Broker(self._configuration())
            await self._broker.start()
            self._server = await asyncio.start_server(self._accept, self.host, self.port)

    async def stop(self) -> None:
        """Hang up on every client and stop listening; nothing when it already has."""
        broker, self._broker = self._broker, None
        server, self._server = self._server, None
        if broker is None or server is None:
            return
        server.close()
        await server.wait_closed()
        for writer in self._connections.values():
            writer.transport.abort()
        if self._connections:
            await asyncio.wait(list(self._connections), timeout=_STOP_SECONDS)
        await broker.shutdown()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = writer
        try:
            if (start := await _start_of_connect(reader, writer)) and self._broker is not None:
                await self._broker.external_connected(_Replayed(start, reader), StreamWriterAdapter(writer), _LISTENER)
        finally:
            del self._connections[task]
            writer.close()

    def _configuration(self) -> dict[str, Any]:
        plugins: dict[str, Any] = {f"{__name__}.{OpenPlugin.__name__}": {}}
        if self._observer is not None:
            plugins[f"{__name__}.{ObserverPlugin.__name__}"] = {"observer": self._observer}
        return {"listeners": {_LISTENER: {"type": "external", "bind": f"{self.host}:{self.port}"}}, "plugins": plugins}


async def _start_of_connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """The first bytes of a 3.1.1 CONNECT; of another version nothing, and the client is told."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, TimeoutError):
        async with asyncio.timeout(_CONNECT_SECONDS):
            start = await reader.readexactly(_CONNECT_START_BYTES)
            # The remaining length has one to four bytes, the last without the high bit (MQTT 3.1.1 clause 2.2.3).
            body = 1 + next((index for index in range(1, 5) if not start[index] & 0x80), 4)
            if start[body : body + _NAME_AND_LEVEL] == _MQTT_3_1_1:
                return start
            writer.write(_WRONG_VERSION)
            await writer.drain()
    return b""
