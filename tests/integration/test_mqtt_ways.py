"""Ways to the broker: WebSocket, an HTTP proxy; and credentials that change while the gateway runs."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog
from pydantic import SecretStr
from websockets import Subprotocol
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as websocket_server

from bms_iot.errors import ConfigurationError
from bms_iot.mqtt.client import MqttBroker
from bms_iot.mqtt.options import Credentials
from bms_iot.mqtt.proxy import Proxy
from tests.integration.mqtt_servers import Mosquitto, ScriptedServer, client, soon


@dataclass
class HttpProxy:
    """Opens tunnels by CONNECT for who says `password`; every other request is refused."""

    port: int = 0
    targets: list[str] = field(default_factory=list)
    tunnels: list[asyncio.Task[None]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tunnels.append(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            target = head.split()[1]
            self.targets.append(target)
            if f"Basic {base64.b64encode(b'box:canary').decode()}" not in head:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
                return
            host, port = target.rsplit(":", 1)
            there, back = await asyncio.open_connection("127.0.0.1" if host == "broker.example" else host, int(port))
            writer.write(b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n")
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while octets := await reader.read(65_536):
                writer.write(octets)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)


@asynccontextmanager
async def http_proxy() -> AsyncIterator[HttpProxy]:
    proxy = HttpProxy()
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await server.wait_closed()
        await soon(asyncio.gather(*proxy.tunnels))


def through(proxy: HttpProxy, password: str = "canary") -> Credentials:
    return Credentials(proxy=Proxy(host="127.0.0.1", port=proxy.port, username="box", password=SecretStr(password)))


@asynccontextmanager
async def websocket_front(broker_port: int, paths: list[str]) -> AsyncIterator[int]:
    """A listener for MQTT over WebSocket in front of a broker (MQTT 5 clause 6); yields its port."""

    async def serve(socket: ServerConnection) -> None:
        assert socket.request is not None
        paths.append(socket.request.path)
        reader, writer = await asyncio.open_connection("127.0.0.1", broker_port)

        async def inwards() -> None:
            async for frame in socket:
                assert isinstance(frame, bytes)
                writer.write(frame)
                await writer.drain()

        async def outwards() -> None:
            while octets := await reader.read(5_000):
                await socket.send(octets)

        pumps = [asyncio.create_task(pump) for pump in (inwards(), outwards())]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        writer.close()
        await asyncio.gather(*pumps, writer.wait_closed(), return_exceptions=True)

    async with websocket_server(serve, "127.0.0.1", 0, subprotocols=[Subprotocol("mqtt")]) as server:
        yield next(iter(server.sockets)).getsockname()[1]


async def exchange(gateway: MqttBroker, size: int) -> None:
    await soon(gateway.wait_connected())
    payloads = [b"%d" % number * size for number in range(5)]
    await soon(asyncio.gather(*(gateway.publish("t", payload) for payload in payloads)))
    for payload in payloads:
        message = await soon(gateway.receive())
        assert message.payload == payload
        gateway.acknowledge(message)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_mqtt_travels_over_websocket(tmp_path, protocol):
    paths: list[str] = []
    async with (
        Mosquitto(tmp_path) as server,
        websocket_front(server.port, paths) as port,
        client(port, protocol=protocol, websocket_path="/mqtt", subscriptions=["t"]) as gateway,
    ):
        await exchange(gateway, 20_000)
        assert gateway.protocol == protocol
    assert paths == ["/mqtt"]


async def test_mqtt_travels_through_an_http_proxy_which_resolves_the_name(tmp_path):
    async with (
        http_proxy() as proxy,
        Mosquitto(tmp_path) as server,
        client(server.port, host="broker.example", credentials=through(proxy), subscriptions=["t"]) as gateway,
    ):
        await exchange(gateway, 20_000)
        assert proxy.targets == [f"broker.example:{server.port}"]


async def test_a_proxy_that_refuses_says_so_without_the_password(tmp_path):
    with structlog.testing.capture_logs() as logs:
        async with http_proxy() as proxy, client(1, credentials=through(proxy, "canary-not")) as gateway:
            while not logs:
                await asyncio.sleep(0.01)
            assert not gateway.is_connected
    assert "407" in logs[0]["reason"]
    assert "canary" not in repr(logs)


async def test_what_is_no_proxy_is_called_so(tmp_path):
    async def speak(peer):
        peer.send(b"220 mail.example ESMTP\r\n\r\n")
        await peer.end()

    with structlog.testing.capture_logs() as logs:
        async with ScriptedServer(speak) as server:
            proxy = Credentials(proxy=Proxy(host="127.0.0.1", port=server.port))
            async with client(1, credentials=proxy):
                while not logs:
                    await asyncio.sleep(0.01)
    assert "no HTTP proxy" in logs[0]["reason"]


async def hold(peer):
    await peer.welcome()
    await peer.end()


async def test_credentials_are_asked_for_before_each_connect_and_those_before_serve_where_they_cannot_be_read():
    asked = 0
    connects = []

    def credentials() -> Credentials:
        nonlocal asked
        asked += 1
        if asked == 3:
            raise ConfigurationError("the secret cannot be read")
        return Credentials(username=f"user{asked}")

    async def turn_away(peer):
        _, body = await peer.packet()
        connects.append(body)

    with structlog.testing.capture_logs() as logs:
        async with ScriptedServer(turn_away) as server, client(server.port, credentials=credentials):
            while len(connects) < 4:
                await asyncio.sleep(0.01)
    names = [next(name for name in (b"user1", b"user2", b"user4") if name in body) for body in connects[:4]]
    assert names == [b"user1", b"user2", b"user2", b"user4"]
    assert any(entry["event"] == "mqtt_credentials_unreadable" for entry in logs)


async def test_renewing_leaves_in_peace_and_connects_at_once():
    said = []

    async def welcome_and_listen(peer):
        await peer.welcome()
        said.append(await peer.packet())
        await peer.end()

    async with (
        ScriptedServer(welcome_and_listen) as server,
        client(server.port, backoff_first_seconds=600.0, backoff_max_seconds=600.0) as gateway,
    ):
        await soon(gateway.wait_connected())
        gateway.renew()
        while server.connections < 2:
            await asyncio.sleep(0.01)
        await soon(gateway.wait_connected())
    assert said[0] == (14, b"")


async def test_renewing_ends_a_pause():
    async def turn_away(peer):
        await peer.packet()

    async with (
        ScriptedServer(turn_away, hold) as server,
        client(server.port, backoff_first_seconds=600.0, backoff_max_seconds=600.0) as gateway,
    ):
        while server.connections < 1:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        gateway.renew()
        await soon(gateway.wait_connected())


async def vanish(gateway: MqttBroker) -> None:
    async with gateway:
        await soon(gateway.wait_connected())
        raise ZeroDivisionError


async def test_the_last_will_waits_as_long_as_it_is_told(tmp_path):
    settings: dict[str, Any] = {"protocol": "5", "will_topic": "t", "will_payload": b"lost"}
    async with (
        Mosquitto(tmp_path) as server,
        client(server.port, "reader", protocol="5", subscriptions=["t"]) as reader,
    ):
        await soon(reader.wait_connected())
        for delay, first in ((0, b"lost"), (1, b"still here")):
            with pytest.raises(ZeroDivisionError):
                await vanish(client(server.port, f"gateway{delay}", will_delay_seconds=delay, **settings))
            if delay:
                await soon(reader.publish("t", b"still here"))
            message = await soon(reader.receive())
            assert message.payload == first
        assert (await soon(reader.receive())).payload == b"lost"
