"""The client against brokers that misbehave: silent, half-open, garbled, of the wrong version."""

import asyncio
import os

import pytest
import structlog

from bms_iot.errors import BrokerUnavailable
from bms_iot.mqtt.client import MqttBroker
from bms_iot.simulator.broker import EmbeddedBroker, free_port
from tests.integration.mqtt_servers import Peer, ScriptedServer, client, soon

MQTT_5, MQTT_3_1_1 = 5, 4


def level(connect: bytes) -> int:
    """The protocol level of a CONNECT's body (MQTT 3.1.1 clause 3.1.2.2)."""
    return connect[6]


async def welcome_and_ignore(peer: Peer) -> None:
    await peer.welcome()
    await peer.end()


async def test_auto_goes_down_to_3_1_1_where_5_is_refused_and_remembers_it():
    levels = []

    async def refuse_5(peer: Peer) -> None:
        _, connect = await peer.packet()
        levels.append(level(connect))
        if level(connect) == MQTT_5:
            peer.send(b"\x20\x02\x00\x01")
            return
        peer.send(b"\x20\x02\x00\x00")
        if levels.count(MQTT_3_1_1) > 1:
            await peer.end()

    async with ScriptedServer(refuse_5) as server, client(server.port, protocol="auto") as gateway:
        while levels.count(MQTT_3_1_1) < 2:
            await soon(gateway.wait_connected())
            await asyncio.sleep(0.01)
    assert levels == [MQTT_5, MQTT_3_1_1, MQTT_3_1_1]


@pytest.mark.parametrize("silent", [False, True])
async def test_auto_goes_down_to_3_1_1_where_5_is_met_with_a_hang_up_or_with_silence(silent):
    async def only_3_1_1(peer: Peer) -> None:
        _, connect = await peer.packet()
        if level(connect) == MQTT_3_1_1:
            peer.send(b"\x20\x02\x00\x00")
        if level(connect) == MQTT_3_1_1 or silent:
            await peer.end()

    async with ScriptedServer(only_3_1_1) as server, client(server.port, protocol="auto", connect_timeout_seconds=0.3) as gateway:
        await soon(gateway.wait_connected())
        assert gateway.protocol == "3.1.1"


async def test_5_alone_does_not_go_down():
    levels = []

    async def refuse(peer: Peer) -> None:
        levels.append(level((await peer.packet())[1]))

    async with ScriptedServer(refuse) as server, client(server.port, protocol="5"):
        while len(levels) < 3:
            await asyncio.sleep(0.01)
    assert set(levels) == {MQTT_5}


async def test_the_embedded_broker_says_that_it_does_not_speak_5():
    async with EmbeddedBroker() as server, client(server.port, protocol="auto", connect_timeout_seconds=30) as gateway:
        await soon(gateway.wait_connected())
        assert gateway.protocol == "3.1.1"


async def test_the_reason_a_broker_gives_for_hanging_up_is_logged():
    async def take_over(peer: Peer) -> None:
        await peer.packet()
        peer.send(b"\x20\x03\x00\x00\x00")
        peer.send(b"\xe0\x02\x8e\x00")
        await peer.end()

    with structlog.testing.capture_logs() as logs:
        async with ScriptedServer(take_over, welcome_and_ignore) as server, client(server.port, protocol="5"):
            while server.connections < 2:
                await asyncio.sleep(0.01)
    assert any("taken over" in entry.get("reason", "") for entry in logs)


async def test_a_half_open_connection_is_given_up_and_the_publisher_told():
    async with ScriptedServer(welcome_and_ignore) as server, client(server.port, acknowledge_timeout_seconds=0.5) as gateway:
        await soon(gateway.wait_connected())
        with pytest.raises(BrokerUnavailable, match="stopped acknowledging"):
            await soon(gateway.publish("t", b"x"))
        assert not gateway.is_connected
        await soon(gateway.wait_connected())
        assert server.connections == 2


async def test_a_broker_that_falls_silent_is_given_up_by_keep_alive():
    with structlog.testing.capture_logs() as logs:
        async with ScriptedServer(welcome_and_ignore) as server, client(server.port, keep_alive_seconds=1) as gateway:
            await soon(gateway.wait_connected())
            while server.connections < 2:
                await asyncio.sleep(0.05)
    assert any("Keep alive" in entry["reason"] for entry in logs if entry["event"] == "mqtt_connection_lost")


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_garbage_from_the_broker_ends_the_connection_and_nothing_else(protocol):
    connections = 40
    done = asyncio.Event()

    async def garble(peer: Peer) -> None:
        await peer.packet()
        if server.connections > connections:
            done.set()
            await peer.end()
            return
        if server.connections % 2:
            peer.send(b"\x20\x03\x00\x00\x00" if protocol == "5" else b"\x20\x02\x00\x00")
        # Cut into packets of every type, so that each parser gets its share.
        body = os.urandom(20)
        peer.send(bytes([(server.connections % 16) << 4 | 2, len(body)]) + body + os.urandom(50))

    async with (
        ScriptedServer(garble) as server,
        client(server.port, protocol=protocol, backoff_first_seconds=0.001, backoff_max_seconds=0.01),
    ):
        await soon(done.wait())


async def test_no_more_than_the_limit_is_under_way_and_each_acknowledgement_lets_one_more_through():
    limit, total = 5, 12
    seen: list[int] = []
    acknowledge = asyncio.Event()

    async def hold_back(peer: Peer) -> None:
        await peer.welcome()
        while True:
            kind, body = await peer.packet()
            if kind == Peer.PUBLISH:
                seen.append(int.from_bytes(body[3:5], "big"))
                if len(seen) >= limit:
                    acknowledge.set()
                    peer.send(b"\x40\x02" + seen[len(seen) - limit].to_bytes(2, "big"))
                if len(seen) == total:
                    for mid in seen[total - limit + 1 :]:
                        peer.send(b"\x40\x02" + mid.to_bytes(2, "big"))

    async with ScriptedServer(hold_back) as server, client(server.port, max_in_flight=limit) as gateway:
        await soon(gateway.wait_connected())
        await soon(asyncio.gather(*(gateway.publish("t", b"x") for _ in range(total))))
    assert len(seen) == total


async def test_everything_under_way_or_waiting_for_room_fails_when_the_connection_ends():
    limit, total = 5, 12
    received = 0

    async def take_some_and_hang_up(peer: Peer) -> None:
        nonlocal received
        await peer.welcome()
        for _ in range(limit):
            await peer.packet()
            received += 1

    async with (
        ScriptedServer(take_some_and_hang_up, welcome_and_ignore) as server,
        client(server.port, max_in_flight=limit) as gateway,
    ):
        await soon(gateway.wait_connected())
        results = await soon(asyncio.gather(*(gateway.publish("t", b"x") for _ in range(total)), return_exceptions=True))
        assert received == limit
        assert all(isinstance(result, BrokerUnavailable) for result in results)


async def test_a_publisher_that_stops_waiting_leaves_room_to_the_others():
    async def acknowledge(peer: Peer) -> None:
        await peer.welcome()
        while True:
            kind, body = await peer.packet()
            if kind == Peer.PUBLISH:
                peer.send(b"\x40\x02" + body[3:5])

    async with ScriptedServer(acknowledge) as server, client(server.port, max_in_flight=2) as gateway:
        await soon(gateway.wait_connected())
        for _ in range(10):
            publishing = asyncio.create_task(gateway.publish("t", b"x"))
            await asyncio.sleep(0)
            publishing.cancel()
        await soon(gateway.publish("t", b"x"))


async def test_a_lost_connection_lets_nobody_through_to_it():
    async def welcome_and_hang_up(peer: Peer) -> None:
        await peer.welcome()

    async with ScriptedServer(welcome_and_hang_up, welcome_and_ignore) as server, client(server.port) as gateway:
        await soon(gateway.wait_connected())
        while server.connections < 2:
            try:
                await gateway.publish("t", b"x")
            except BrokerUnavailable:
                assert not gateway.is_connected
                await soon(gateway.wait_connected())


async def test_pauses_grow_to_the_limit_and_start_over_after_a_connection_that_lasted():
    with structlog.testing.capture_logs() as logs:
        port = free_port()
        async with client(port, backoff_first_seconds=0.01, backoff_max_seconds=0.08):
            while len(logs) < 8:
                await asyncio.sleep(0.01)
    pauses = [entry["retry_seconds"] for entry in logs]
    assert all(entry["event"] == "mqtt_connect_failed" for entry in logs)
    assert max(pauses) <= 0.1


async def test_leaving_does_not_wait_for_a_broker_that_never_answers():
    async def say_nothing(peer: Peer) -> None:
        await peer.end()

    async with ScriptedServer(say_nothing) as server:
        async with asyncio.timeout(2):
            async with client(server.port, connect_timeout_seconds=60):
                while not server.connections:
                    await asyncio.sleep(0.01)


async def test_a_host_name_that_does_not_exist_is_a_failed_attempt_and_no_more():
    with structlog.testing.capture_logs() as logs:
        async with MqttBroker(host="no-such-host.invalid", port=1883, client_id="gateway") as gateway:
            while not logs:
                await asyncio.sleep(0.01)
            assert not gateway.is_connected
    assert logs[0]["event"] == "mqtt_connect_failed"
