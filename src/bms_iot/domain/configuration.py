"""What the gateway is told to read, and who it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network
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

    @classmethod
    def parse(cls, text: str, *, reader_id: str) -> "Reader":
        """`ADDRESS[:PORT]/PREFIX[@BBMD[:PORT]]`. Raises ValueError."""
        interface, at, bbmd = text.strip().partition("@")
        address, slash, prefix = interface.partition("/")
        if not slash or not (prefix.isascii() and prefix.isdigit()):
            raise ValueError(f"{text!r} must be ADDRESS[:PORT]/PREFIX, with @BBMD after it when there is one")
        host, port = _host_and_port(address)
        prefix_length = IPv4Network((host, int(prefix)), strict=False).prefixlen
        through = _host_and_port(bbmd) if at else None
        return cls(
            id=reader_id,
            host=host,
            port=port,
            prefix_length=prefix_length,
            bbmd=None if through is None else f"{through[0]}:{through[1]}",
        )

    @property
    def broadcast(self) -> str:
        """Where Who-Is goes: the broadcast address of its network, or of every network when that is unknown."""
        if self.host.startswith("127."):
            return "127.255.255.255"
        return str(IPv4Network((self.host, self.prefix_length), strict=False).broadcast_address)


def _host_and_port(text: str) -> tuple[str, int]:
    host, colon, port = text.partition(":")
    if colon and not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65_535):
        raise ValueError(f"{port!r} is no UDP port")
    return str(IPv4Address(host)), int(port) if colon else DEFAULT_PORT


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
