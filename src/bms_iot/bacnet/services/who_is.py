"""Who-Is and I-Am (ASHRAE 135 clause 16.10)."""

from dataclasses import dataclass
from functools import lru_cache

from bms_iot.bacnet.values.codec import DecodeError, Enumerated, ObjectId, decode_all, encode_context, encode_unsigned

I_AM = 0
WHO_IS = 8
DEVICE_OBJECT = 8
WILDCARD_INSTANCE = 0x3FFFFF
"""The highest instance, which no object has: 22 bits set."""

SEGMENTATION = ("both", "transmit", "receive", "none")
"""BACnetSegmentation by number, as the domain spells it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IAm:
    """A device that says where it is (clause 16.10); `segmentation` is the number of BACnetSegmentation."""

    instance: int
    max_apdu: int
    segmentation: int
    vendor_id: int


def encode_who_is(low: int | None = None, high: int | None = None) -> bytes:
    """A Who-Is for the instances `low` to `high`; without both, for every device."""
    limits = b""
    if low is not None or high is not None:
        lowest, highest = low or 0, WILDCARD_INSTANCE if high is None else high
        limits = encode_context(0, encode_unsigned(lowest)) + encode_context(1, encode_unsigned(highest))
    return bytes((0x10, WHO_IS)) + limits


@lru_cache(maxsize=1024)
def decode_i_am(parameters: bytes) -> IAm:
    """The parameters of an I-Am. Raises DecodeError when they are not the four it has.

    They are remembered: several listen to each, and a storm repeats itself.
    """
    match decode_all(parameters)[:4]:
        case (ObjectId(type=8, instance=instance), int(max_apdu), Enumerated() as segmentation, int(vendor_id)):
            return IAm(instance=instance, max_apdu=max_apdu, segmentation=int(segmentation), vendor_id=vendor_id)
    raise DecodeError("an I-Am has a device identifier, a length, a segmentation and a vendor")
