"""Objects and properties of any type, by number: what a person may ask for, beyond what the gateway reads by itself."""

from dataclasses import dataclass

from bms_iot.domain.readings import ReadingError

MAX_INSTANCE = 4_194_302
"""4,194,303 is no instance but stands for any (ASHRAE 135 clause 20.2.14)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyObject:
    """An object of any type: the numbers of BACnetObjectType (0 to 1,023) and of the instance."""

    type: int
    instance: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyProperty:
    """A property, or one element of an array: the number of BACnetPropertyIdentifier; `index` 0 is the array's length."""

    number: int
    index: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyValue:
    """What a device answered for one property: `value` as JSON knows it and `text` for people, or `error` and neither."""

    identifier: AnyObject
    property: AnyProperty
    value: object = None
    text: str = ""
    error: ReadingError | None = None
