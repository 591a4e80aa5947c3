"""Readings a second from a poll's result to the broker's PUBACK, beside a plain loop and beside what cannot be beaten."""

import asyncio
import json
import os
import random
import re
import shutil
import socket
import sqlite3
import statistics
import subprocess
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from sqlalchemy import Engine, event

from benchmarks.record import publish, table
from benchmarks.wear import NORMAL, RealClock, open_delivery, poll
from bms_iot.domain.readings import Reading
from bms_iot.gateway.flows import first_failure
from bms_iot.mqtt.client import MqttBroker
from bms_iot.storage.outbox import FIRST

READINGS = int(os.environ.get("BMS_BENCH_READINGS", "200000"))
ROUNDS = int(os.environ.get("BMS_BENCH_ROUNDS", "3"))
POINTS, DEVICES = 100, 10
BLOB_BYTES, IN_FLIGHT = 65_536, 20
PLAIN_READINGS = 3_000
BACKLOG_READINGS = 100_000
TOPIC = "iot/global/org_bench/site/gateway/bulk"


def main(*, record: bool) -> None:
    """Each way several times in turn; the median counts."""
    ours: list[tuple[float, int, float]] = []
    limit: list[tuple[float, int]] = []
    plain: list[float] = []
    drained: list[tuple[float, float]] = []
    for _ in range(ROUNDS):
        with _broker() as port, tempfile.TemporaryDirectory() as directory:
            ours.append(asyncio.run(_ours(Path(directory), port)))
        wire_bytes = ours[-1][2]
        with _broker() as port, tempfile.TemporaryDirectory() as directory:
            limit.append(_limit(Path(directory), port, wire_bytes))
        with _broker() as port, tempfile.TemporaryDirectory() as directory:
            drained.append(asyncio.run(_drain(Path(directory), port)))
        with _broker() as port:
            plain.append(_plain(port, wire_bytes))
    rate, bound = statistics.median(r for r, _, _ in ours), statistics.median(r for r, _ in limit)
    figures = {
        "readings, of 1,000 points, every value another": f"{READINGS:,}",
        "poll result to PUBACK": f"{rate:,.0f} readings a second",
        "transactions, each with one fsync": f"{statistics.median(c for _, c, _ in ours):,.0f}",
        "payload": f"{statistics.median(size for _, _, size in ours):.0f} octets a reading",
        "the limit: a 64 KiB zlib-1 blob a transaction, QoS 1 with 20 in flight, no JSON made": f"{bound:,.0f} readings a second",
        "transactions of the limit": f"{statistics.median(c for _, c in limit):,.0f}",
        "of the limit": f"{rate / bound:.0%}",
        "a backlog, beside 1,000 points read every 10 s": f"{min(r for r, _ in drained):,.0f} readings a second, the least",
        "age of those at their PUBACK, the greatest": f"{max(age for _, age in drained):.1f} s",
        "a plain loop, one message a reading, nothing kept": f"{statistics.median(plain):,.0f} readings a second",
    }
    publish("performance.md", "delivery", table(figures), record=record)


async def _ours(directory: Path, port: int) -> tuple[float, int, float]:
    """Readings a second, transactions, octets of payload a reading."""
    broker = _Counting(host="127.0.0.1", port=port, client_id="gateway", protocol="5", max_in_flight=IN_FLIGHT)
    async with broker, open_delivery(directory, devices=DEVICES, points=POINTS, clock=RealClock(), broker=broker) as site:
        commits = 0

        def count(_connection: object) -> None:
            nonlocal commits
            commits += 1

        await broker.wait_connected()
        flows = asyncio.create_task(first_failure(site.store.run(), site.publish.run()))
        polls = list(_polls(site.devices))
        event.listen(Engine, "commit", count)
        began = time.perf_counter()
        for poll in polls:
            await site.store.put(poll)
        await site.store.flush()
        await site.publish.drained()
        seconds = time.perf_counter() - began
        event.remove(Engine, "commit", count)
        flows.cancel()
        await asyncio.wait((flows,))
        return READINGS / seconds, commits, broker.octets / READINGS


async def _drain(directory: Path, port: int) -> tuple[float, float]:
    """Readings a second of a backlog beside 1,000 points read every 10 s, and the greatest age of one of those at its PUBACK."""
    broker = _Counting(host="127.0.0.1", port=port, client_id="gateway", protocol="5", max_in_flight=IN_FLIGHT)
    async with broker, open_delivery(directory, devices=20, points=50, clock=RealClock(), broker=broker) as site:
        while site.outbox.readings < BACKLOG_READINGS:
            await site.outbox.append(list(islice(_polls(site.devices), 20)), created_at=site.clock.now())
        backlog = site.outbox.readings
        await broker.wait_connected()
        oldest = site.outbox.newest()[1]
        polls = (poll(site, number) for number in range(len(site.devices)))
        began = time.perf_counter()
        flows = asyncio.create_task(first_failure(site.store.run(), site.publish.run(), *polls))
        while (await site.outbox.following(FIRST, limit=1, until=(1, oldest))) != []:  # noqa: ASYNC110 - twice a second
            await asyncio.sleep(0.5)
        seconds = time.perf_counter() - began
        flows.cancel()
        await asyncio.wait((flows,))
        return backlog / seconds, broker.oldest_live(oldest)


class _Counting(MqttBroker):
    octets = 0

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._taken: list[tuple[int, str, datetime]] = []

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False, content_type: str | None = None) -> None:
        self.octets += len(payload)
        await super().publish(topic, payload, retain=retain, content_type=content_type)
        seq, at = re.search(rb'"seq":(\d+)', payload[:200]), re.search(rb'"acquired_at":"([^"]+)', payload)
        if seq and at:
            self._taken.append((int(seq[1]), at[1].decode(), datetime.now(UTC)))

    def oldest_live(self, after: int) -> float:
        """Seconds."""
        return max((at - datetime.fromisoformat(acquired)).total_seconds() for seq, acquired, at in self._taken if seq > after)


def _polls(devices: list[list[int]]) -> Iterator[list[Reading]]:
    source, now = random.Random(8), datetime.now(UTC)
    for number in range(READINGS // POINTS):
        at = now + timedelta(milliseconds=number)
        yield [Reading.of(i, at, str(round(source.uniform(0, 1000), 2)), NORMAL, None) for i in devices[number % len(devices)]]


def _limit(directory: Path, port: int, wire_bytes: float) -> tuple[float, int]:
    """Readings a second, transactions: as many octets as ours had, with nothing made of them."""
    messages = max(1, round(READINGS * wire_bytes / BLOB_BYTES))
    blobs = [_like_json(number) for number in range(8)]
    with closing(sqlite3.connect(directory / "limit.db", isolation_level=None)) as database, _client(port) as send:
        for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "CREATE TABLE t (n INTEGER PRIMARY KEY, b BLOB)"):
            database.execute(statement)
        began = time.perf_counter()
        for number in range(messages):
            blob = blobs[number % len(blobs)]
            database.execute("INSERT INTO t (b) VALUES (?)", (zlib.compress(blob, 1),))
            send(blob)
        send(None)
        seconds = time.perf_counter() - began
    return messages * BLOB_BYTES / wire_bytes / seconds, messages


def _like_json(seed: int) -> bytes:
    """What a message looks like, so that it compresses as one does."""
    source = random.Random(seed)
    point = {"iot_device_point_id": "", "present_value": "", "reliability": "no-fault-detected", "event_state": "normal"}
    points: list[str] = []
    while sum(len(text) for text in points) < BLOB_BYTES:
        known = {**point, "iot_device_point_id": f"{source.getrandbits(128):032x}", "present_value": str(source.uniform(0, 1000))}
        points.append(json.dumps(known))
    return "".join(points).encode()[:BLOB_BYTES]


def _plain(port: int, wire_bytes: float) -> float:
    """Readings a second: one JSON message each, the next when it is acknowledged."""
    padding = "x" * max(0, round(wire_bytes) - 60)
    client = _connected(port)
    try:
        began = time.perf_counter()
        for number in range(PLAIN_READINGS):
            body = json.dumps({"point": number, "present_value": str(number / 7), "rest": padding})
            client.publish(TOPIC, body, qos=1).wait_for_publish(10)
        return PLAIN_READINGS / (time.perf_counter() - began)
    finally:
        client.disconnect()
        client.loop_stop()


@contextmanager
def _client(port: int) -> Iterator[Callable[[bytes | None], None]]:
    """Sends with IN_FLIGHT under way; None waits for all of them."""
    client, room = _connected(port), threading.Semaphore(IN_FLIGHT)
    client.on_publish = lambda *_: room.release()

    def send(payload: bytes | None) -> None:
        for _ in range(IN_FLIGHT if payload is None else 1):
            room.acquire()
        if payload is not None:
            client.publish(TOPIC, payload, qos=1)

    try:
        yield send
    finally:
        client.disconnect()
        client.loop_stop()


def _connected(port: int) -> paho.Client:
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="limit", protocol=MQTTProtocolVersion.MQTTv5)
    client.max_inflight_messages = IN_FLIGHT
    client.connect("127.0.0.1", port)
    client.loop_start()
    while not client.is_connected():
        time.sleep(0.01)
    return client


@contextmanager
def _broker() -> Iterator[int]:
    """mosquitto on a free port."""
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if program is None:
        raise SystemExit("mosquitto is not installed (Debian: mosquitto)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as directory:
        configuration = Path(directory) / "mosquitto.conf"
        configuration.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n", encoding="ascii")
        process = subprocess.Popen([program, "-c", str(configuration)], stderr=subprocess.DEVNULL)
        try:
            while socket.socket().connect_ex(("127.0.0.1", port)):
                time.sleep(0.02)
            yield port
        finally:
            process.terminate()
            process.wait()
