"""How far the results of a ReadPropertyMultiple-ACK are about what they say they are about.

A value whose length is too great swallows what stands behind it. When it swallows the end of one object and the head of the next,
that one's properties seem to belong to the first. It cannot be seen from the framing, which may fit again by chance, but from
what is missing: such a reply never answers all that was asked.
"""

from collections.abc import Container, Sequence

from bms_iot.bacnet.services.reading import PropertyReference, PropertyResult
from bms_iot.bacnet.values.codec import BitString, Constructed, ContextValue, DecodeError, RawValue, Value

_NEXT_OBJECT = b"\x1f\x0c"
"""Where the results of one object end and the next object's identifier begins (clause 15.7)."""
_MAX_BITS = 64


def trusted(asked: Sequence[PropertyReference], results: Sequence[PropertyResult]) -> Sequence[PropertyResult]:
    """The results that can be believed: all when nothing is missing, else those up to a value that may have swallowed the rest.

    Where nothing is missing, what was not asked for is passed over, and so is what is there twice and not the same. Raises
    DecodeError when something is missing and there is one that was not asked for, or one twice: then it is not known what any of
    them is about.
    """
    wanted, answered = set(asked), {result.reference for result in results}
    is_exact = len(answered) == len(results) and answered <= wanted
    if answered >= wanted:
        return results if is_exact else _unambiguous(wanted, results)
    if not is_exact:
        raise DecodeError("results that were not asked for")
    end = next((place for place, result in enumerate(results, start=1) if _may_swallow(result)), len(results))
    return results[:end]


def _unambiguous(wanted: Container[PropertyReference], results: Sequence[PropertyResult]) -> Sequence[PropertyResult]:
    """What was asked for and has one outcome, however often it is there."""
    first: dict[PropertyReference, PropertyResult] = {}
    contradicted: set[PropertyReference] = set()
    for result in results:
        if first.setdefault(result.reference, result) != result:
            contradicted.add(result.reference)
    return [result for reference, result in first.items() if reference in wanted and reference not in contradicted]


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
