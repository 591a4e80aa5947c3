"""Settings: typed, frozen, read once at the edge and passed in.

A value comes from the environment (`BMS_…`, `__` between levels), else from the settings file (TOML), else from the default here.
A secret may also come from a file: `BMS_MQTT__PASSWORD_FILE`, or `mqtt.password` in `$CREDENTIALS_DIRECTORY`.
"""

import ipaddress
import os
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from bms_iot.domain.classes import ClassRule, PointPattern
from bms_iot.domain.points import DEFAULT_PORT
from bms_iot.domain.write_rules import PRIORITY_FLOOR, ValueRange, WriteRules
from bms_iot.domain.writing import LOWEST_PRIORITY, MINIMUM_TIMES_PRIORITY
from bms_iot.errors import ConfigurationError

PREFIX = "BMS_"
DATABASE_NAME = "bms_bacnet.db"
SETTINGS_NAME = "settings.toml"
OLDER_NAMES = {
    "BMS_ORG_ID": "BMS_ORGANIZATION_ID",
    "MQTT_BROKER_HOST": "BMS_MQTT__HOST",
    "MQTT_BROKER_PORT": "BMS_MQTT__PORT",
    "MQTT_USE_TLS": "BMS_MQTT__TLS",
}
"""Names of older versions and what they mean now; the newer name wins."""
OUTSIDE_SETTINGS = {"BMS_SETTINGS_FILE", "BMS_STAY_ON_REFUSAL"}
"""Variables with the prefix that are read elsewhere."""

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


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def host_name(value: str) -> str:
    """A name or an address, and nothing else. Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9.])?|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]+", value) or value.count(":") == 1:
        raise ValueError("must be a name or an address alone; port and TLS have settings of their own")
    return value


class MqttSettings(_Section):
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
    max_payload_bytes: Annotated[int, Field(ge=4096, le=268_435_455)] = Field(131_072, description="below the broker's maximum")

    @property
    def uses_tls(self) -> bool:
        """The setting, or whether the broker is another machine."""
        return self.tls if self.tls is not None else not _is_loopback(self.host or "")

    @property
    def effective_port(self) -> int:
        """The setting, or the registered port."""
        return self.port or (8883 if self.uses_tls else 1883)

    @model_validator(mode="after")
    def _pairs(self) -> "MqttSettings":
        if (self.client_certificate is None) != (self.client_key is None):
            raise ValueError("client_certificate and client_key go together")
        if self.password is not None and self.username is None:
            raise ValueError("password needs username")
        return self


class BacnetSettings(_Section):
    """Our own BACnet/IP port, used while no `bacnet_readers` are configured, and how controllers are asked."""

    address: str = Field("0.0.0.0", description="our own IPv4 address")  # noqa: S104 - BACnet broadcasts arrive on every interface
    port: Port = DEFAULT_PORT
    broadcast: str | None = Field(None, description="where Who-Is goes: 255.255.255.255 by default")
    bbmd: str | None = Field(None, description="IP or IP:PORT of the BBMD to register with as a foreign device")
    bbmd_ttl_seconds: Annotated[int, Field(ge=30, le=65_535)] = Field(300, description="renewed at half of it")
    timeout_seconds: Seconds = 3.0
    tries: Annotated[int, Field(ge=1, le=10)] = 3
    in_flight_per_device: Annotated[int, Field(ge=1, le=16)] = 1
    in_flight_total: Annotated[int, Field(ge=1, le=4096)] = 64

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


class PollingSettings(_Section):
    """How often points are read."""

    interval_seconds: Seconds = Field(10.0, description="of the class normal")
    fast_interval_seconds: Seconds | None = Field(None, description="of the class fast; a fifth of interval_seconds by default")
    slow_interval_seconds: Seconds | None = Field(None, description="of the class slow; six times interval_seconds by default")
    classes: Annotated[Words, AfterValidator(class_rules)] = Field(
        (), description="CLASS DEVICE/TYPE/NAME with * and ?, comma-separated; the first that fits a point counts"
    )
    optional_interval_seconds: Seconds = Field(3600.0, description="the 23 optional properties")
    image_interval_seconds: Seconds = Field(60.0, description="how often controller_points is brought up to date")
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


class OutboxSettings(_Section):
    """What waits for the broker."""

    drain_messages_per_second: Count = Field(60, description="pace of the backlog beside live values")


class UploadSettings(_Section):
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


class WritesSettings(_Section):
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
    default_priority: Annotated[int, Field(ge=1, le=LOWEST_PRIORITY)] = Field(
        LOWEST_PRIORITY, description="of a command that names none"
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
            default_priority=self.default_priority,
        )

    @model_validator(mode="after")
    def _default_is_allowed(self) -> "WritesSettings":
        if self.default_priority < self.priority_floor or self.default_priority == MINIMUM_TIMES_PRIORITY:
            raise ValueError("default_priority must be one that priority_floor allows, and not 6")
        return self


class RebootSettings(_Section):
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


class LogSettings(_Section):
    """What is logged, on stderr."""

    level: Level = "info"
    format: Literal["auto", "json", "console"] = Field("auto", description="json unless stderr is a terminal")


class Settings(_Section):
    """Everything that can be set."""

    data_directory: Path
    database_url: str | None = Field(
        None, repr=False, description="SQLAlchemy form; bms_bacnet.db in the data directory by default"
    )
    organization_id: Annotated[str, BeforeValidator(organization)] | None = None
    site_id: Annotated[str, BeforeValidator(topic_level)] | None = None
    device_id: Annotated[str, BeforeValidator(topic_level)] | None = None
    heartbeat_seconds: Seconds = 30.0
    mqtt: MqttSettings = MqttSettings()
    bacnet: BacnetSettings = BacnetSettings()
    polling: PollingSettings = PollingSettings()
    outbox: OutboxSettings = OutboxSettings()
    upload: UploadSettings = UploadSettings()
    writes: WritesSettings = WritesSettings()
    reboot: RebootSettings = RebootSettings()
    log: LogSettings = LogSettings()

    @field_validator("database_url")
    @classmethod
    def _usable_url(cls, value: str | None) -> str | None:
        return None if value is None else normal_url(value).render_as_string(hide_password=False)

    @property
    def url(self) -> str:
        """The database, in SQLAlchemy's form with an async driver and an absolute path."""
        return self.database_url or f"sqlite+aiosqlite:///{self.data_directory / DATABASE_NAME}"


def normal_url(value: str) -> URL:
    """The URL with the driver the application uses. Raises ValueError for what is no SQLite or PostgreSQL URL, or relative."""
    try:
        url = make_url(value)
    except ArgumentError as error:
        raise ValueError("is not a database URL such as sqlite+aiosqlite:////data/bms_bacnet.db") from error
    match url.get_backend_name():
        case "sqlite":
            if not url.database or not Path(url.database).is_absolute():
                raise ValueError(
                    "must name a file by its absolute path, as in sqlite+aiosqlite:////data/bms_bacnet.db (four slashes)"
                )
            return url.set(drivername="sqlite+aiosqlite")
        case "postgresql":
            return url.set(drivername="postgresql+asyncpg")
        case other:
            raise ValueError(f"{other} is not supported: sqlite+aiosqlite or postgresql+asyncpg")


def default_data_directory(environ: Mapping[str, str]) -> Path:
    """`$STATE_DIRECTORY` under systemd, `/data` in a container, else the user's data directory."""
    if state := environ.get("STATE_DIRECTORY"):
        return Path(state.split(":")[0])
    if Path("/data").is_dir() and any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv")):
        return Path("/data")
    share = environ.get("XDG_DATA_HOME") or Path(environ.get("HOME") or Path.home()) / ".local" / "share"
    return Path(share) / "bms-iot"


def settings_file(environ: Mapping[str, str] | None = None) -> Path:
    """The settings file: `$BMS_SETTINGS_FILE`, else `settings.toml` in the data directory."""
    environ = os.environ if environ is None else environ
    if named := environ.get("BMS_SETTINGS_FILE"):
        return Path(named).absolute()
    return Path(environ.get("BMS_DATA_DIRECTORY") or default_data_directory(environ)) / SETTINGS_NAME


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read and check every setting. Raises ConfigurationError that names the key and where it was set."""
    environ = os.environ if environ is None else environ
    values, origins = gather(environ)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError("; ".join(_complaints(error, origins))) from None


def gather(environ: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The values that are set, nested, and for each dotted key where it was set. Raises ConfigurationError."""
    path = settings_file(environ)
    values: dict[str, Any] = {"data_directory": default_data_directory(environ)}
    origins = {"data_directory": "default"}
    for key, value in _flat(_read_toml(path, must_exist="BMS_SETTINGS_FILE" in environ)):
        _put(values, origins, key, value, str(path))
    for key, value, origin in _from_environment(environ):
        if value:  # an empty variable is one that is not set
            _put(values, origins, key, value, origin)
    if not Path(str(values["data_directory"])).is_absolute():
        raise ConfigurationError(f"{origins['data_directory']}: data_directory: must be an absolute path")
    return values, origins


def setting_keys() -> dict[str, type]:
    """Every dotted key and whether it is a secret: its type is then SecretStr."""
    return dict(_keys(Settings))


def database_url(environ: Mapping[str, str] | None = None) -> tuple[str, bool]:
    """The database's URL, and whether somebody set it.

    Raises ConfigurationError when the default place is empty while a database of an older version lies where those kept it.
    """
    settings = load_settings(environ)
    if settings.database_url is None and not (settings.data_directory / DATABASE_NAME).exists():
        for place in (Path.cwd(), Path.cwd().parent.parent):
            if (stray := place / DATABASE_NAME).is_file():
                raise ConfigurationError(
                    f"{settings.data_directory} holds no database, but {stray} exists, where older versions kept it",
                    hint=f"export BMS_DATABASE_URL=sqlite+aiosqlite:///{stray} to use it, or move it there",
                )
    return settings.url, settings.database_url is not None


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    keys = setting_keys()
    if credentials := environ.get("CREDENTIALS_DIRECTORY"):
        for key in (k for k, kind in keys.items() if kind is SecretStr):
            if (file := Path(credentials) / key).is_file():
                yield key, _read_secret(file, "CREDENTIALS_DIRECTORY"), str(file)
    for older, newer in OLDER_NAMES.items():
        if older in environ and newer not in environ:
            yield newer.removeprefix(PREFIX).lower().replace("__", "."), environ[older], older
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in OUTSIDE_SETTINGS or name in OLDER_NAMES:
            continue
        key = name.removeprefix(PREFIX).lower().replace("__", ".")
        if key not in keys and keys.get(key.removesuffix("_file")) is SecretStr:
            yield key.removesuffix("_file"), _read_secret(Path(environ[name]), name), name
        else:
            yield key, environ[name], name


def _read_secret(path: Path, origin: str) -> str:
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{origin}: the secret in {path} cannot be read: {error}") from None


def _read_toml(path: Path, *, must_exist: bool) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if must_exist:
            raise ConfigurationError(f"BMS_SETTINGS_FILE: there is no {path}") from None
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"the settings file {path} cannot be read: {error}") from None


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _put(values: dict[str, Any], origins: dict[str, str], key: str, value: object, origin: str) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise ConfigurationError(f"{origin}: {key} is set below {parent}, which is a value")
    values[last] = value
    origins[key] = origin


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, type]]:
    for name, info in model.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _keys(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", SecretStr if SecretStr in get_args(kind) else str


def _complaints(error: ValidationError, origins: Mapping[str, str]) -> Iterator[str]:
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        key = ".".join(str(part) for part in problem["loc"] if isinstance(part, str) and not part.startswith("function-"))
        below = dict.fromkeys(origin for name, origin in origins.items() if name.startswith(f"{key}."))
        origin = origins.get(key) or ", ".join(below) or "settings"
        what = "is not a setting" if problem["type"] == "extra_forbidden" else problem["msg"].removeprefix("Value error, ")
        yield f"{origin}: {key}: {what}" if origin != key else f"{key}: {what}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
