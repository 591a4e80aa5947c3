"""The client against real brokers: amqtt in this process always, mosquitto where it is installed."""

import asyncio
import collections
import contextlib
import gc
import itertools
import os
import sys
import textwrap
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bms_iot.errors import BrokerUnavailable
from bms_iot.mqtt.client import MqttBroker
from bms_iot.simulator.broker import EmbeddedBroker
from tests.integration.mqtt_servers import Mosquitto, client, soon

Server = EmbeddedBroker | Mosquitto


@pytest.fixture(params=["amqtt", pytest.param("mosquitto", marks=pytest.mark.system)])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Server:
    """A broker that does not run yet."""
    return EmbeddedBroker() if request.param == "amqtt" else Mosquitto(tmp_path)


@pytest.fixture
async def running(server: Server) -> AsyncIterator[Server]:
    async with server:
        yield server


async def test_a_publish_returns_when_the_broker_has_it(running):
    async with client(running.port, "reader", subscriptions=["t/#"]) as reader, client(running.port) as gateway:
        await soon(reader.wait_connected())
        await soon(gateway.wait_connected())
        await soon(gateway.publish("t/1", b"21.7"))
        message = await soon(reader.receive())
        assert (message.topic, message.payload, message.retain) == ("t/1", b"21.7", False)
        reader.acknowledge(message)


async def test_the_observer_has_seen_a_message_when_its_sender_knows_of_it():
    seen = []
    async with EmbeddedBroker(observer=lambda *message: seen.append(message)) as server, client(server.port) as gateway:
        await soon(gateway.wait_connected())
        for number in range(20):
            await soon(gateway.publish(f"t/{number}", b"x", retain=number % 2 == 0))
            assert len(seen) == number + 1
    assert seen == [(f"t/{number}", b"x", number % 2 == 0) for number in range(20)]


async def test_it_starts_with_the_broker_down_and_connects_when_it_comes(server):
    async with client(server.port) as gateway:
        assert not gateway.is_connected
        with pytest.raises(BrokerUnavailable):
            await gateway.publish("t", b"x")
        async with server:
            await soon(gateway.wait_connected())
            await soon(gateway.publish("t", b"x"))


class Flow:
    """Workers that send without end, each message until it is acknowledged, as the outbox does."""

    def __init__(self, gateway: MqttBroker) -> None:
        self._gateway = gateway
        self._numbers = itertools.count()
        self.attempts: collections.Counter[bytes] = collections.Counter()
        self.acknowledged: set[bytes] = set()
        self._milestone = 0
        self._reached = asyncio.Event()
        self._enough = asyncio.Event()

    async def work(self) -> None:
        while not self._enough.is_set():
            payload = b"%d" % next(self._numbers)
            while payload not in self.acknowledged:
                await soon(self._gateway.wait_connected())
                self.attempts[payload] += 1
                with contextlib.suppress(BrokerUnavailable):
                    await self._gateway.publish("t", payload)
                    self.acknowledged.add(payload)
            if len(self.acknowledged) >= self._milestone:
                self._reached.set()

    async def more(self) -> None:
        """Returns when a hundred more are acknowledged."""
        self._milestone = len(self.acknowledged) + 100
        self._reached.clear()
        await soon(self._reached.wait())

    def end(self) -> None:
        self._enough.set()


async def test_a_broker_that_restarts_in_mid_flow_gets_everything_and_nothing_its_caller_did_not_send():
    arrived: collections.Counter[bytes] = collections.Counter()
    async with (
        EmbeddedBroker(observer=lambda _topic, payload, _retain: arrived.update([payload])) as server,
        client(server.port) as gateway,
    ):
        flow = Flow(gateway)
        async with asyncio.TaskGroup() as workers:
            for _ in range(20):
                workers.create_task(flow.work())
            for _ in range(3):
                await flow.more()
                await server.restart()
            await flow.more()
            flow.end()
    assert set(arrived) == flow.acknowledged
    assert sum(flow.attempts.values()) > len(flow.acknowledged)
    assert all(arrived[payload] <= flow.attempts[payload] for payload in arrived)


@pytest.mark.system
async def test_a_broker_killed_in_mid_flow_gets_nothing_its_caller_did_not_send(tmp_path):
    arrived: collections.Counter[bytes] = collections.Counter()

    async def count(reader: MqttBroker) -> None:
        while (message := await reader.receive()).payload != b"end":
            reader.acknowledge(message)
            arrived[message.payload] += 1

    async with (
        Mosquitto(tmp_path) as server,
        client(server.port) as gateway,
        client(server.port, "reader", subscriptions=["t"]) as reader,
    ):
        await soon(reader.wait_connected())
        counting = asyncio.create_task(count(reader))
        flow = Flow(gateway)
        async with asyncio.TaskGroup() as workers:
            for _ in range(20):
                workers.create_task(flow.work())
            await flow.more()
            await server.kill()
            await server.start()
            await flow.more()
            flow.end()
        await soon(reader.wait_connected())
        await soon(gateway.publish("t", b"end"))
        await soon(counting)
    assert sum(flow.attempts.values()) > len(flow.acknowledged)
    assert arrived
    assert all(arrived[payload] <= flow.attempts[payload] for payload in arrived)


GATEWAY = """
    import asyncio, sys
    from bms_iot.mqtt.client import MqttBroker

    async def main(port, ending):
        async with MqttBroker(host="127.0.0.1", port=port, client_id="gateway", protocol="3.1.1",
                              will_topic="status", will_payload=b"lost") as gateway:
            await gateway.wait_connected()
            await gateway.publish("status", b"online", retain=True)
            print("online", flush=True)
            await asyncio.to_thread(sys.stdin.readline)
            if ending == "crash":
                raise SystemError("something unexpected")
            await gateway.publish("status", b"shutdown", retain=True)

    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
"""


async def statuses_of_a_gateway_that(ending: str, port: int) -> list[bytes]:
    """What a reader sees on the status topic from a gateway process that ends by `kill`, `crash` or `leave`."""
    async with client(port, "reader", subscriptions=["status"]) as reader:
        await soon(reader.wait_connected())
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            textwrap.dedent(GATEWAY),
            str(port),
            ending,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert process.stdout is not None
        assert process.stdin is not None
        while await soon(process.stdout.readline()) != b"online\n":
            assert process.returncode is None
        if ending == "kill":
            process.kill()
        else:
            process.stdin.write(b"\n")
        await soon(process.communicate())
        # Messages of one sender arrive in order, so that nothing comes between the gateway's last and this one.
        async with client(port, "closer") as closer:
            await soon(closer.wait_connected())
            seen = [] if ending == "leave" else [(await soon(reader.receive())).payload for _ in range(2)]
            await soon(closer.publish("status", b"end"))
        while (message := await soon(reader.receive())).payload != b"end":
            seen.append(message.payload)
        return seen


@pytest.mark.parametrize(("ending", "last"), [("kill", b"lost"), ("crash", b"lost"), ("leave", b"shutdown")])
async def test_the_last_will_appears_after_a_kill_and_a_crash_but_not_after_a_clean_leave(running, ending, last):
    assert await statuses_of_a_gateway_that(ending, running.port) == [b"online", last]


async def test_the_last_will_is_retained(running):
    async def gateway_that_breaks() -> None:
        async with client(running.port, will_topic="status", will_payload=b"lost") as gateway:
            await soon(gateway.wait_connected())
            raise LookupError("a defect")

    with pytest.raises(LookupError):
        await gateway_that_breaks()
    async with client(running.port, "early", subscriptions=["status"]) as early:
        assert (await soon(early.receive())).payload == b"lost"
        async with client(running.port, "late", subscriptions=["status"]) as late:
            message = await soon(late.receive())
            assert (message.payload, message.retain) == (b"lost", True)


async def test_a_retained_message_is_seen_as_retained(running):
    async with client(running.port, "cloud") as cloud:
        await soon(cloud.wait_connected())
        await soon(cloud.publish("command/reboot/request", b"{}", retain=True))
    async with client(running.port, subscriptions=["command/+/request"]) as gateway:
        message = await soon(gateway.receive())
        assert message.retain
        assert message.topic == "command/reboot/request"


async def test_a_message_sent_while_away_arrives_after_the_return(running):
    async with client(running.port, subscriptions=["command/#"]) as gateway:
        await soon(gateway.wait_connected())
    async with client(running.port, "cloud") as cloud:
        await soon(cloud.wait_connected())
        await soon(cloud.publish("command/a", b"while you were away"))
    async with client(running.port, subscriptions=["command/#"]) as gateway:
        message = await soon(gateway.receive())
        assert message.payload == b"while you were away"
        gateway.acknowledge(message)


async def test_of_a_message_too_large_only_the_beginning_and_the_size_arrive_and_the_next_one_whole(running):
    limit = 70_000
    async with client(running.port, "cloud") as cloud:
        async with client(running.port, subscriptions=["command"], max_incoming_bytes=limit) as gateway:
            await soon(cloud.wait_connected())
            await soon(gateway.wait_connected())
            await soon(cloud.publish("command", b"x" * (limit + 1)))
            await soon(cloud.publish("command", b"x" * limit))
            cut = await soon(gateway.receive())
            assert (cut.cut_from, cut.payload) == (limit + 1, b"x" * 65_536)
            gateway.acknowledge(cut)
            message = await soon(gateway.receive())
            assert (message.cut_from, len(message.payload)) == (0, limit)
            gateway.acknowledge(message)
        async with client(running.port, subscriptions=["command"]) as gateway:
            await soon(gateway.wait_connected())
            await soon(cloud.publish("command", b"next"))
            assert (await soon(gateway.receive())).payload == b"next"


async def test_large_messages_travel_both_ways(running):
    payload = os.urandom(500_000)
    async with client(running.port, subscriptions=["t"]) as gateway:
        await soon(gateway.wait_connected())
        await soon(gateway.publish("t", payload))
        assert (await soon(gateway.receive())).payload == payload


async def test_on_connect_runs_after_every_connect_when_publishing_works(running):
    greetings = asyncio.Semaphore(0)

    async def greet() -> None:
        await gateway.publish("status", b"online", retain=True)
        greetings.release()

    async with client(running.port, on_connect=greet) as gateway:
        await soon(greetings.acquire())
        await running.restart()
        await soon(greetings.acquire())


async def test_something_unexpected_in_on_connect_takes_the_body_down(running):
    async def greet() -> None:
        raise LookupError("a defect")

    async def gateway() -> None:
        async with client(running.port, on_connect=greet):
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as caught:
        await soon(gateway())
    assert caught.group_contains(LookupError)


async def test_flapping_leaks_no_file_descriptor_task_or_thread(running):
    def held() -> tuple[int, int, int]:
        gc.collect()
        return len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks()), threading.active_count()

    async with client(running.port, subscriptions=["t"]) as gateway:
        await soon(gateway.wait_connected())
        await soon(gateway.publish("t", b"x"))
        before = held()
        for _ in range(10):
            await running.restart()
            with contextlib.suppress(BrokerUnavailable):
                await gateway.publish("t", b"x")
            await soon(gateway.wait_connected())
        while True:
            with contextlib.suppress(BrokerUnavailable):
                await soon(gateway.wait_connected())
                await soon(gateway.publish("t", b"x"))
                break
        assert held() == before
