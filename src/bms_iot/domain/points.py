"""What is read: devices, objects and points.

A point is told apart by network address, device instance, object type and object instance (ASHRAE 135 clause 12), never by less.
"""

import enum
import re
import uuid
from collections.abc import Container
from dataclasses import dataclass

DEFAULT_PORT = 47808
"""UDP port 0xBAC0 (ASHRAE 135 clause J.1.2)."""


_NUMBERS = {
    "analogInput": 0,
    "analogOutput": 1,
    "analogValue": 2,
    "binaryInput": 3,
    "binaryOutput": 4,
    "binaryValue": 5,
    "multiStateInput": 13,
    "multiStateOutput": 14,
    "multiStateValue": 19,
}


class ObjectType(enum.Enum):
    """The object types that are read. The database stores the NAME, JSON and MQTT carry the value."""

    ANALOG_INPUT = "analogInput"
    ANALOG_OUTPUT = "analogOutput"
    ANALOG_VALUE = "analogValue"
    BINARY_INPUT = "binaryInput"
    BINARY_OUTPUT = "binaryOutput"
    BINARY_VALUE = "binaryValue"
    MULTI_STATE_INPUT = "multiStateInput"
    MULTI_STATE_OUTPUT = "multiStateOutput"
    MULTI_STATE_VALUE = "multiStateValue"

    def __init__(self, name: str) -> None:
        self.number = _NUMBERS[name]
        """BACnetObjectType as ASHRAE 135 clause 21 numbers it."""

    @classmethod
    def from_number(cls, number: int) -> "ObjectType | None":
        """The type of that number, None for the ones that are not read."""
        return _BY_NUMBER.get(number)

    @property
    def is_analog(self) -> bool:
        """The present-value is a REAL."""
        return self.value.startswith("analog")

    @property
    def is_binary(self) -> bool:
        """The present-value is a BACnetBinaryPV."""
        return self.value.startswith("binary")


_BY_NUMBER = {object_type.number: object_type for object_type in ObjectType}


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectIdentifier:
    """BACnetObjectIdentifier, of the types that are read; `instance` is 0 to 4,194,302."""

    type: ObjectType
    instance: int

    def __str__(self) -> str:
        return f"{self.type.value}:{self.instance}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceAddress:
    """Where a device is reached: an IPv4 address and UDP port.

    For a device behind a router `host` is spelled `net:mac` (network number in decimal, MAC in hexadecimal).
    """

    host: str
    port: int = DEFAULT_PORT

    def __str__(self) -> str:
        return self.host if self.port == DEFAULT_PORT else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A BACnet device: its address, its device instance, and the cloud's id of the controller."""

    address: DeviceAddress
    instance: int
    controller_id: str
    vendor_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One object of one device, as `controller_points` knows it: `id` is its row, `iot_device_point_id` the cloud's key."""

    id: int
    device: Device
    object: ObjectIdentifier
    iot_device_point_id: str
    units: str | None = None


def new_point_id(controller_id: str, device_instance: int, object_identifier: ObjectIdentifier, taken: Container[str]) -> str:
    """The cloud's key of a point never seen before: a uuid5 of its identity, with -2, -3 … appended while it is taken."""
    name = f"{controller_id}-{device_instance}-{object_identifier.type.value}-{object_identifier.instance}"
    candidate, attempt = name, 1
    while (point_id := str(uuid.uuid5(uuid.NAMESPACE_URL, candidate))) in taken:
        attempt += 1
        candidate = f"{name}-{attempt}"
    return point_id


def kebab_case(camel: str) -> str:
    """`analogInput` → `analog-input`, as ASHRAE 135 spells its enumerations."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"-\1", camel).lower()
