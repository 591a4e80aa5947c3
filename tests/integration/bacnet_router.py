"""A small BACnet router (ASHRAE 135 clause 6.6) between IP networks, with serial networks of emulated stations behind it."""

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

Address = tuple[str, int]
Station = Callable[[bytes], Sequence[bytes]]
"""An emulated station: an APDU in, the APDUs of its answer out."""

EVERY_NETWORK = 0xFFFF
MS_TP_MAX_APDU = 480


def opened(host: str, port: int) -> socket.socket:
    """A bound UDP socket that shares its address, for unicast or for broadcasts."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind((host, port))
    return made


@dataclass(eq=False)
class Leg:
    """The router's place in one IP network. Sockets are made with it, in the network namespace of the moment."""

    network: int
    host: str
    port: int
    broadcast: str

    def __post_init__(self) -> None:
        self.socket = opened(self.host, self.port)
        self.port = self.socket.getsockname()[1]
        self.heard = opened(self.broadcast, self.port)

    def send(self, npdu: bytes, to: Address | None = None) -> None:
        function = 0x0B if to is None else 0x0A
        datagram = bytes((0x81, function)) + (len(npdu) + 4).to_bytes(2, "big") + npdu
        self.socket.sendto(datagram, to or (self.broadcast, self.port))


@dataclass
class SerialNetwork:
    """A network where one frame is on the wire at a time. `overlong` and `most_at_once` are what it saw."""

    stations: Mapping[bytes, Station]
    seconds_per_answer: float = 0.0
    overlong: int = 0
    at_once: int = 0
    most_at_once: int = 0


@dataclass(frozen=True)
class Routed:
    """What is passed on: where it came from, and from the hop count on, what it is."""

    came_by: Leg
    sender: Address
    control: int
    source: bytes
    destination: bytes
    rest: bytes


@dataclass
class Router:
    """`serial` networks by number. `forwarded` counts what went to each network; `reachable` can be taken away and given back."""

    legs: Sequence[Leg]
    serial: dict[int, SerialNetwork] = field(default_factory=dict)
    is_silent: bool = False
    is_busy: bool = False
    asked: list[int] = field(default_factory=list)
    """The networks somebody looked for."""
    forwarded: list[int] = field(default_factory=list)
    unreachable: set[int] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for leg in self.legs:
            for source in (leg.socket, leg.heard):
                loop.add_reader(source.fileno(), self._drain, leg, source)
        return self

    async def __aexit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for leg in self.legs:
            for source in (leg.socket, leg.heard):
                loop.remove_reader(source.fileno())
                source.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def networks(self) -> set[int]:
        return ({leg.network for leg in self.legs} | self.serial.keys()) - self.unreachable

    def announce(self, leg: Leg, message_type: int = 1, networks: Sequence[int] | None = None) -> None:
        """I-Am-Router-To-Network, Router-Busy (4) or Router-Available (5), by broadcast."""
        offered = sorted(self.networks - {leg.network}) if networks is None else networks
        leg.send(bytes((1, 0x80, message_type)) + b"".join(number.to_bytes(2, "big") for number in offered))

    def _drain(self, leg: Leg, source: socket.socket) -> None:
        while True:
            try:
                datagram, address = source.recvfrom(2048)
            except BlockingIOError:
                return
            if address != (leg.host, leg.port) and datagram[1] in (0x0A, 0x0B) and not self.is_silent:
                self._receive(leg, address, datagram[4:])

    def _receive(self, leg: Leg, address: Address, npdu: bytes) -> None:
        control, at, network, destination = npdu[1], 2, 0, b""
        if control & 0x20:
            network, length = int.from_bytes(npdu[2:4], "big"), npdu[4]
            destination, at = npdu[5 : 5 + length], 5 + length
        source = leg.network.to_bytes(2, "big") + b"\x06" + socket.inet_aton(address[0]) + address[1].to_bytes(2, "big")
        if control & 0x08:
            length = npdu[at + 2]
            source, at = npdu[at : at + 3 + length], at + 3 + length
        if control & 0x80:
            self._network_message(leg, npdu[at:] if not network else npdu[at + 1 :])
        elif network == EVERY_NETWORK:
            for number in self.networks - {leg.network}:
                self._forward(Routed(leg, address, control, source, b"", npdu[at:]), number)
        elif network in self.networks:
            if self.is_busy:
                leg.send(bytes((1, 0x80, 3, 2)) + network.to_bytes(2, "big"), address)
            else:
                self._forward(Routed(leg, address, control, source, destination, npdu[at:]), network)
        elif network:
            leg.send(bytes((1, 0x80, 3, 1)) + network.to_bytes(2, "big"), address)

    def _network_message(self, leg: Leg, message: bytes) -> None:
        if message[0] == 0:
            wanted = int.from_bytes(message[1:3], "big")
            self.asked.append(wanted)
            if wanted in self.networks - {leg.network}:
                self.announce(leg, networks=[wanted])

    def _forward(self, npdu: Routed, network: int) -> None:
        self.forwarded.append(network)
        if network in self.serial:
            self._to_serial(npdu, network)
            return
        leg = next(leg for leg in self.legs if leg.network == network)
        mac = npdu.destination
        to = (socket.inet_ntoa(mac[:4]), int.from_bytes(mac[4:6], "big")) if mac else None
        leg.send(bytes((1, npdu.control & 0x04 | 0x08)) + npdu.source + npdu.rest[1:], to)

    def _to_serial(self, npdu: Routed, network: int) -> None:
        serial = self.serial[network]
        if len(npdu.rest) - 1 > MS_TP_MAX_APDU:
            serial.overlong += 1
            return
        for mac, station in serial.stations.items():
            if npdu.destination in (b"", mac):
                head = bytes((1, 0x08)) + network.to_bytes(2, "big") + bytes((len(mac),)) + mac
                task = asyncio.create_task(self._answer(npdu, head, serial, station))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _answer(self, npdu: Routed, head: bytes, serial: SerialNetwork, station: Station) -> None:
        serial.at_once += 1
        serial.most_at_once = max(serial.most_at_once, serial.at_once)
        if serial.seconds_per_answer:
            await asyncio.sleep(serial.seconds_per_answer)
        serial.at_once -= 1
        for answer in station(npdu.rest[1:]):
            serial.overlong += len(answer) > MS_TP_MAX_APDU
            is_i_am = answer[:2] == b"\x10\x00"
            npdu.came_by.send(head + answer, None if is_i_am else npdu.sender)
