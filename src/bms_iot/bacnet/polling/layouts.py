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

from bms_iot.bacnet.polling.profile import ALWAYS_ASKED, PRESENT_VALUE
from bms_iot.bacnet.values.codec import CLOSING, OPENING, DecodeError, decode_until, decode_value, encode_context, read_tag
from bms_iot.domain.points import ObjectType

MAX_LAYOUTS = 1024
MAX_LAYOUTS_OF_SHAPE = 8
MAX_FORMS = 512
MAX_FORMS_OF_OBJECT = 16

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


@dataclass(frozen=True, slots=True)
class Form:
    """The results of one object, up to their closing tag: `mask` has the octets that are constant, `constant` these octets.

    `real_at` is where the four octets of a REAL begin that is an analog object's present-value; None where there is none.
    """

    mask: bytes
    constant: bytes
    real_at: int | None
    mask_number: int
    constant_number: int

    def fits(self, parameters: bytes, at: int) -> bool:
        """Whether the results at `at` are of this form."""
        octets = parameters[at : at + len(self.mask)]
        return len(octets) == len(self.mask) and int.from_bytes(octets, "big") & self.mask_number == self.constant_number


class Layouts:
    """Layouts by the shape of the request and the length of the reply, and the forms they are made of, shared between devices.

    Bounded, the oldest go first.
    """

    def __init__(self) -> None:
        self._layouts: dict[tuple[Shape, int], list[Layout]] = {}
        self._count = 0
        self._forms: dict[tuple[int, tuple[int, ...]], list[Form]] = {}

    def of(self, shape: Shape, size: int) -> Sequence[Layout]:
        """What is known of such replies."""
        return self._layouts.get((shape, size), ())

    def learn(self, parameters: bytes, shape: Shape, identifiers: Sequence[bytes]) -> Layout | None:
        """The layout of a reply that answers exactly what was asked, in its order; None for any other, and for broken framing.

        A reply that says unknown-property is not learned from: the property will not be asked for again.
        """
        places: list[int] = []
        forms: list[Form] = []
        at = 0
        for (object_type, properties), identifier in zip(shape, identifiers, strict=True):
            if parameters[at : at + 6] != b"\x0c" + identifier + b"\x1e":
                return None
            places.append(at + 1)
            form = self._form(parameters, at + 6, object_type, properties)
            if form is None:
                return None
            forms.append(form)
            at += 6 + len(form.mask)
        if at != len(parameters):
            return None
        layout = _composed(at, places, forms)
        self._add(shape, layout)
        return layout

    def _add(self, shape: Shape, layout: Layout) -> None:
        if self._count >= MAX_LAYOUTS:
            self._count -= len(self._layouts.pop(next(iter(self._layouts))))
        known = self._layouts.setdefault((shape, layout.size), [])
        known.append(layout)
        if len(known) > MAX_LAYOUTS_OF_SHAPE:
            del known[0]
        else:
            self._count += 1

    def _form(self, parameters: bytes, at: int, object_type: int, properties: tuple[int, ...]) -> Form | None:
        forms = self._forms.get((object_type, properties))
        if forms is None:
            if len(self._forms) >= MAX_FORMS:
                del self._forms[next(iter(self._forms))]
            forms = self._forms[object_type, properties] = []
        for form in forms:
            if form.fits(parameters, at):
                return form
        try:
            form = _Walk(parameters, at).form(object_type, properties)
        except (DecodeError, IndexError):
            return None
        forms.append(form)
        del forms[:-MAX_FORMS_OF_OBJECT]
        return form


def _composed(size: int, places: Sequence[int], forms: Sequence[Form]) -> Layout:
    mask, constant, format_ = bytearray(), bytearray(), [">"]
    gap = 0
    """How many octets lie between what was formatted last and the results of the next object."""
    for form in forms:
        mask += b"\xff\xff\xff\xff\xff\xff" + form.mask
        constant += b"\x0c\x00\x00\x00\x00\x1e" + form.constant
        length = len(form.mask) - 1
        before = form.real_at or 0
        number = 0 if form.real_at is None else 4
        format_.append(f"{gap + 6 + before}x{number}s{length - before - number}s")
        gap = 1
    format_.append(f"{gap}x")
    return Layout(
        size, int.from_bytes(mask, "big"), int.from_bytes(constant, "big"), tuple(places), struct.Struct("".join(format_))
    )


class _Unlike(DecodeError):
    """The reply is not as it was asked for."""


class _Walk:
    """One walk over the results of an object."""

    def __init__(self, parameters: bytes, at: int) -> None:
        self._octets = parameters
        self._start = self._at = at
        self._opened: list[tuple[int, int, int]] = []
        """What is not constant: from, to, and the bits of each octet that are nevertheless."""

    def form(self, object_type: int, properties: Sequence[int]) -> Form:
        """Raises DecodeError or IndexError."""
        octets, real_at = self._octets, None
        for number in properties:
            self._pass(b"\x29" + number.to_bytes(1, "big") if number < 256 else encode_context(2, number.to_bytes(2, "big")))
            opening = octets[self._at]
            self._at += 1
            if opening == 0x5E:
                self._error(number)
            elif opening == 0x4E:
                if number == PRESENT_VALUE and object_type in ANALOG_NUMBERS and octets[self._at : self._at + 6 : 5] == b"\x44\x4f":
                    real_at = self._at + 1 - self._start
                self._values()
            else:
                raise _Unlike("neither value nor error")
        self._pass(b"\x1f")
        mask = bytearray(b"\xff" * (self._at - self._start))
        for start, end, bits in self._opened:
            mask[start - self._start : end - self._start] = bytes([bits]) * (end - start)
        number = int.from_bytes(mask, "big")
        constant = int.from_bytes(octets[self._start : self._at], "big") & number
        return Form(bytes(mask), constant.to_bytes(len(mask), "big"), real_at, number, constant)

    def _pass(self, expected: bytes) -> None:
        end = self._at + len(expected)
        if self._octets[self._at : end] != expected:
            raise _Unlike("not what was asked for")
        self._at = end

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
                    self._opened.append((self._at, self._at + 1, 0xFE))
                self._at = tag.start
            else:
                self._at = tag.start + tag.length
                self._opened.append((tag.start, self._at, 0))
        self._at += 1
