"""An MQTT 3.1.1 broker inside the process, for the demo and the tests."""

import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from amqtt.broker import Broker
from amqtt.mqtt.publish import PublishPacket
from amqtt.plugins.base import BasePlugin

Observer = Callable[[str, bytes, bool], None]
"""Called with topic, payload and the retain flag of every PUBLISH a client sent, before its sender sees the PUBACK."""


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


class EmbeddedBroker:
    """amqtt on one address, anonymous, without TLS. Sessions and retained messages are gone after `stop`.

    `port` is the one given, else a free one chosen at construction; `start` listens on the same one again.
    """

    def __init__(self, *, host: str = "127.0.0.1", port: int | None = None, observer: Observer | None = None) -> None:
        self.host = host
        self.port = port or free_port(host)
        self._observer = observer
        self._broker: Broker | None = None

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
            broker = Broker(self._configuration())
            await broker.start()
            self._broker = broker

    async def stop(self) -> None:
        """Hang up on every client and stop listening; nothing when it already has."""
        broker, self._broker = self._broker, None
        if broker is not None:
            await broker.shutdown()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    def _configuration(self) -> dict[str, Any]:
        plugins: dict[str, Any] = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
        if self._observer is not None:
            plugins[f"{__name__}.{ObserverPlugin.__name__}"] = {"observer": self._observer}
        return {"listeners": {"default": {"type": "tcp", "bind": f"{self.host}:{self.port}"}}, "plugins": plugins}
