"""A TCP proxy between gateway and broker: it records what reached the broker and what the broker acknowledged, and misbehaves.

It decodes MQTT by itself (MQTT 3.1.1 and 5, clauses 2.1 and 3.3) and knows nothing of the gateway's code.
"""

import asyncio
import contextlib
import json
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

CONNECT, PUBLISH, PUBACK = 1, 3, 4
MQTT_5 = 5


class Packets:
    """Cuts a stream of octets into MQTT packets."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, octets: bytes) -> Iterator[tuple[int, int, bytes]]:
        """(type, flags, body) of each packet that is complete by now."""
        self._rest += octets
        while (cut := self._cut()) is not None:
            first, body = cut
            yield first >> 4, first & 0x0F, body

    def _cut(self) -> tuple[int, bytes] | None:
        length = shift = 0
        for at in range(1, min(5, len(self._rest))):
            length |= (self._rest[at] & 0x7F) << shift
            shift += 7
            if not self._rest[at] & 0x80:
                end = at + 1 + length
                if len(self._rest) < end:
                    return None
                first, body, self._rest = self._rest[0], self._rest[at + 1 : end], self._rest[end:]
                return first, body
        return None


@dataclass
class Recorder:
    """Writes what passes: a line for each PUBLISH that reached the broker in whole, and one for its acknowledgement."""

    path: Path
    published: int = 0
    listeners: list[Callable[[str, Any], None]] = field(default_factory=list)
    """Called with topic and payload of each message when the broker has acknowledged it."""

    def __post_init__(self) -> None:
        self._file = self.path.open("a", encoding="utf-8")

    def close(self) -> None:
        self._file.close()

    def write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps({"time": time.time(), **line}) + "\n")
        self._file.flush()


class Watched:
    """One connection as the recorder sees it."""

    def __init__(self, recorder: Recorder, number: int) -> None:
        self._recorder, self._number = recorder, number
        self._to_broker, self._to_client = Packets(), Packets()
        self._is_5 = False
        self._waiting: dict[int, tuple[int, str, Any]] = {}

    def sent(self, octets: bytes) -> None:
        """The broker's socket has these."""
        for kind, flags, body in self._to_broker.feed(octets):
            if kind == CONNECT:
                self._is_5 = body[6] == MQTT_5
            elif kind == PUBLISH:
                self._published(flags, body)

    def answered(self, octets: bytes) -> None:
        """The broker said this."""
        for kind, _, body in self._to_client.feed(octets):
            if kind == PUBACK and (message := self._waiting.pop(int.from_bytes(body[:2], "big"), None)) is not None:
                identity, topic, payload = message
                if len(body) > 2 and body[2] >= 0x80:
                    continue
                self._recorder.write({"acknowledged": identity})
                for listener in self._recorder.listeners:
                    listener(topic, payload)

    def _published(self, flags: int, body: bytes) -> None:
        length = int.from_bytes(body[:2], "big")
        topic, at = body[2 : 2 + length].decode(), 2 + length
        mid = int.from_bytes(body[at : at + 2], "big") if flags & 0x06 else 0
        at += 2 if flags & 0x06 else 0
        if self._is_5:
            size, at = _variable(body, at)
            at += size
        payload = json.loads(body[at:]) if len(body) > at else None
        self._recorder.published += 1
        identity = self._recorder.published
        self._recorder.write(
            {
                "publish": identity,
                "connection": self._number,
                "topic": topic,
                "retain": bool(flags & 1),
                "duplicate": bool(flags & 8),
                "payload": payload,
            }
        )
        if mid:
            self._waiting[mid] = identity, topic, payload


def _variable(body: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (body[at] & 0x7F) << shift
        shift += 7
        at += 1
        if not body[at - 1] & 0x80:
            return value, at


@dataclass(eq=False)
class Tunnel:
    """One client's connection and the broker's end of it."""

    client: asyncio.StreamWriter
    broker: asyncio.StreamWriter
    watched: Watched
    is_held: bool = False
    """Half open: nothing passes any more, and neither side is told."""

    def abort(self) -> None:
        for writer in (self.client, self.broker):
            with contextlib.suppress(OSError):
                sock: socket.socket = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


class Proxy:
    """Listens on `port`, forwards to `target`."""

    def __init__(self, target: int, recorder: Recorder) -> None:
        self._target, self._recorder = target, recorder
        self.port = 0
        self.connections = 0
        self.delay_seconds = 0.0
        self._cut_next = False
        self._tunnels: set[Tunnel] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def drop(self) -> None:
        """Reset every connection."""
        for tunnel in list(self._tunnels):
            tunnel.abort()

    def hold(self) -> None:
        """Leave every connection half open; new ones are well."""
        for tunnel in self._tunnels:
            tunnel.is_held = True

    def cut(self) -> None:
        """Reset the connection in the middle of the next thing the gateway sends."""
        self._cut_next = True

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            try:
                there, back = await asyncio.open_connection("127.0.0.1", self._target)
            except OSError:
                writer.transport.abort()
                return
            self.connections += 1
            tunnel = Tunnel(writer, back, Watched(self._recorder, self.connections))
            await self._serve(tunnel, reader, there)
        finally:
            self._tasks.discard(task)

    async def _serve(self, tunnel: Tunnel, reader: asyncio.StreamReader, there: asyncio.StreamReader) -> None:
        self._tunnels.add(tunnel)
        pumps = [
            asyncio.create_task(self._pump(tunnel, reader, tunnel.broker, outwards=True)),
            asyncio.create_task(self._pump(tunnel, there, tunnel.client, outwards=False)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self._tunnels.discard(tunnel)
            tunnel.abort()
            await asyncio.gather(tunnel.client.wait_closed(), tunnel.broker.wait_closed(), return_exceptions=True)

    async def _pump(self, tunnel: Tunnel, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, outwards: bool) -> None:
        """Returns when a side has hung up; a half-open tunnel ends only when the client does."""
        while octets := await reader.read(65_536):
            if self.delay_seconds:
                await asyncio.sleep(self.delay_seconds)
            if tunnel.is_held:
                continue
            if outwards and self._cut_next and len(octets) > 1:
                self._cut_next = False
                octets = octets[: len(octets) // 2]
                await self._forward(tunnel, octets, writer, outwards=outwards)
                await asyncio.sleep(0.05)
                return
            await self._forward(tunnel, octets, writer, outwards=outwards)
        if tunnel.is_held and not outwards:
            await asyncio.Event().wait()

    async def _forward(self, tunnel: Tunnel, octets: bytes, writer: asyncio.StreamWriter, *, outwards: bool) -> None:
        if not outwards:
            tunnel.watched.answered(octets)
        writer.write(octets)
        await writer.drain()
        if outwards:
            tunnel.watched.sent(octets)
