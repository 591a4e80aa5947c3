"""The sections of the settings: one group of keys each, with their defaults and what they mean."""

import ipaddress
import re
import shlex
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator, model_validator

from bms_iot.domain.classes import ClassRule, PointPattern
from bms_iot.domain.configuration import Reader
from bms_iot.domain.delivery import Bounds, HistoryBounds
from bms_iot.domain.points import DEFAULT_PORT
from bms_iot.domain.reporting import ReportRule
from bms_iot.domain.write_rules import PRIORITY_FLOOR, ValueRange, WriteRules
from bms_iot.domain.writing import LOWEST_PRIORITY, MINIMUM_TIMES_PRIORITY

Level = Literal["debug", "info", "warning", "error"]
Words = Annotated[
    tuple[str, ...], BeforeValidator(lambda v: [w.strip() for w in v.split(",") if w.strip()] if isinstance(v, str) else v)
]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Port = Annotated[int, Field(ge=1, le=65_535)]
Count = Annotated[int, Field(ge=1)]


def topic_level(value: str) -> str:
    """An identifier that can be one level of an MQTT topic (MQTT 5 clause 4.7). Raises ValueError."""
    if not value.strip():
        raise ValueError("must not be blank")
    if re.search(r"[/+#\x00-\x1f\x7f-\x9f]", value):
        raise ValueError("must not contain / + # or control characters: it becomes a level of the MQTT topics")
    return value


def organization(value: str) -> str:
    """An organization's identifier: a topic level that starts with `org_`. Raises ValueError."""
    if not topic_level(value).startswith("org_"):
        raise ValueError("must start with org_")
    return value


class Section(BaseModel):
    """A group of settings; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def host_name(value: str) -> str:
    """A name or an address, and nothing else. Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9.])?|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]+", value) or value.count(":") == 1:
        raise ValueError("must be a name or an address alone; port and TLS have settings of their own")
    return value


def host_and_port(value: str) -> str:
    """HOST:PORT, an IPv6 address in brackets. Raises ValueError."""
    host, colon, port = value.rpartition(":")
    if not colon or not port.isdigit() or not 0 < int(port) < 65_536:
        raise ValueError("must be HOST:PORT, without http:// and without a password")
    host_name(host[1:-1] if host.startswith("[") and host.endswith("]") else host)
    return value


class MqttSettings(Section):
    """The broker."""

    host: Annotated[str, AfterValidator(host_name)] | None = Field(None, description="name or address of the broker")
    port: Port | None = Field(None, description="8883 with TLS, else 1883")
    tls: bool | None = Field(None, description="on, except towards this machine itself")
    ca_certificate: Path | None = Field(None, description="PEM file; the system's roots by default")
    client_certificate: Path | None = Field(None, description="PEM file, for mutual TLS")
    client_key: Path | None = Field(None, description="PEM file, for mutual TLS")
    username: str | None = None
    password: SecretStr | None = None
    client_id: str | None = Field(None, description="the device's id by default; must be the same at each start")
    keep_alive_seconds: Annotated[int, Field(ge=5, le=3600)] = 30
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    transport: Literal["tcp", "websocket"] = Field("tcp", description="websocket: where firewalls let nothing else out")
    websocket_path: Annotated[str, Field(pattern=r"^/[!-~]*$")] = "/mqtt"
    proxy: Annotated[str, AfterValidator(host_and_port)] | None = Field(
        None, description="HOST:PORT of an HTTP proxy that allows CONNECT"
    )
    proxy_username: str | None = None
    proxy_password: SecretStr | None = None
    will_delay_seconds: Annotated[int, Field(ge=0, le=86_400)] = Field(
        0, description="how long the broker waits with the last will for us to come back; MQTT 5 only"
    )
    max_payload_bytes: Annotated[int, Field(ge=4096, le=268_435_455)] = Field(131_072, description="below the broker's maximum")
    compress_bulk: bool = Field(False, description="send readings gzipped, where every consumer knows that; MQTT 5 only")

    @property
    def uses_tls(self) -> bool:
        """The setting, or whether the broker is another machine."""
        return self.tls if self.tls is not None else not _is_loopback(self.host or "")

    @property
    def effective_port(self) -> int:
        """The setting, or the registered port."""
        if self.transport == "websocket":
            return self.port or (443 if self.uses_tls else 80)
        return self.port or (8883 if self.uses_tls else 1883)

    @property
    def proxy_place(self) -> tuple[str, int] | None:
        """`proxy`, parsed."""
        if self.proxy is None:
            return None
        host, _, port = self.proxy.rpartition(":")
        return host.strip("[]"), int(port)

    @model_validator(mode="after")
    def _pairs(self) -> "MqttSettings":
        if (self.client_certificate is None) != (self.client_key is None):
            raise ValueError("client_certificate and client_key go together")
        if self.password is not None and self.username is None:
            raise ValueError("password needs username")
        if self.proxy_password is not None and self.proxy_username is None:
            raise ValueError("proxy_password needs proxy_username")
        return self


def reader_interfaces(values: tuple[str, ...]) -> tuple[str, ...]:
    """Our interfaces as `Reader.parse` spells them, none twice. Raises ValueError."""
    readers = [Reader.parse(value, reader_id="") for value in values]
    if len({(reader.host, reader.port) for reader in readers}) < len(readers):
        raise ValueError("an interface is there twice")
    return values


class BacnetSettings(Section):
    """Our own BACnet/IP port, used while no `bacnet_readers` are configured, and how controllers are asked."""

    address: str = Field("0.0.0.0", description="our own IPv4 address")  # noqa: S104 - BACnet broadcasts arrive on every interface
    port: Port = DEFAULT_PORT
    broadcast: str | None = Field(None, description="where Who-Is goes: 255.255.255.255 by default")
    readers: Annotated[Words, AfterValidator(reader_interfaces)] = Field(
        (),
        description="several interfaces in place of address, port and bbmd: ADDRESS[:PORT]/PREFIX[@BBMD[:PORT]], comma-separated",
    )
    bbmd: str | None = Field(None, description="IP or IP:PORT of the BBMD to register with as a foreign device")
    bbmd_ttl_seconds: Annotated[int, Field(ge=30, le=65_535)] = Field(300, description="renewed at half of it")
    timeout_seconds: Seconds = 3.0
    tries: Annotated[int, Field(ge=1, le=10)] = 3
    in_flight_per_device: Annotated[int, Field(ge=1, le=16)] = 1
    in_flight_total: Annotated[int, Field(ge=1, le=4096)] = 256

    @field_validator("bbmd")
    @classmethod
    def _ipv4_and_port(cls, value: str | None) -> str | None:
        if value is None:
            return None
        host, _, port = value.partition(":")
        if port and not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65_535):
            raise ValueError("must be IP or IP:PORT")
        return str(ipaddress.IPv4Address(host)) + (f":{port}" if port else "")

    @field_validator("address", "broadcast")
    @classmethod
    def _ipv4(cls, value: str | None) -> str | None:
        return None if value is None else str(ipaddress.IPv4Address(value))


def class_rules(values: tuple[str, ...]) -> tuple[str, ...]:
    """Rules as `ClassRule` spells them. Raises ValueError."""
    return tuple(str(ClassRule.parse(value)) for value in values)


def report_rules(values: tuple[str, ...]) -> tuple[str, ...]:
    """Rules as `ReportRule` spells them. Raises ValueError."""
    return tuple(str(ReportRule.parse(value)) for value in values)


class PollingSettings(Section):
    """How often points are read."""

    interval_seconds: Seconds = Field(10.0, description="of the class normal")
    fast_interval_seconds: Seconds | None = Field(None, description="of the class fast; a fifth of interval_seconds by default")
    slow_interval_seconds: Seconds | None = Field(None, description="of the class slow; six times interval_seconds by default")
    classes: Annotated[Words, AfterValidator(class_rules)] = Field(
        (), description="CLASS DEVICE/TYPE/NAME with * and ?, comma-separated; the first that fits a point counts"
    )
    report: Annotated[Words, AfterValidator(report_rules)] = Field(
        (), description="CLASS DEAD_BAND SILENCE_SECONDS, comma-separated: send only what changes, or is due again; all by default"
    )
    optional_interval_seconds: Seconds = Field(3600.0, description="the 23 optional properties")
    image_interval_seconds: Seconds = Field(60.0, description="how often controller_points is brought up to date at most")
    backoff_max_seconds: Seconds = Field(300.0, description="longest pause between probes of a silent device")
    follow_moved: bool = Field(True, description="read a device that answers only at another address there")

    @property
    def fast_seconds(self) -> float:
        """The setting, or what follows from `interval_seconds`."""
        return self.fast_interval_seconds or self.interval_seconds / 5

    @property
    def slow_seconds(self) -> float:
        """The setting, or what follows from `interval_seconds`."""
        return self.slow_interval_seconds or self.interval_seconds * 6

    @property
    def report_rules(self) -> tuple[ReportRule, ...]:
        """`report`, parsed."""
        return tuple(map(ReportRule.parse, self.report))

    @property
    def rules(self) -> tuple[ClassRule, ...]:
        """`classes`, parsed."""
        return tuple(map(ClassRule.parse, self.classes))

    @model_validator(mode="after")
    def _in_order(self) -> "PollingSettings":
        if not self.fast_seconds <= self.interval_seconds <= self.slow_seconds:
            raise ValueError(
                "fast_interval_seconds, interval_seconds and slow_interval_seconds must not grow shorter in this order"
            )
        return self


class OutboxSettings(Section):
    """What waits for the broker."""

    drain_readings_per_second: Count = Field(4000, description="pace of the backlog beside live values")
    max_messages: Count = Field(
        2_000_000, description="the oldest go first, and are announced as gaps where they were not delivered"
    )
    max_bytes: Annotated[int, Field(ge=1 << 20)] = Field(1 << 30, description="of disk, delivered messages included")
    max_age_days: Annotated[float, Field(gt=0, le=3650)] = Field(30.0, description="of what waits")
    replay_hours: Annotated[float, Field(ge=0, le=8760)] = Field(24.0, description="how long delivered messages can be sent again")
    commit_seconds: Annotated[float, Field(gt=0, le=60)] = Field(
        10.0, description="on a busy site readings are gathered for up to that long, or interval_seconds, which spares the disk"
    )

    @property
    def bounds(self) -> Bounds:
        """What is kept."""
        return Bounds(
            max_rows=self.max_messages,
            max_bytes=self.max_bytes,
            max_age=timedelta(days=self.max_age_days),
            replay=timedelta(hours=self.replay_hours),
        )


class HistorySettings(Section):
    """What points were, kept on the device: on change beyond the COV increment, and once an hour."""

    max_bytes: Annotated[int, Field(ge=0)] = Field(256 << 20, description="of disk; 0 keeps no history")
    max_age_days: Annotated[float, Field(gt=0, le=3650)] = 30.0

    @property
    def bounds(self) -> HistoryBounds:
        """What is kept."""
        return HistoryBounds(max_age=timedelta(days=self.max_age_days), max_bytes=self.max_bytes)


class ClockSettings(Section):
    """The time of day."""

    trusted: Literal["auto", "always"] = Field(
        "auto", description="auto: once the kernel is synchronized or has a battery clock; always: for sites without a time server"
    )


class ProfileSettings(Section):
    """What is published beside the contract, for people."""

    last_values: bool = Field(False, description="the last value of each point, retained, on a topic of its own")
    home_assistant: bool = Field(False, description="device discovery for Home Assistant; needs last_values")
    home_assistant_prefix: Annotated[str, Field(pattern=r"^[^+#\x00]+$")] = Field(
        "homeassistant", description="its discovery prefix"
    )

    @model_validator(mode="after")
    def _values_are_there(self) -> "ProfileSettings":
        if self.home_assistant and not self.last_values:
            raise ValueError("home_assistant needs last_values")
        return self


class UploadSettings(Section):
    """Where `get_config` may upload to."""

    allow_http: bool = Field(False, description="plain http to other machines")
    allowed_hosts: Words = Field((), description="comma-separated; any host when empty")
    patience_seconds: Seconds = Field(120.0, description="how long an upload that fails is tried again")


def point_patterns(values: tuple[str, ...]) -> tuple[str, ...]:
    """Patterns as `PointPattern` spells them. Raises ValueError."""
    return tuple(str(PointPattern.parse(value)) for value in values)


def value_ranges(values: tuple[str, ...]) -> tuple[str, ...]:
    """Ranges as `ValueRange` spells them. Raises ValueError."""
    return tuple(str(ValueRange.parse(value)) for value in values)


class CovSettings(Section):
    """Which points report their changes by themselves; all go on being polled, those as `slow`."""

    points: Annotated[Words, AfterValidator(point_patterns)] = Field(
        (), description="DEVICE/TYPE/NAME with * and ?, comma-separated"
    )
    behind_routers: bool = Field(True, description="also every point behind a router, as on MS/TP")
    lifetime_seconds: Annotated[int, Field(ge=10, le=86_400)] = Field(900, description="of a subscription; renewed at half")
    confirmed: bool = Field(False, description="ask for confirmed notifications")

    @property
    def patterns(self) -> tuple[PointPattern, ...]:
        """`points`, parsed."""
        return tuple(map(PointPattern.parse, self.points))


class WritesSettings(Section):
    """What the cloud may write to controllers."""

    enabled: bool = Field(False, description="nothing is written while this is off")
    points: Annotated[Words, AfterValidator(point_patterns)] = Field(
        (), description="DEVICE/TYPE/NAME with * and ?, comma-separated; any point when empty"
    )
    ranges: Annotated[Words, AfterValidator(value_ranges)] = Field(
        (), description="LOW..HIGH DEVICE/TYPE/NAME, comma-separated; all that fit a point count, beside the point's own limits"
    )
    priority_floor: Annotated[int, Field(ge=1, le=LOWEST_PRIORITY)] = Field(
        PRIORITY_FLOOR, description="no smaller number, which would be a higher priority"
    )
    default_priority: Annotated[int, Field(ge=1, le=LOWEST_PRIORITY)] | None = Field(
        None, description="of a command that names none; 8, a person's override, or priority_floor where that is higher"
    )
    per_minute: Annotated[int, Field(ge=1, le=6000)] = Field(60, description="writes a minute; so many at once")

    @property
    def rules(self) -> WriteRules:
        """The settings as the rules of the site."""
        return WriteRules(
            is_enabled=self.enabled,
            points=tuple(map(PointPattern.parse, self.points)),
            ranges=tuple(map(ValueRange.parse, self.ranges)),
            priority_floor=self.priority_floor,
            default_priority=self.default_priority or max(PRIORITY_FLOOR, self.priority_floor),
        )

    @model_validator(mode="after")
    def _default_is_allowed(self) -> "WritesSettings":
        chosen = self.default_priority
        if chosen is not None and (chosen < self.priority_floor or chosen == MINIMUM_TIMES_PRIORITY):
            raise ValueError("default_priority must be one that priority_floor allows, and not 6")
        return self


class RebootSettings(Section):
    """What the command `reboot` does."""

    host_command: str | None = Field(
        None, description="a program and its arguments that restart the whole box; by default the gateway alone restarts"
    )

    @field_validator("host_command")
    @classmethod
    def _is_a_command(cls, value: str | None) -> str | None:
        if value is not None and not shlex.split(value):
            raise ValueError("is no command")
        return value


class LogSettings(Section):
    """What is logged, on stderr."""

    level: Level = "info"
    format: Literal["auto", "json", "console"] = Field("auto", description="json unless stderr is a terminal")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
