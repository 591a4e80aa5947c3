"""What the gateway is told to read, and who it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network
from typing import Any, TypeAlias

from bms_iot.domain.points import DEFAULT_PORT, Device, ObjectIdentifier

Place: TypeAlias = tuple[str, int, ObjectIdentifier]
"""Controller id, device instance and object: what tells a configured point apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """Who this gateway is to the cloud; each is one level of the MQTT topics."""

    organization_id: str
    site_id: str
    device_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """A BACnet interface of ours: the address we read from. `prefix_length` is of its IPv4 network, 0 when unknown."""

    id: str
    host: str
    port: int = DEFAULT_PORT
    prefix_length: int = 24
    device_instance: int = 0
    is_active: bool = True
    bbmd: str | None = None

    @property
    def broadcast(self) -> str:
        """Where Who-Is goes: the broadcast address of its network, or of every network when that is unknown."""
        if self.host.startswith("127."):
            return "127.255.255.255"
        return str(IPv4Network((self.host, self.prefix_length), strict=False).broadcast_address)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredObject:
    """An object that is to be read; `iot_device_point_id` is None until it is known. `properties` is what discovery saw."""

    object: ObjectIdentifier
    iot_device_point_id: str | None
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredDevice:
    """A device and its objects that are to be read."""

    device: Device
    objects: tuple[ConfiguredObject, ...]

    def with_keys(self, keys: Mapping[ObjectIdentifier, str]) -> "ConfiguredDevice":
        """The same with every object's `iot_device_point_id`."""
        return replace(self, objects=tuple(replace(o, iot_device_point_id=keys[o.object]) for o in self.objects))
