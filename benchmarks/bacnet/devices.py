"""Simulated devices that are never the bottleneck: replies made once for each request, afterwards only the invoke id is patched.

`python -m benchmarks.bacnet.devices FIRST COUNT PORT DELAY_MS VARIANTS` answers ReadPropertyMultiple at COUNT addresses from FIRST
on until its standard input ends. Of analog objects the present-value is a REAL with all its digits, another one in each of VARIANTS
replies. Any object asked for is there.
"""

import ipaddress
import random
import select
import socket
import struct
import sys
import time
from collections import deque

from benchmarks.bacnet.measured import take_precedence

_SERVICE_AT, _REPLY_INVOKE_ID_AT = 9, 7
_READ_PROPERTY_MULTIPLE = b"\x0e"
_HALF_A_TICK = 0.0005
"""The kernel wakes us at milliseconds: replies are as often half of one early as late."""
_ANALOG = (0, 1, 2)
_VALUES = {111: b"\x82\x04\x00", 36: b"\x91\x00", 81: b"\x10", 103: b"\x91\x00"}


def reply_to(asked: bytes, chance: random.Random) -> bytearray:
    """The datagram that answers the service parameters `asked`, with invoke id 0."""
    octets, at, number = bytearray(b"\x81\x0a\x00\x00\x01\x00\x30\x00\x0e"), 0, 0
    while at < len(asked):
        tag = asked[at]
        if tag == 0x0C:
            number = int.from_bytes(asked[at + 1 : at + 5], "big") >> 22
            octets += asked[at : at + 5]
            at += 5
        elif tag == 0x09:
            octets += bytes([0x29, asked[at + 1], 0x4E]) + _value(number, asked[at + 1], chance) + b"\x4f"
            at += 2
        else:  # the tags around the references are the tags around the results
            octets.append(tag)
            at += 1
    octets[2:4] = len(octets).to_bytes(2, "big")
    return octets


def _value(number: int, wanted: int, chance: random.Random) -> bytes:
    if wanted != 85:
        return _VALUES[wanted]
    if number in _ANALOG:
        return b"\x44" + struct.pack(">f", chance.uniform(-20, 100))
    return bytes([0x91 if number in (3, 4, 5) else 0x21, chance.randrange(2) + (number > 5)])


class Devices:
    """The sockets, one for each device, and the replies."""

    def __init__(self, first: str, count: int, port: int, delay: float, variants: int) -> None:
        self._delay, self._variants = delay, variants
        self._chance = random.Random(1)
        self._replies: dict[bytes, list[bytearray]] = {}
        self._late: deque[tuple[float, socket.socket, bytes, tuple[str, int]]] = deque()
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._turns: dict[int, int] = {}
        for number in range(count):
            opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            opened.setblocking(False)
            opened.bind((str(ipaddress.IPv4Address(first) + number), port))
            self._poll.register(opened.fileno(), select.EPOLLIN)
            self._sockets[opened.fileno()] = opened
            self._turns[opened.fileno()] = number

    def serve(self, until: int) -> None:
        """Answer until the file `until` has ended."""
        self._poll.register(until, select.EPOLLIN | select.EPOLLHUP)
        while True:
            for file, _ in self._poll.poll(self._pause()):
                if file == until:
                    return
                self._answer(file, self._sockets[file])
            while self._late and self._late[0][0] <= time.monotonic() + _HALF_A_TICK:
                _, opened, reply, address = self._late.popleft()
                opened.sendto(reply, address)

    def _pause(self) -> float:
        if not self._late:
            return 1.0
        return max(0.0, self._late[0][0] - time.monotonic() - _HALF_A_TICK)

    def _answer(self, file: int, opened: socket.socket) -> None:
        request, address = opened.recvfrom(2048)
        if request[_SERVICE_AT : _SERVICE_AT + 1] != _READ_PROPERTY_MULTIPLE:
            return
        asked = request[_SERVICE_AT + 1 :]
        replies = self._replies.get(asked)
        if replies is None:
            replies = self._replies[asked] = [reply_to(asked, self._chance) for _ in range(self._variants)]
        turn = self._turns[file] = self._turns[file] + 1
        reply = replies[turn % self._variants]
        reply[_REPLY_INVOKE_ID_AT] = request[_SERVICE_AT - 1]
        if self._delay:
            self._late.append((time.monotonic() + self._delay, opened, bytes(reply), address))
        else:
            opened.sendto(reply, address)


if __name__ == "__main__":
    first, *numbers = sys.argv[1:]
    count, port, delay_ms, variants = map(int, numbers)
    take_precedence()
    devices = Devices(first, count, port, delay_ms / 1000, variants)
    print("ready", flush=True)
    devices.serve(sys.stdin.fileno())
