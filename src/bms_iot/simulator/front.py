"""The UDP front of a simulated device: it owns the public address, and every packet in and out passes through it.

Each client gets a socket of its own towards the device, as in network address translation, so that the device tells its clients
apart (invoke ids, segmentation, COV subscriptions). Answers are logged when, and only when, they have been sent.
"""

import asyncio
import socket
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from bms_iot.simulator import packets
from bms_iot.simulator.faults import Fault, Misbehaviour

Address = tuple[str, int]
OnSent = Callable[[bytes, Address], None]
"""Called with each packet that was sent, and the client it was sent to; or that was heard, and the client it came from."""

MAX_CLIENTS = 64
MAX_PACKETS_PER_WAKEUP = 64
RECEIVE_BUFFER_OCTETS = 1 << 20


class Front:
    """Forwards between clients of `public` and the device at `private`; `faults` decides what is lost, late or altered."""

    def __init__(self, *, public: socket.socket, private: Address, on_sent: OnSent | None, on_heard: OnSent | None = None) -> None:
        self._public = public
        self._on_heard = on_heard
        self._private = private
        self._on_sent = on_sent
        self._loop = asyncio.get_running_loop()
        self._clients: OrderedDict[Address, socket.socket] = OrderedDict()
        self._delayed: set[asyncio.TimerHandle] = set()
        self.faults: dict[Fault, Misbehaviour] = {}
        self._loop.add_reader(public, self._from_clients)

    def close(self) -> None:
        """Stop forwarding and close every socket."""
        self._loop.remove_reader(self._public)
        self._public.close()
        for client in list(self._clients):
            self._forget(client)
        for handle in self._delayed:
            handle.cancel()
        self._delayed.clear()

    def receive(self, octets: bytes, client: Address) -> None:
        """A packet for this device, unicast or broadcast."""
        if len(octets) < 4 or octets[0] != 0x81 or octets[1] not in (packets.ORIGINAL_UNICAST, packets.ORIGINAL_BROADCAST):
            return
        faults = list(self.faults.values())
        if not all(fault.hears(octets) for fault in faults):
            return
        request = packets.parse(octets) if faults else None
        for fault in faults:
            answer = fault.answer(request) if request is not None else None
            if answer is not None:
                self._send(answer, client)
                return
        # The device listens on a private address only, where a broadcast has to arrive as a unicast.
        octets = octets[:1] + bytes((packets.ORIGINAL_UNICAST,)) + octets[2:]
        if self._on_heard is not None:
            self._on_heard(octets, client)
        with suppress(OSError):  # the device is being stopped: the packet is lost, as on a real network
            self._towards_device(client).send(octets)

    def _from_clients(self) -> None:
        for _ in range(MAX_PACKETS_PER_WAKEUP):
            try:
                octets, client = self._public.recvfrom(2048)
            except OSError:
                return
            self.receive(octets, client)

    def _towards_device(self, client: Address) -> socket.socket:
        known = self._clients.get(client)
        if known is not None:
            self._clients.move_to_end(client)
            return known
        if len(self._clients) >= MAX_CLIENTS:
            self._forget(next(iter(self._clients)))
        upstream = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        upstream.setblocking(False)
        upstream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_OCTETS)
        upstream.connect(self._private)
        self._loop.add_reader(upstream, self._from_device, upstream, client)
        self._clients[client] = upstream
        return upstream

    def _forget(self, client: Address) -> None:
        upstream = self._clients.pop(client)
        self._loop.remove_reader(upstream)
        upstream.close()

    def _from_device(self, upstream: socket.socket, client: Address) -> None:
        for _ in range(MAX_PACKETS_PER_WAKEUP):
            try:
                octets = upstream.recv(2048)
            except OSError:
                return
            for fault in self.faults.values():
                if not fault.hears(octets):
                    break
                reply = packets.parse(octets)
                octets = octets if reply is None else fault.alter(reply)
            else:
                self._send(octets, client)

    def _send(self, octets: bytes, client: Address) -> None:
        delay = sum(fault.delay_seconds for fault in self.faults.values())
        if delay <= 0:
            self._send_now(octets, client)
            return

        def late() -> None:
            self._delayed.discard(handle)
            self._send_now(octets, client)

        handle = self._loop.call_later(delay, late)
        self._delayed.add(handle)

    def _send_now(self, octets: bytes, client: Address) -> None:
        try:
            self._public.sendto(octets, client)
        except OSError:
            return  # not sent, so not logged; the client asks again
        if self._on_sent is not None:
            self._on_sent(octets, client)


class Hearer(Protocol):
    """What broadcasts are handed to."""

    def receive(self, octets: bytes, client: Address) -> None: ...


class BroadcastListener:
    """Hears the broadcasts of one port and hands each to every one of `hearers`."""

    def __init__(self, *, address: Address, hearers: Sequence[Hearer]) -> None:
        self._hearers = hearers
        self._loop = asyncio.get_running_loop()
        self._socket = shared_socket(address)
        self._loop.add_reader(self._socket, self._receive)

    def close(self) -> None:
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _receive(self) -> None:
        for _ in range(MAX_PACKETS_PER_WAKEUP):
            try:
                octets, client = self._socket.recvfrom(2048)
            except OSError:
                return
            for hearer in self._hearers:
                hearer.receive(octets, client)


def bound_socket(address: Address) -> socket.socket:
    """A non-blocking UDP socket that has `address` for itself. Raises OSError."""
    return _bound(address, shared=False)


def shared_socket(address: Address) -> socket.socket:
    """A non-blocking UDP socket on a broadcast address that others listen on too. Raises OSError."""
    return _bound(address, shared=True)


def _bound(address: Address, *, shared: bool) -> socket.socket:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        udp.setblocking(False)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_OCTETS)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        if shared:
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        udp.bind(address)
    except OSError:
        udp.close()
        raise
    return udp
