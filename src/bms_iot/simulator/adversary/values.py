"""Manners about values: what is held is not what the standard would have there (ASHRAE 135 clauses 12, 20.2 and 21)."""

import math
import struct

from bms_iot.simulator.adversary import octets
from bms_iot.simulator.adversary.manner import Answer, Manner
from bms_iot.simulator.adversary.objects import (
    DESCRIPTION,
    OBJECT_NAME,
    PRESENT_VALUE,
    PRIORITY_ARRAY,
    STATUS_FLAGS,
    UNITS_PROPERTY,
    HeldObject,
    Objects,
)
from bms_iot.simulator.adversary.requests import Asked
from bms_iot.simulator.tags import tag_at

ANALOG, BINARY, MULTI_STATE = frozenset({0, 1, 2}), frozenset({3, 4, 5}), frozenset({13, 14, 19})
STRINGS = frozenset({OBJECT_NAME, DESCRIPTION, 4, 46, 110, 351, 352})
NOT_FINITE = (math.nan, math.inf, -math.inf, -0.0)

VENDOR_UNITS, VENDOR_RELIABILITY, VENDOR_STATE = 1000, 900, 64
VENDOR_PROPERTY, VENDOR_TYPE = 512, 200


class NotFinite(Manner):
    """NaN, +Inf, -Inf and -0 as the present-values of analog objects, in turn."""

    def answer(self, asked: Asked, answer: Answer) -> Answer:
        if asked.property != PRESENT_VALUE or asked.object[0] not in ANALOG:
            return answer
        return octets.real(NOT_FINITE[(asked.object[1] - 1) % len(NOT_FINITE)])


class NulInStrings(Manner):
    """A NUL in the middle and at the end of every character string."""

    def answer(self, asked: Asked, answer: Answer) -> Answer:
        if asked.property not in STRINGS or isinstance(answer, tuple):
            return answer
        return [self._spoilt(each) for each in answer] if isinstance(answer, list) else self._spoilt(answer)

    @staticmethod
    def _spoilt(string: bytes) -> bytes:
        text = tag_at(string, 0).content[1:].decode()
        middle = len(text) // 2
        return octets.text(f"{text[:middle]}\0{text[middle:]}\0")


class MislabelledStrings(Manner):
    """Character strings whose first octet names another character set than they are in: `Größe` in turn in five ways."""

    WAYS = (
        octets.characters(octets.UTF8, "Größe".encode("latin-1")),
        octets.characters(octets.LATIN1, "Größe".encode()),
        octets.characters(octets.UCS2, "Größe".encode("utf-16-le")),
        octets.characters(octets.DBCS, b"\x03\x52" + "Größe".encode("cp850")),
        octets.characters(9, "Größe".encode()),
    )

    def answer(self, asked: Asked, answer: Answer) -> Answer:
        if asked.property not in (OBJECT_NAME, DESCRIPTION) or isinstance(answer, tuple):
            return answer
        return self.WAYS[asked.object[1] % len(self.WAYS)]


class BooleanForBinary(Manner):
    """The present-values of binary objects are Booleans."""

    def answer(self, asked: Asked, answer: Answer) -> Answer:
        if asked.property != PRESENT_VALUE or asked.object[0] not in BINARY or not isinstance(answer, bytes):
            return answer
        return octets.boolean(answer[-1] == 1)


class UnsignedForAll(Manner):
    """The present-values of binary objects are Unsigned, of multi-state ones Enumerated, of analog ones Signed whole numbers."""

    def answer(self, asked: Asked, answer: Answer) -> Answer:
        if asked.property != PRESENT_VALUE or not isinstance(answer, bytes) or answer == octets.NULL:
            return answer
        if asked.object[0] in BINARY:
            return octets.unsigned(answer[-1])
        if asked.object[0] in MULTI_STATE:
            return octets.enumerated(int.from_bytes(answer[1:], "big"))
        return octets.signed(round(struct.unpack(">f", answer[1:])[0])) if asked.object[0] in ANALOG else answer


class DoubleForReal(Manner):
    """Doubles wherever a REAL belongs."""

    def answer(self, asked: Asked, answer: Answer) -> Answer:
        if not isinstance(answer, bytes) or len(answer) != 5 or answer[:1] != b"\x44":
            return answer
        return octets.double(struct.unpack(">f", answer[1:])[0])


class NullValues(Manner):
    """NULL as every present-value."""

    def answer(self, asked: Asked, answer: Answer) -> Answer:
        return octets.NULL if asked.property == PRESENT_VALUE and not isinstance(answer, tuple) else answer


class EmptyValues(Manner):
    """Nothing between the tags of every present-value."""

    def answer(self, asked: Asked, answer: Answer) -> Answer:
        return b"" if asked.property == PRESENT_VALUE and not isinstance(answer, tuple) else answer


class EmptyNames(Manner):
    """Empty names: a character string without characters, or without even a character set, in turn."""

    def answer(self, asked: Asked, answer: Answer) -> Answer:
        if asked.property not in (OBJECT_NAME, DESCRIPTION) or isinstance(answer, tuple):
            return answer
        return b"\x71\x00" if asked.object[1] % 2 else b"\x70"


class ShortPriorityArrays(Manner):
    """Priority arrays of three entries."""

    def answer(self, asked: Asked, answer: Answer) -> Answer:
        if asked.property != PRIORITY_ARRAY or not isinstance(answer, list):
            return answer
        return [octets.NULL, octets.NULL, answer[-1]]


class ConstructedValues(Manner):
    """Present-values and the entries of priority arrays are constructed: the value between an opening and a closing tag."""

    def answer(self, asked: Asked, answer: Answer) -> Answer:
        if isinstance(answer, tuple):
            return answer
        if asked.property == PRESENT_VALUE and isinstance(answer, bytes):
            return octets.enclose(0, answer)
        if asked.property == PRIORITY_ARRAY and isinstance(answer, list):
            return [each if each == octets.NULL else octets.enclose(0, each) for each in answer]
        return answer


class VendorNumbers(Manner):
    """Properties, object types, units, reliabilities and event states of the vendor's own numbers."""

    def furnish(self, objects: Objects) -> None:
        for found in objects.kept.values():
            found.properties[VENDOR_PROPERTY] = octets.octet_string(b"\xde\xad")
            found.properties[36] = octets.enumerated(VENDOR_STATE)
            found.properties[103] = octets.enumerated(VENDOR_RELIABILITY)
            if UNITS_PROPERTY in found.properties:
                found.properties[UNITS_PROPERTY] = octets.enumerated(VENDOR_UNITS)
        strange = VENDOR_TYPE, 1
        objects.kept[strange] = HeldObject({PRESENT_VALUE: octets.real(1.0), OBJECT_NAME: octets.text("strange")}, octets.real)
        objects.listed.insert(1, strange)


class OddBitStrings(Manner):
    """Status flags of three, eleven, or no bits at all, in turn."""

    WAYS = (octets.bits((0, 0, 1)), octets.bits((0, 0, 0, 1, *(1,) * 7)), octets.bits(()))

    def answer(self, asked: Asked, answer: Answer) -> Answer:
        if asked.property != STATUS_FLAGS or isinstance(answer, tuple):
            return answer
        return self.WAYS[asked.object[1] % len(self.WAYS)]
