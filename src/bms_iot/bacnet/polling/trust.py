"""How far the results of a ReadPropertyMultiple-ACK are about what they say they are about.

A value whose length is too great swallows what stands behind it. When it swallows the end of one object and the head of the next,
that one's properties seem to belong to the first. It cannot be seen from the framing, which may fit again by chance, but from
what is missing: such a reply never answers all that was asked.
"""

from collections.abc import Sequence

from bms_iot.bacnet.services.reading import PropertyReference, PropertyResult
from bms_iot.bacnet.values.codec import BitString, Constructed, ContextValue, DecodeError, RawValue, Value

_NEXT_OBJECT = b"\x1f\x0c"
"""Where the results of one object end and the next object's identifier begins (clause 15.7)."""
_MAX_BITS = 64


def trusted(asked: Sequence[PropertyReference], results: Sequence[PropertyResult]) -> Sequence[PropertyResult]:
    """The results that can be believed: all when nothing is missing, else those up to a value that may have swallowed the rest.

    Raises DecodeError when there is one that was not asked for, or one twice: then it is not known what any of them is about.
    """
    wanted, answered = set(asked), {result.reference for result in results}
    if len(answered) < len(results) or not answered <= wanted:
        raise DecodeError("results that were not asked for")
    if len(answered) == len(wanted):
        return results
    end = next((place for place, result in enumerate(results, start=1) if _may_swallow(result)), len(results))
    return results[:end]


def _may_swallow(result: PropertyResult) -> bool:
    return isinstance(result.outcome, tuple) and any(_holds_next_object(value) for value in result.outcome)


def _holds_next_object(value: Value) -> bool:
    match value:
        case str():
            octets = value.encode("utf-16-be")
            return _NEXT_OBJECT in octets or _NEXT_OBJECT.decode() in value
        case bytes():
            return _NEXT_OBJECT in value
        case RawValue(octets=octets) | ContextValue(octets=octets):
            return _NEXT_OBJECT in octets
        case BitString():
            return len(value) > _MAX_BITS
        case Constructed(items=items):
            return any(_holds_next_object(item) for item in items)
    return False
