"""Frames as a broken network, a broken device or somebody hostile would send them: right ones with something wrong."""

from collections.abc import Callable, Sequence
from random import Random

ODD_OCTETS = (
    0x00,
    0x01,
    0x0C,
    0x0E,
    0x0F,
    0x1E,
    0x1F,
    0x29,
    0x3E,
    0x3F,
    0x44,
    0x45,
    0x4E,
    0x4F,
    0x5E,
    0x75,
    0x7F,
    0x80,
    0xFE,
    0xFF,
)
BVLC_OCTETS = 4


class Mutator:
    """Makes wrong frames of right ones, as `chance` has it."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._ways: Sequence[Callable[[bytearray], None]] = (
            self._flip,
            self._set,
            self._insert,
            self._delete,
            self._cut,
            self._double,
            self._swap,
            self._grow,
            self._fill,
        )

    def mutated(self, frame: bytes) -> bytes:
        """`frame` with one to four things wrong; now and then nothing but noise."""
        chance = self._chance
        if chance.random() < 0.02:
            return chance.randbytes(chance.randrange(0, 64))
        octets = bytearray(frame)
        for _ in range(chance.choice((1, 1, 1, 2, 3, 4))):
            if octets:
                chance.choice(self._ways)(octets)
        if chance.random() < 0.6 and len(octets) >= BVLC_OCTETS:  # a header that agrees lets more of it through
            octets[2:4] = len(octets).to_bytes(2, "big")
        return bytes(octets[:2000])

    def _place(self, octets: bytearray) -> int:
        # Headers are short and matter most.
        return self._chance.randrange(min(len(octets), 24) if self._chance.random() < 0.5 else len(octets))

    def _flip(self, octets: bytearray) -> None:
        octets[self._place(octets)] ^= 1 << self._chance.randrange(8)

    def _set(self, octets: bytearray) -> None:
        octets[self._place(octets)] = self._chance.choice(ODD_OCTETS)

    def _insert(self, octets: bytearray) -> None:
        at = self._place(octets)
        octets[at:at] = bytes(self._chance.choice(ODD_OCTETS) for _ in range(self._chance.randrange(1, 5)))

    def _delete(self, octets: bytearray) -> None:
        at = self._place(octets)
        del octets[at : at + self._chance.randrange(1, 6)]

    def _cut(self, octets: bytearray) -> None:
        del octets[self._place(octets) :]

    def _double(self, octets: bytearray) -> None:
        at = self._place(octets)
        octets[at:at] = octets[at : at + self._chance.randrange(1, 40)]

    def _swap(self, octets: bytearray) -> None:
        first, second = self._place(octets), self._place(octets)
        octets[first], octets[second] = octets[second], octets[first]

    def _grow(self, octets: bytearray) -> None:
        octets += self._chance.randbytes(self._chance.randrange(1, 40))

    def _fill(self, octets: bytearray) -> None:
        at = self._place(octets)
        octets[at : at + 4] = self._chance.randbytes(len(octets[at : at + 4]))
