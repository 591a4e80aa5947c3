"""How many notifications of a change of value are taken in a second: sent by another process, counted as readings."""

import asyncio
import multiprocessing
import socket
import statistics
import time
from multiprocessing.connection import Connection

from benchmarks.record import publish, table
from bms_iot.bacnet import BacnetNetwork
from bms_iot.bacnet.values.codec import ObjectId, encode_context, encode_object_id
from bms_iot.bacnet.values.encoding import encode_value
from bms_iot.domain.points import Device, DeviceAddress, ObjectIdentifier, ObjectType, Point
from bms_iot.domain.readings import Reading
from bms_iot.domain.subscriptions import CovTerms
from bms_iot.gateway.clock import SystemClock

POINTS, SECONDS, ROUNDS = 200, 5.0, 3
RATE = 20_000
BURST = 200
"""Notifications that are sent without a pause; so many in each hundredth of a second are 20,000/s."""
INSTANCE, HOST = 4300, "127.0.9.1"
ACK = b"\x81\x0a\x00\x09\x01\x00\x20"


def main(*, record: bool) -> None:
    rows: dict[str, str] = {}
    for confirmed in (False, True):
        rows |= asyncio.run(_measure(confirmed))
    publish("performance.md", "cov", table(rows), record=record)


async def _measure(confirmed: bool) -> dict[str, str]:
    ours, theirs = multiprocessing.Pipe()
    device = multiprocessing.get_context("spawn").Process(target=_notify, args=(theirs, confirmed))
    device.start()
    try:
        port = await asyncio.to_thread(ours.recv)
        rounds = [await _round(ours, port, confirmed) for _ in range(ROUNDS)]
    finally:
        ours.send(None)
        device.join(10)
    name = "confirmed" if confirmed else "unconfirmed"
    sent, taken = sum(r[0] for r in rounds), sum(r[1] for r in rounds)
    return {
        f"{name}: sent in a second, asked for {RATE:,}": f"{statistics.median(r[0] / r[2] for r in rounds):,.0f}",
        f"{name}: sent / taken as readings, {ROUNDS} rounds of {SECONDS:g} s": f"{sent:,} / {taken:,}",
        f"{name}: processor, median per notification": f"{statistics.median(r[3] / r[1] for r in rounds) * 1e6:.1f} µs",
    }


async def _round(pipe: Connection, port: int, confirmed: bool) -> tuple[int, int, float, float]:
    """Sent, taken, seconds of sending, seconds of our processor."""
    device = Device(address=DeviceAddress(host=HOST, port=port), instance=INSTANCE, controller_id="")
    points = [
        Point(id=n, device=device, object=ObjectIdentifier(type=ObjectType.ANALOG_INPUT, instance=n), iot_device_point_id=str(n))
        for n in range(POINTS)
    ]
    taken = 0

    def deliver(_: Reading) -> None:
        nonlocal taken
        taken += 1

    async with BacnetNetwork(host="127.0.0.1", port=0, clock=SystemClock()) as network:
        terms = CovTerms(confirmed=confirmed)
        following = asyncio.create_task(network.follow(device, points, terms, deliver=deliver, report=lambda *_: None))
        while taken < POINTS:  # noqa: ASYNC110 - the end of a process's start-up is polled
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.2)
        taken, before = 0, time.process_time()
        pipe.send(SECONDS)
        while not pipe.poll():  # noqa: ASYNC110 - a pipe is polled
            await asyncio.sleep(0.1)
        sent, seconds = pipe.recv()
        settled = -1
        while settled != taken:
            settled = taken
            await asyncio.sleep(0.3)
        used = time.process_time() - before
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    return sent, taken, seconds, used


def _notify(pipe: Connection, confirmed: bool) -> None:
    """The device, in a process of its own: acknowledges every request, notifies on each subscription and at full rate on demand."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
    udp.bind((HOST, 0))
    udp.settimeout(0.02)
    pipe.send(udp.getsockname()[1])
    client = ("", 0)
    while True:
        if pipe.poll():
            seconds = pipe.recv()
            if seconds is None:
                return
            pipe.send(_storm(udp, client, seconds, confirmed))
        try:
            datagram, client = udp.recvfrom(2048)
        except TimeoutError:
            continue
        if datagram[6] >> 4 != 0:
            continue  # an acknowledgement of ours
        udp.sendto(ACK + datagram[8:9] + datagram[9:10], client)
        identifier = ObjectId(0, int.from_bytes(datagram[13:17], "big") & 0x3FFFFF)
        if len(datagram) > 17:  # not a cancellation
            udp.sendto(_frame(identifier, 0.0, confirmed, 0), client)


def _storm(udp: socket.socket, client: tuple[str, int], seconds: float, confirmed: bool) -> tuple[int, float]:
    frames = [_frame(ObjectId(0, n % POINTS), float(value), confirmed, n % 256) for value in range(5) for n in range(POINTS)]
    started, sent = time.perf_counter(), 0
    udp.setblocking(False)
    while (elapsed := time.perf_counter() - started) < seconds:
        for _ in range(min(BURST, int(elapsed * RATE) - sent)):
            udp.sendto(frames[sent % len(frames)], client)
            sent += 1
        try:
            while confirmed:
                udp.recv(64)
        except BlockingIOError:
            pass
        time.sleep(0.001)
    udp.settimeout(0.02)
    return sent, elapsed


def _frame(identifier: ObjectId, value: float, confirmed: bool, invoke_id: int) -> bytes:
    head = bytes((0x00, 0x05, invoke_id, 1)) if confirmed else b"\x10\x02"
    apdu = (
        head
        + encode_context(0, b"\x01")
        + encode_context(1, encode_object_id(ObjectId(8, INSTANCE)))
        + encode_context(2, encode_object_id(identifier))
        + encode_context(3, b"\x78")
        + b"\x4e\x09\x55\x2e"
        + encode_value(value)
        + b"\x2f\x09\x6f\x2e\x82\x04\x00\x2f\x4f"
    )
    control = b"\x01\x04" if confirmed else b"\x01\x00"
    return b"\x81\x0a" + (len(apdu) + 6).to_bytes(2, "big") + control + apdu
