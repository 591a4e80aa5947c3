"""A hand-written device that answers ReadProperty in segments (ASHRAE 135 clause 5.4.5.2), and loses some as it is told."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

from bms_iot.bacnet.network.npdu import Station

_hosts = itertools.count(1)

Address = tuple[str, int]
Wire = Callable[[int, int, bytes], Sequence[bytes]]
"""(sequence number, how often it was sent before, APDU) → what goes out on the wire instead."""


def unspoilt(_sequence: int, _before: int, apdu: bytes) -> Sequence[bytes]:
    return [apdu]


def framed(apdu: bytes) -> bytes:
    return b"\x81\x0a" + (len(apdu) + 6).to_bytes(2, "big") + b"\x01\x00" + apdu


@dataclass
class SegmentingDevice:
    """`answer` is what follows the service choice of its ComplexACK. `acknowledged` and `aborts` are what it was told."""

    answer: bytes
    window: int = 4
    size: int = 50
    segment_timeout_seconds: float = 0.15
    retries: int = 3
    wire: Wire = unspoilt
    strict: bool = True
    """As the standard has it, a negative SegmentACK for the segment before the window is passed over."""
    host: str = field(default_factory=lambda: f"127.0.5.{next(_hosts)}")
    port: int = 0
    requests: list[bytes] = field(default_factory=list)
    acknowledged: list[tuple[bool, int, int]] = field(default_factory=list)
    """(negative, sequence number, window) of each SegmentACK."""
    aborts: list[int] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    gave_up: asyncio.Event = field(default_factory=asyncio.Event)
    aborted: asyncio.Event = field(default_factory=asyncio.Event)
    _base: int = 0
    _in_window: int = 1
    _invoke_id: int = -1
    _peer: Address = ("", 0)
    _tries: int = 0
    _timer: asyncio.TimerHandle | None = None
    _transport: asyncio.DatagramTransport | None = None

    async def __aenter__(self) -> Self:
        device = self

        class Protocol(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: Address) -> None:
                device._received(data[6:], addr)

        self._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Protocol, (self.host, self.port))
        self.port = self._transport.get_extra_info("sockname")[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop()
        assert self._transport is not None
        self._transport.close()
        await asyncio.sleep(0)

    @property
    def station(self) -> Station:
        return Station(self.host, self.port)

    @property
    def segments(self) -> list[bytes]:
        return [self.answer[at : at + self.size] for at in range(0, len(self.answer), self.size)]

    def send(self, apdu: bytes) -> None:
        assert self._transport is not None
        self._transport.sendto(framed(apdu), self._peer)

    def _received(self, apdu: bytes, address: Address) -> None:
        match apdu[0] >> 4:
            case 0:
                self.requests.append(apdu)
                self._peer = address
                if self._timer is None:  # else it is a repeated request, which is passed over
                    self._invoke_id, self._base, self._in_window, self._tries = apdu[2], 0, 1, 0
                    self._send_window()
            case 4 if apdu[1] == self._invoke_id:
                self._segment_ack(bool(apdu[0] & 2), apdu[2], apdu[3])
            case 7:
                self.aborts.append(apdu[2])
                self.aborted.set()
                self._stop()

    def _segment_ack(self, negative: bool, sequence: int, window: int) -> None:
        self.acknowledged.append((negative, sequence, window))
        if self._timer is None:
            return
        if (sequence - self._base) & 0xFF >= self._in_window and (self.strict or not negative):
            self._wait()  # DuplicateACK_Received
            return
        self._base += (sequence + 1 - self._base) & 0xFF
        self._in_window, self._tries = window, 0
        if self._base >= len(self.segments):
            self._stop()
        else:
            self._send_window()

    def _send_window(self) -> None:
        last = len(self.segments) - 1
        for number in range(self._base, min(self._base + self._in_window, last + 1)):
            head = bytes((0x38 | (0x04 if number < last else 0), self._invoke_id, number & 0xFF, self.window, 12))
            before = self.sent.count(number)
            self.sent.append(number)
            for apdu in self.wire(number, before, head + self.segments[number]):
                self.send(apdu)
        self._wait()

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self.segment_timeout_seconds, self._again)

    def _again(self) -> None:
        self._tries += 1
        if self._tries > self.retries:
            self._stop()
            self.gave_up.set()
        else:
            self._send_window()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
