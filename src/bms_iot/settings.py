"""Settings: typed, frozen, read once at the edge and passed in.

A value comes from the environment (`BMS_…`, `__` between levels), else from the settings file (TOML), else from the default here.
A secret may also come from a file: `BMS_MQTT__PASSWORD_FILE`, or `mqtt.password` in `$CREDENTIALS_DIRECTORY`.
"""

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, Field, SecretStr, ValidationError, field_validator
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from bms_iot.errors import ConfigurationError
from bms_iot.sections import (
    BacnetSettings,
    ClockSettings,
    CovSettings,
    HistorySettings,
    LogSettings,
    MqttSettings,
    OutboxSettings,
    PollingSettings,
    ProfileSettings,
    RebootSettings,
    Seconds,
    Section,
    UploadSettings,
    WritesSettings,
    organization,
    topic_level,
)

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


class Settings(Section):
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
    cov: CovSettings = CovSettings()
    outbox: OutboxSettings = OutboxSettings()
    clock: ClockSettings = ClockSettings()
    history: HistorySettings = HistorySettings()
    profiles: ProfileSettings = ProfileSettings()
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
