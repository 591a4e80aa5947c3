"""A hand-written BACnet/IP device for tests: answers ReadProperty and ReadPropertyMultiple, and misbehaves as it is told."""

import asyncio
import itertools
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

from bms_iot.domain.points import Device, DeviceAddress, ObjectIdentifier, ObjectType, Point

Address = tuple[str, int]
Objects = dict[tuple[int, int], dict[int, bytes]]

_hosts = (f"127.0.{third}.{fourth}" for third in range(3, 100) for fourth in range(1, 255))

SEGMENTATION_NOT_SUPPORTED = 4
UNRECOGNIZED_SERVICE = 9


class SystemClock:
    """The clock of this machine."""

    is_trusted = True

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def free_port() -> int:
    """A UDP port nobody holds on any address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("0.0.0.0", 0))
        port: int = probe.getsockname()[1]
        return port


def real(value: float) -> bytes:
    return b"\x44" + struct.pack(">f", value)


def enumerated(value: int) -> bytes:
    return bytes((0x91, value))


def unsigned(value: int) -> bytes:
    return bytes((0x21, value))


def text(value: str) -> bytes:
    encoded = b"\0" + value.encode()
    return (bytes((0x70 | len(encoded),)) if len(encoded) < 5 else bytes((0x75, len(encoded)))) + encoded


def analog(value: float) -> dict[int, bytes]:
    """The five value properties of an analog object, and its name."""
    return {85: real(value), 111: b"\x82\x04\x00", 36: enumerated(0), 81: b"\x10", 103: enumerated(0), 77: text("analog")}


def object_id(object_type: int, instance: int) -> bytes:
    return (object_type << 22 | instance).to_bytes(4, "big")


@dataclass(frozen=True, kw_only=True)
class Request:
    """A confirmed request as it arrived: what is asked for, as ((object type, instance), property, array index)."""

    invoke_id: int
    service: int
    asked: tuple[tuple[tuple[int, int], int, int | None], ...]


def parse_request(datagram: bytes) -> Request | None:
    """The ReadProperty or ReadPropertyMultiple in `datagram`, None for anything else."""
    apdu = datagram[6:]
    if datagram[4:6] != b"\x01\x04" or apdu[0] >> 4:
        return None
    asked: list[tuple[tuple[int, int], int, int | None]] = []
    at, identifier, multiple = 4, (0, 0), apdu[3] == 14
    while at < len(apdu):
        tag, length = apdu[at] >> 4, apdu[at] & 7
        if apdu[at] in (0x1E, 0x1F):
            at += 1
            continue
        number = int.from_bytes(apdu[at + 1 : at + 1 + length], "big")
        if length == 4 and tag == 0:
            identifier = (number >> 22, number & 0x3FFFFF)
        elif tag == (0 if multiple else 1):
            asked.append((identifier, number, None))
        else:
            asked[-1] = (*asked[-1][:2], number)
        at += 1 + length
    return Request(invoke_id=apdu[2], service=apdu[3], asked=tuple(asked))


def frame(apdu: bytes) -> bytes:
    """An APDU as a datagram."""
    return b"\x81\x0a" + (len(apdu) + 6).to_bytes(2, "big") + b"\x01\x00" + apdu


Behaviour = Callable[["Responder", Request], Sequence[bytes]]
"""The datagrams to answer a request with."""


def polite(device: "Responder", request: Request) -> Sequence[bytes]:
    return [frame(device.answer(request))]


def silent(device: "Responder", request: Request) -> Sequence[bytes]:
    return []


@dataclass
class Responder:
    """One device on its own loopback address. `requests` is everything it was asked."""

    objects: Objects
    instance: int = 4001
    max_apdu: int = 1476
    behaviour: Behaviour = polite
    host: str = field(default_factory=lambda: next(_hosts))
    requests: list[Request] = field(default_factory=list)
    senders: list[Address] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0
    _transport: asyncio.DatagramTransport | None = None

    async def __aenter__(self) -> Self:
        responder = self

        class Protocol(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: Address) -> None:
                responder._received(data, addr)

        self._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Protocol, (self.host, self.port))
        self.port = self._transport.get_extra_info("sockname")[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._transport is not None
        self._transport.close()
        await asyncio.sleep(0)

    def send(self, datagram: bytes, address: Address) -> None:
        assert self._transport is not None
        self._transport.sendto(datagram, address)

    @property
    def device(self) -> Device:
        return Device(address=DeviceAddress(host=self.host, port=self.port), instance=self.instance, controller_id="controller")

    def points(self) -> list[Point]:
        """A point for each object, with the object's place as its id."""
        points = []
        for place, (number, instance) in enumerate(self.objects):
            object_type = ObjectType.from_number(number)
            assert object_type is not None
            identifier = ObjectIdentifier(type=object_type, instance=instance)
            points.append(Point(id=place, device=self.device, object=identifier, iot_device_point_id=f"point-{place}"))
        return points

    def _received(self, datagram: bytes, address: Address) -> None:
        if datagram[-2:] == b"\x10\x08" or datagram[4:8] == b"\x01\x00\x10\x08":
            self.send(self.i_am(), address)
            return
        request = parse_request(datagram)
        if request is None:
            return
        self.requests.append(request)
        self.senders.append(address)
        self.asked.set()
        for answer in self.behaviour(self, request):
            self.send(answer, address)

    def i_am(self) -> bytes:
        max_apdu = b"\x22" + self.max_apdu.to_bytes(2, "big")
        return frame(b"\x10\x00\xc4" + object_id(8, self.instance) + max_apdu + b"\x91\x03\x21\x0f")

    def answer(self, request: Request) -> bytes:
        """The APDU a well-mannered device answers with."""
        apdu = self._multiple(request) if request.service == 14 else self._single(request)
        if len(apdu) > self.max_apdu:
            return bytes((0x71, request.invoke_id, SEGMENTATION_NOT_SUPPORTED))
        return apdu

    def value(self, identifier: tuple[int, int], number: int, index: int | None) -> bytes | tuple[int, int]:
        """The encoded value, or class and code of an error."""
        if identifier == (8, self.instance) and number == 76:
            listed = [(8, self.instance), *self.objects]
            if index == 0:
                return b"\x22" + len(listed).to_bytes(2, "big")
            if index is not None and index > len(listed):
                return 2, 42
            wanted = listed if index is None else listed[index - 1 : index]
            return b"".join(b"\xc4" + object_id(*each) for each in wanted)
        if identifier not in self.objects:
            return 1, 31
        return self.objects[identifier].get(number, (2, 32))

    def _single(self, request: Request) -> bytes:
        ((identifier, number, index),) = request.asked
        value = self.value(identifier, number, index)
        if isinstance(value, tuple):
            return bytes((0x50, request.invoke_id, 12, 0x91, value[0], 0x91, value[1]))
        head = bytes((0x30, request.invoke_id, 12, 0x0C)) + object_id(*identifier) + _property(1, number, index)
        return head + b"\x3e" + value + b"\x3f"

    def _multiple(self, request: Request) -> bytes:
        octets = bytes((0x30, request.invoke_id, 14))
        for identifier, of_object in itertools.groupby(request.asked, key=lambda asked: asked[0]):
            octets += b"\x0c" + object_id(*identifier) + b"\x1e"
            for _, number, index in of_object:
                value = self.value(identifier, number, index)
                octets += _property(2, number, index)
                if isinstance(value, tuple):
                    octets += b"\x5e" + bytes((0x91, value[0], 0x91, value[1])) + b"\x5f"
                else:
                    octets += b"\x4e" + value + b"\x4f"
            octets += b"\x1f"
        return octets


def _property(tag: int, number: int, index: int | None) -> bytes:
    octets = _context(tag, number)
    return octets if index is None else octets + _context(tag + 1, index)


def _context(tag: int, number: int) -> bytes:
    contents = number.to_bytes(max(1, (number.bit_length() + 7) // 8), "big")
    return bytes((tag << 4 | 8 | len(contents),)) + contents
