"""Learned layouts: where the values stand in a ReadPropertyMultiple-ACK like the last one.

The replies to one request have the same octets poll after poll but for the contents of the values. A layout is learned from one
reply and says which octets are constant: object identifiers, property identifiers, tags with their lengths, errors, all that is
constructed. What it leaves open are contents of application-tagged primitives only. Since framing is made of tags (clause
20.2.1), a reply with the same constant octets falls into the same values: comparing them at once is all the decoding needed.

Layouts say nothing of what contents mean; `meanings` does, and it asks the general decoder.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from bms_iot.bacnet.codec import CLOSING, OPENING, DecodeError, decode_until, decode_value, encode_context, read_tag
from bms_iot.bacnet.profile import ALWAYS_ASKED, PRESENT_VALUE
from bms_iot.domain.points import ObjectType

MAX_LAYOUTS = 1024
MAX_LAYOUTS_OF_SHAPE = 8

ANALOG_NUMBERS = frozenset(each.number for each in ObjectType if each.is_analog)
_UNKNOWN_PROPERTY = b"\x91\x02\x91\x20"

Shape: TypeAlias = tuple[tuple[int, tuple[int, ...]], ...]
"""What a request asks for but for the instances: the object type and the property identifiers of each object."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The constant octets of a reply of `size` octets and the places of the rest.

    `parts` unpacks two pieces for each object. Of an analog object whose present-value is a REAL: its four octets, and all that
    stands between them and the end of the object's results. Of any other: nothing, and all its results.
    """

    size: int
    mask: int
    constant: int
    identifiers_at: tuple[int, ...]
    parts: struct.Struct

    def expecting(self, identifiers: Sequence[bytes]) -> int:
        """The constant octets of the reply about these objects."""
        octets = bytearray(self.size)
        for at, identifier in zip(self.identifiers_at, identifiers, strict=True):
            octets[at : at + 4] = identifier
        return self.constant | int.from_bytes(octets, "big")

    def accepts(self, parameters: bytes, expected: int) -> bool:
        """Whether every constant octet of `parameters` is as `expecting` said."""
        return len(parameters) == self.size and int.from_bytes(parameters, "big") & self.mask == expected


def learn(parameters: bytes, shape: Shape, identifiers: Sequence[bytes]) -> Layout | None:
    """The layout of a reply that answers exactly what was asked, in its order; None for any other, and for broken framing.

    A reply that says unknown-property is not learned from: the property will not be asked for again.
    """
    try:
        return _Learner(parameters).learn(shape, identifiers)
    except (DecodeError, IndexError):
        return None


class Layouts:
    """Layouts by the shape of the request and the length of the reply, shared between devices; bounded, the oldest go first."""

    def __init__(self) -> None:
        self._layouts: dict[tuple[Shape, int], list[Layout]] = {}
        self._count = 0

    def of(self, shape: Shape, size: int) -> Sequence[Layout]:
        """What is known of such replies."""
        return self._layouts.get((shape, size), ())

    def add(self, shape: Shape, layout: Layout) -> None:
        if self._count >= MAX_LAYOUTS:
            self._count -= len(self._layouts.pop(next(iter(self._layouts))))
        known = self._layouts.setdefault((shape, layout.size), [])
        known.append(layout)
        if len(known) > MAX_LAYOUTS_OF_SHAPE:
            del known[0]
        else:
            self._count += 1


class _Unlike(DecodeError):
    """The reply is not as it was asked for."""


class _Learner:
    """One walk over a reply."""

    def __init__(self, parameters: bytes) -> None:
        self._octets = parameters
        self._at = 0
        self._mask = bytearray(b"\xff" * len(parameters))
        self._format = [">"]
        self._formatted = 0
        """How many octets `_format` covers."""

    def learn(self, shape: Shape, identifiers: Sequence[bytes]) -> Layout:
        """Raises DecodeError or IndexError."""
        size, constant, places = len(self._octets), bytearray(self._octets), []
        for (object_type, properties), identifier in zip(shape, identifiers, strict=True):
            self._pass(b"\x0c" + identifier + b"\x1e")
            places.append(self._at - 5)
            constant[self._at - 5 : self._at - 1] = bytes(4)
            self._object(object_type, properties)
        if self._at != size:
            raise _Unlike("the reply goes on after what was asked for")
        self._format.append(f"{size - self._formatted}x")
        mask = int.from_bytes(self._mask, "big")
        return Layout(size, mask, int.from_bytes(constant, "big") & mask, tuple(places), struct.Struct("".join(self._format)))

    def _pass(self, expected: bytes) -> None:
        end = self._at + len(expected)
        if self._octets[self._at : end] != expected:
            raise _Unlike("not what was asked for")
        self._at = end

    def _object(self, object_type: int, properties: Sequence[int]) -> None:
        octets, start, real_at = self._octets, self._at, None
        for number in properties:
            self._pass(b"\x29" + number.to_bytes(1, "big") if number < 256 else encode_context(2, number.to_bytes(2, "big")))
            opening = octets[self._at]
            self._at += 1
            if opening == 0x5E:
                self._error(number)
            elif opening != 0x4E:
                raise _Unlike("neither value nor error")
            elif octets[self._at : self._at + 6 : 5] == b"\x44\x4f":  # a single REAL
                if number == PRESENT_VALUE and object_type in ANALOG_NUMBERS:
                    real_at = self._at + 1
                self._open(self._at + 1, self._at + 5)
                self._at += 6
            else:
                self._values()
        end = self._at
        self._pass(b"\x1f")
        if real_at is None:
            self._format.append(f"{start - self._formatted}x0s{end - start}s")
        else:
            self._format.append(f"{real_at - self._formatted}x4s{end - real_at - 4}s")
        self._formatted = end

    def _open(self, start: int, end: int) -> None:
        self._mask[start:end] = bytes(end - start)

    def _error(self, number: int) -> None:
        if self._octets.startswith(_UNKNOWN_PROPERTY, self._at) and number not in ALWAYS_ASKED:
            raise _Unlike("this will not be asked for again")
        _, self._at = decode_until(self._octets, self._at, 5)

    def _values(self) -> None:
        octets = self._octets
        while (first := octets[self._at]) != 0x4F:
            tag = read_tag(octets, self._at)
            if tag.length == CLOSING:
                raise _Unlike("not closed as usual")
            if tag.context or tag.length == OPENING:
                _, self._at = decode_value(octets, self._at)
            elif tag.number == 1:
                if first in (0x10, 0x11):  # a Boolean has its value in the tag
                    self._mask[self._at] = 0xFE
                self._at = tag.start
            else:
                self._at = tag.start + tag.length
                self._open(tag.start, self._at)
        self._at += 1
