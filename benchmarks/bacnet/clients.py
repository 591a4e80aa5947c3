"""The clients that are compared, each measured in a process of its own.

`python -m benchmarks.bacnet.clients CASE DEVICES POINTS PORT SECONDS` prints what it measured as JSON. Values are counted when the
caller has them: our `Reading`s, what the other two stacks return.
"""

import asyncio
import ipaddress
import json
import random
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from benchmarks.bacnet.measured import FIRST_DEVICE, INTERVAL_SECONDS, PER_REQUEST, PROPERTIES, Measured, take_precedence
from bms_iot.bacnet import BacnetNetwork
from bms_iot.domain.points import Device, DeviceAddress, ObjectIdentifier, ObjectType, Point

IN_FLIGHT_OF_OTHERS = {"rusty": 64, "bacpypes3": 16}
"""More makes them lose answers, or wait for them beyond their time-outs."""
ANALOG = (ObjectType.ANALOG_INPUT, ObjectType.ANALOG_OUTPUT, ObjectType.ANALOG_VALUE)

ReadDevice = Callable[[int], Awaitable[int]]
"""Reads every point of the device of that number once; how many values came."""


class _Clock:
    is_trusted = True

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def host_of(device: int) -> str:
    return str(ipaddress.IPv4Address(FIRST_DEVICE) + device)


async def ours(stack: AsyncExitStack, devices: int, points: int, port: int, *, alike: bool = True) -> ReadDevice:
    network = await stack.enter_async_context(BacnetNetwork(host="127.0.39.1", port=0, clock=_Clock()))
    chance = random.Random(2)
    plan: list[tuple[Device, tuple[Point, ...]]] = []
    for number in range(devices):
        device = Device(address=DeviceAddress(host=host_of(number), port=port), instance=number, controller_id="benchmark")
        types = [ANALOG[0] if alike else chance.choice(ANALOG) for _ in range(points)]
        plan.append(
            (
                device,
                tuple(
                    Point(
                        id=number * points + place,
                        device=device,
                        object=ObjectIdentifier(type=object_type, instance=place + 1 if alike else number * points + place),
                        iot_device_point_id="",
                    )
                    for place, object_type in enumerate(types)
                ),
            )
        )

    async def read(number: int) -> int:
        readings = list(await network.read_points(*plan[number]))
        assert readings[-1].present_value is not None
        return len(readings) * len(PROPERTIES)

    return read


async def ours_unlike(stack: AsyncExitStack, devices: int, points: int, port: int) -> ReadDevice:
    """No two devices have the same objects."""
    return await ours(stack, devices, points, port, alike=False)


async def rusty_bacnet(stack: AsyncExitStack, devices: int, points: int, port: int) -> ReadDevice:
    import rusty_bacnet as rusty

    theirs: Any = rusty.BACnetClient("127.0.39.1", port + 1, "127.255.255.255", share_port_by_address=True)
    client = await stack.enter_async_context(theirs)
    names = ("PRESENT_VALUE", "STATUS_FLAGS", "EVENT_STATE", "OUT_OF_SERVICE", "RELIABILITY")
    wanted = [(getattr(rusty.PropertyIdentifier, name), None) for name in names]
    batches = [
        [(rusty.ObjectIdentifier(rusty.ObjectType.ANALOG_INPUT, instance), wanted) for instance in batch]
        for batch in _batches(points)
    ]

    async def read(number: int) -> int:
        values = 0
        for batch in batches:
            for answered in await client.read_property_multiple(f"{host_of(number)}:{port}", batch):
                values += len(answered["results"])
        return values

    return read


async def bacpypes3(stack: AsyncExitStack, devices: int, points: int, port: int) -> ReadDevice:
    from bacpypes3.apdu import ErrorRejectAbortNack
    from bacpypes3.basetypes import PropertyIdentifier
    from bacpypes3.ipv4.app import NormalApplication
    from bacpypes3.local.device import DeviceObject
    from bacpypes3.pdu import Address, IPv4Address
    from bacpypes3.primitivedata import ObjectIdentifier as TheirIdentifier

    identity = DeviceObject(
        objectIdentifier=("device", 1),
        objectName="benchmark",
        maxApduLengthAccepted=1476,
        segmentationSupported="noSegmentation",
        vendorIdentifier=999,
    )
    application = NormalApplication(identity, IPv4Address(f"127.0.39.1:{port + 1}"))
    stack.callback(application.close)
    await application.normal.server._local_transport_ready.wait()
    wanted = [PropertyIdentifier(number) for number in PROPERTIES]
    batches = [
        [part for instance in batch for part in (TheirIdentifier(("analog-input", instance)), wanted)] for batch in _batches(points)
    ]

    async def read(number: int) -> int:
        values = 0
        for batch in batches:
            answer = await application.read_property_multiple(Address(f"{host_of(number)}:{port}"), batch)
            assert not isinstance(answer, ErrorRejectAbortNack)
            values += len(answer)
        return values

    return read


def _at_once(limit: int, read: ReadDevice) -> ReadDevice:
    """At most so many devices at once, one request in flight to each."""
    room = asyncio.Semaphore(limit)

    async def limited(number: int) -> int:
        async with room:
            return await read(number)

    return limited


def _batches(points: int) -> list[range]:
    return [range(first, min(first + PER_REQUEST, points + 1)) for first in range(1, points + 1, PER_REQUEST)]


async def for_a_while(read: ReadDevice, devices: int, seconds: float) -> int:
    """Every device again and again, one request in flight to each."""
    end = time.monotonic() + seconds

    async def poll(number: int) -> int:
        values = 0
        while time.monotonic() < end:
            values += await read(number)
        return values

    return sum(await asyncio.gather(*(poll(number) for number in range(devices))))


async def once(read: ReadDevice, devices: int, _: float) -> int:
    return sum(await asyncio.gather(*(read(number) for number in range(devices))))


async def on_the_beat(read: ReadDevice, devices: int, seconds: float) -> int:
    """Every device once an interval, spread over it."""

    async def poll(number: int) -> int:
        values = 0
        due = time.monotonic() + INTERVAL_SECONDS * number / devices
        end = due + seconds
        while due < end:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            values += await read(number)
            due += INTERVAL_SECONDS
        return values

    return sum(await asyncio.gather(*(poll(number) for number in range(devices))))


CASES = {
    "ours": (ours, for_a_while, True),
    "rusty": (rusty_bacnet, for_a_while, True),
    "bacpypes3": (bacpypes3, for_a_while, False),
    "late": (ours, for_a_while, True),
    "cold": (ours, once, False),
    "cold_unlike": (ours_unlike, once, False),
    "beat": (ours, on_the_beat, True),
}


async def measure(case: str, devices: int, points: int, port: int, seconds: float) -> Measured:
    connect, repeat, is_warm = CASES[case]
    if case == "late":
        take_precedence()
    async with AsyncExitStack() as stack:
        read = await connect(stack, devices, points, port)
        if case in IN_FLIGHT_OF_OTHERS:
            read = _at_once(IN_FLIGHT_OF_OTHERS[case], read)
        if is_warm:
            await once(read, devices, 0)
        cpu, wall = time.process_time(), time.monotonic()
        values = await repeat(read, devices, seconds)
        cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Measured(values=values, cpu=cpu, wall=wall, rss=rss)


def main(arguments: Sequence[str]) -> None:
    case, devices, points, port, seconds = arguments
    print(json.dumps(asdict(asyncio.run(measure(case, int(devices), int(points), int(port), float(seconds))))))


if __name__ == "__main__":
    main(sys.argv[1:])
