"""What goes over the wire: counted by day, and less of it where a site chose so."""

import asyncio
import gzip
import json
import shutil
from datetime import date

import pytest
from typer.testing import CliRunner

from bms_iot.cli.root import app
from bms_iot.domain.ports import Message
from bms_iot.gateway.meter import Meter
from bms_iot.gateway.publish import COMPRESSED
from bms_iot.mqtt.client import MqttBroker
from bms_iot.storage import traffic
from bms_iot.storage.traffic import DayTraffic
from tests.databases import fresh_database
from tests.fakes import FakeBroker
from tests.integration.deliveries import open_delivery
from tests.integration.mqtt_servers import Mosquitto


@pytest.fixture
async def database(tmp_path):
    async with fresh_database(tmp_path) as database:
        yield database


async def test_octets_are_counted_by_day_and_over_restarts(database):
    async with open_delivery(database) as delivery:
        clock, broker = delivery.clock, FakeBroker()
        for _ in range(2):
            meter = Meter(broker=broker, database=database, clock=clock, state=delivery.state)
            delivery.state.sent_bytes_today = delivery.state.received_bytes_today = 0
            await meter.open()
            await meter.publish("topic", b"x" * 100)
            broker.incoming.put_nowait(Message(topic="back", payload=b"yy", retain=False, mid=1))
            meter.acknowledge(await meter.receive())
            await meter.write()
        assert (delivery.state.sent_bytes_today, delivery.state.received_bytes_today) == (2 * (114 + 4), 2 * (4 + 15))
        await clock.advance(86_400)
        await meter.write()
        assert delivery.state.sent_bytes_today == 0
        await meter.publish("topic", b"")
        await meter.write()
        assert await database.read(traffic.load, 9) == [
            DayTraffic(day=date(2026, 11, 23), sent_bytes=14, received_bytes=4),
            DayTraffic(day=date(2026, 11, 22), sent_bytes=236, received_bytes=38),
        ]


async def test_readings_are_sent_compressed_where_the_broker_can_say_so(database):
    async with open_delivery(database, compresses=True) as delivery:
        await delivery.poll()
        await delivery.run_until(lambda: not delivery.outbox.messages)
        assert delivery.broker.content_types == {COMPRESSED}
        delivery.broker.protocol = "3.1.1"
        await delivery.poll()
        await delivery.run_until(lambda: not delivery.outbox.messages)
        assert delivery.broker.content_types == {COMPRESSED, None}
        first, second = delivery.broker.messages()
        assert [point["id"] for point in first["points"]] == [point["id"] for point in second["points"]]


@pytest.mark.system
async def test_a_consumer_is_told_the_content_type(tmp_path):
    if shutil.which("mosquitto_sub") is None:
        pytest.skip("mosquitto_sub is not installed (Debian: mosquitto-clients)")
    payload = gzip.compress(b'{"points": []}')
    async with Mosquitto(tmp_path) as mosquitto:
        arguments = ("-V", "5", "-h", "127.0.0.1", "-p", str(mosquitto.port), "-q", "1", "-t", "t/#", "-C", "1", "-W", "20")
        consumer = await asyncio.create_subprocess_exec("mosquitto_sub", *arguments, "-F", "%C %x", stdout=asyncio.subprocess.PIPE)
        async with MqttBroker(host="127.0.0.1", port=mosquitto.port, client_id="gateway", protocol="5") as broker:
            await broker.wait_connected()
            sending = asyncio.create_task(_send_until_taken(broker, payload, consumer))
            out, _ = await asyncio.wait_for(consumer.communicate(), 30)
            await sending
    content_type, octets = out.decode().split()
    assert (content_type, bytes.fromhex(octets)) == (COMPRESSED, payload)


async def _send_until_taken(broker, payload, consumer):
    """The consumer subscribes when it likes."""
    while consumer.returncode is None:
        await broker.publish("t/bulk", payload, content_type=COMPRESSED)
        await asyncio.sleep(0.1)


async def test_traffic_is_printed(tmp_path, database, monkeypatch):
    day = DayTraffic(day=date(2026, 11, 22), sent_bytes=1_234_567, received_bytes=89, messages=10, readings=1_000)
    async with open_delivery(database) as delivery:
        await database.write(traffic.add, day, delivery.clock.now())
    monkeypatch.setenv("BMS_DATA_DIRECTORY", str(tmp_path))
    run = CliRunner()
    printed = await asyncio.to_thread(run.invoke, app, ["mqtt", "traffic", "--json"])
    assert json.loads(printed.stdout) == [
        {"day": "2026-11-22", "sent_bytes": 1_234_567, "received_bytes": 89, "messages": 10, "readings": 1_000}
    ]
    table = await asyncio.to_thread(run.invoke, app, ["mqtt", "traffic"])
    assert "2026-11-22        1,234,567             89           10          1,000" in table.stdout
