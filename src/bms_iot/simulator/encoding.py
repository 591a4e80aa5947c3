"""Test mode: present-values that say which device, which object and which moment they are of."""

import zlib
from dataclasses import dataclass

MANTISSA_BITS = 24
"""Whole numbers up to 2**24 are exact in a REAL (IEEE 754 single precision, ASHRAE 135 clause 20.2.6)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """Device k (from 1), object j of that device (from 1, over all types, in the order of `SimulatedDevice.objects`) and tick s.

    With `code = k · 2**object_bits + j` and `s' = s mod 2**sequence_bits`:

    - analog: `code · 2**sequence_bits + s'`, a whole number below 2**24, so exact in a REAL and decodable by `decode`;
    - binary: the parity of the bits that `code` and `s'` share (Walsh functions: over a period of the sequence any two points
      differ in half of the ticks), so a single value proves little and a run of them tells points apart;
    - multi-state: `1 + crc32("code/s'") mod number-of-states`, changing at most ticks, equal for two points by chance only.

    A checker that knows k, j and s (from an analog value of the same reply, or from the log of answers) can judge every type.
    """

    device_bits: int
    object_bits: int

    @property
    def sequence_bits(self) -> int:
        """How many bits are left for the tick: it is counted modulo 2 to that power."""
        return MANTISSA_BITS - self.device_bits - self.object_bits

    @classmethod
    def sized(cls, *, devices: int, objects: int) -> "Encoding":
        """The encoding for so many devices of at most so many objects. Raises ValueError when fewer than 4 bits count ticks."""
        encoding = cls(device_bits=devices.bit_length(), object_bits=objects.bit_length())
        if encoding.sequence_bits < 4:
            raise ValueError(f"{devices} devices of {objects} objects are too many to be told apart in a REAL")
        return encoding

    def analog(self, device: int, position: int, tick: int) -> float:
        """The present-value of an analog object."""
        return float(self._code(device, position) << self.sequence_bits | self._sequence(tick))

    def binary(self, device: int, position: int, tick: int) -> bool:
        """The present-value of a binary object."""
        return (self._code(device, position) & self._sequence(tick)).bit_count() % 2 == 1

    def multi_state(self, device: int, position: int, tick: int, number_of_states: int) -> int:
        """The present-value of a multi-state object."""
        return 1 + zlib.crc32(f"{self._code(device, position)}/{self._sequence(tick)}".encode()) % number_of_states

    def decode(self, value: float) -> tuple[int, int, int]:
        """Device k, object j and tick modulo 2**sequence_bits of an analog value. Raises ValueError for any other number."""
        number = int(value)
        if number != value or not 0 <= number < 1 << MANTISSA_BITS:
            raise ValueError(f"{value!r} is no value of the test mode")
        code, sequence = number >> self.sequence_bits, number & ((1 << self.sequence_bits) - 1)
        return code >> self.object_bits, code & ((1 << self.object_bits) - 1), sequence

    def _code(self, device: int, position: int) -> int:
        return device << self.object_bits | position

    def _sequence(self, tick: int) -> int:
        return tick % (1 << self.sequence_bits)
