"""Manners about datagrams: answers that are late, lost, doubled, cut, for somebody else, or from somebody else."""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from bms_iot.simulator import packets
from bms_iot.simulator.adversary.manner import Manner, Sending
from bms_iot.simulator.adversary.requests import I_AM, UNCONFIRMED_REQUEST, Request
from bms_iot.simulator.front import bound_socket

if TYPE_CHECKING:
    from bms_iot.simulator.adversary.device import AdversarialDevice

APDU_AT = 6
MIDDLE_SECONDS = 0.02


class Slow(Manner):
    """Answers everything `number` seconds late."""

    default = 8.0
    lowest = 0.01

    def send(self, request: Request, sendings: Iterable[Sending]) -> Iterable[Sending]:
        return (replace(each, after_seconds=each.after_seconds + self.number) for each in sendings)


class LateAnswers(Slow):
    """Answers after `number` seconds, which is when everybody has given up."""

    default = 30.0


class Duplicates(Manner):
    """Sends every answer `number` times."""

    default = 2

    def send(self, request: Request, sendings: Iterable[Sending]) -> Iterable[Sending]:
        return (each for each in sendings for _ in range(int(self.number)))


class Lossy(Manner):
    """Loses `number` percent of its answers and segments."""

    default = 20

    def send(self, request: Request, sendings: Iterable[Sending]) -> Iterable[Sending]:
        return (each for each in sendings if self.chance.random() * 100 >= self.number)


class Reordered(Manner):
    """Sends its answers and segments by chance up to `number` milliseconds late, so that they overtake each other."""

    default = 20

    def send(self, request: Request, sendings: Iterable[Sending]) -> Iterable[Sending]:
        for each in sendings:
            yield replace(each, after_seconds=each.after_seconds + self.chance.random() * self.number / 1000)


class WrongInvokeIds(Manner):
    """Answers with the invoke id after the one that was asked with."""

    def send(self, request: Request, sendings: Iterable[Sending]) -> Iterable[Sending]:
        for each in sendings:
            at = APDU_AT + 1
            wrong = (each.datagram[at] + 1) % 256
            yield replace(each, datagram=each.datagram[:at] + bytes((wrong,)) + each.datagram[at + 1 :])


class WrongService(Manner):
    """Answers every request as if it had been an AtomicReadFile."""

    def apdu(self, request: Request, apdu: bytes) -> bytes:
        return apdu[:2] + b"\x06" + apdu[3:] if apdu[0] >> 4 in (2, 3, 5) else apdu


class ForeignAnswers(Manner):
    """Before each answer comes one from another UDP port, with every octet of its values inverted."""

    def send(self, request: Request, sendings: Iterable[Sending]) -> Iterable[Sending]:
        for each in sendings:
            head, values = each.datagram[: APDU_AT + 8], each.datagram[APDU_AT + 8 :]
            yield replace(each, datagram=head + bytes(octet ^ 0xFF for octet in values), elsewhere=True)
            yield replace(each, after_seconds=each.after_seconds + MIDDLE_SECONDS)


class _Spoilt(Manner):
    def send(self, request: Request, sendings: Iterable[Sending]) -> Iterable[Sending]:
        for each in sendings:
            yield replace(each, datagram=self.spoilt(each.datagram))

    def spoilt(self, datagram: bytes) -> bytes:
        raise NotImplementedError


class TruncatedAnswers(_Spoilt):
    """Cuts every answer somewhere behind its invoke id; the length in its header agrees, or says what it was, by chance."""

    def spoilt(self, datagram: bytes) -> bytes:
        cut = datagram[: self.chance.randrange(APDU_AT + 2, len(datagram))]
        return packets.resized(cut) if self.chance.random() < 0.5 else cut


class EmptyAnswers(_Spoilt):
    """Answers with the header of an acknowledgement and nothing behind it."""

    def spoilt(self, datagram: bytes) -> bytes:
        return packets.resized(datagram[: APDU_AT + 3])


class TrailingGarbage(_Spoilt):
    """One to eight octets more behind every answer; the length in its header counts them, or does not, by chance."""

    def spoilt(self, datagram: bytes) -> bytes:
        longer = datagram + self.chance.randbytes(self.chance.randrange(1, 9))
        return packets.resized(longer) if self.chance.random() < 0.5 else longer


class IAmStorm(Manner):
    """`number` I-Ams for one, to each Who-Is and every two seconds to everybody it knows; every other is of a made-up device."""

    default = 1000

    def introduce(self, i_am: bytes) -> Iterator[bytes]:
        head = bytes((UNCONFIRMED_REQUEST << 4, I_AM, 0xC4))
        for n in range(int(self.number)):
            made_up = (8 << 22 | self.chance.randrange(100_000, 4_194_303)).to_bytes(4, "big")
            yield head + made_up + i_am[7:] if n % 2 else i_am

    async def live(self, device: "AdversarialDevice") -> None:
        while True:
            device.announce((device.broadcast, *device.clients))
            await asyncio.sleep(2.0)


class DuplicateInstance(Manner):
    """Goes by the device instance `number`, which another device has."""

    default = 2001
    lowest = 0

    def instance(self, instance: int) -> int:
        return int(self.number)


class MovedAddress(Manner):
    """After `number` seconds it goes on at another address: 127.1.x.y instead of 127.0.x.y."""

    default = 30.0
    lowest = 0.01

    async def live(self, device: "AdversarialDevice") -> None:
        host, port = device.udp.getsockname()
        udp = bound_socket((host.replace("127.0.", "127.1.", 1), port))
        try:
            await asyncio.sleep(self.number)
        except asyncio.CancelledError:
            udp.close()
            raise
        device.move(udp)
