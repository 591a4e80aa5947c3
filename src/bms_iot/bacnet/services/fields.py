"""Parts that the parameters of several services are made of. All raise DecodeError where a reply is not built as it should be."""

from bms_iot.bacnet.values.codec import DecodeError, ObjectId, object_id, read_tag, unsigned


def context_contents(octets: bytes, at: int, number: int) -> tuple[bytes, int]:
    """The contents of the primitive that context tag `number` must be, and the place after it."""
    tag = read_tag(octets, at)
    if not tag.context or tag.number != number or tag.length < 0:
        raise DecodeError(f"context tag {number} is missing at octet {at}")
    end = tag.start + tag.length
    return octets[tag.start : end], end


def object_id_of(contents: bytes) -> ObjectId:
    """An object identifier where the structure of a reply depends on it."""
    if len(contents) != 4:
        raise DecodeError("an object identifier has four octets")
    return object_id(contents)


def number_of(contents: bytes) -> int:
    """An Unsigned where the structure of a reply depends on it."""
    try:
        return unsigned(contents)
    except ValueError as error:
        raise DecodeError(str(error)) from error
