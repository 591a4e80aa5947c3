"""Devices to write to and to subscribe to: one of ours, of rusty-bacnet and of bacpypes3, each on its own loopback address."""

import itertools
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random

from bms_iot.bacnet import BacnetNetwork
from bms_iot.domain.points import Device, DeviceAddress, ObjectIdentifier, ObjectType, Point
from bms_iot.simulator.adversary.catalogue import parse_manners
from bms_iot.simulator.adversary.device import AdversarialDevice
from bms_iot.simulator.adversary.manner import Manner
from bms_iot.simulator.specification import DeviceSpecification, PointSpecification, analog, binary, multi_state
from tests.integration.bacnet_responder import SystemClock, free_port

INSTANCE = 4100
ALL_TYPES: tuple[PointSpecification, ...] = (
    analog("I", "AI", "", "degrees-celsius", 21.5),
    analog("O", "AO", "", "percent", 20.0, limits=(0.0, 100.0)),
    analog("V", "AV", "", "degrees-celsius", 21.0, limits=(-50.0, 50.0)),
    binary("I", "BI", "", False),
    binary("O", "BO", "", False),
    binary("V", "BV", "", False),
    multi_state("I", "MI", "", ("Off", "Low", "High"), 1),
    multi_state("O", "MO", "", ("Off", "Low", "High"), 1),
    multi_state("V", "MV", "", ("Off", "Low", "High"), 1),
)

_hosts = itertools.count(1)


def point_of(device: Device, object_type: ObjectType, instance: int = 1) -> Point:
    identifier = ObjectIdentifier(type=object_type, instance=instance)
    number = object_type.number * 1000 + instance
    return Point(id=number, device=device, object=identifier, iot_device_point_id=f"point-{number}")


def points_of(device: Device) -> list[Point]:
    """A point for the first object of each type."""
    return [point_of(device, object_type) for object_type in ObjectType]


def bound(host: str, port: int = 0) -> socket.socket:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.setblocking(False)
    udp.bind((host, port))
    return udp


@asynccontextmanager
async def adversary(
    *manners: Manner, words: str = "", points: Sequence[PointSpecification] = ALL_TYPES, host: str | None = None, port: int = 0
) -> AsyncIterator[tuple[AdversarialDevice, Device]]:
    """One of our own devices with these ill manners, and as the gateway knows it."""
    host = host or f"127.0.5.{next(_hosts)}"
    named = parse_manners(words) if words else lambda _chance: []
    made = AdversarialDevice(
        instance=INSTANCE,
        specification=DeviceSpecification(name="device", description="", location="", points=tuple(points)),
        udp=bound(host, port),
        broadcast=("127.255.255.255", 9),
        manners=lambda chance: [*named(chance), *manners],
        chance=Random(1),
    )
    await made.start(alarms=False)
    try:
        yield made, as_device(made.udp.getsockname())
    finally:
        await made.stop()


def as_device(address: tuple[str, int], instance: int = INSTANCE) -> Device:
    return Device(address=DeviceAddress(host=address[0], port=address[1]), instance=instance, controller_id="controller")


def client_network(*, timeout_seconds: float = 0.3, tries: int = 2) -> BacnetNetwork:
    """Our own side."""
    return BacnetNetwork(host="127.0.0.1", port=free_port(), timeout_seconds=timeout_seconds, tries=tries, clock=SystemClock())
