"""The bodies of requests, as JSON has them and as commands. A key that is wrong is a ValidationError that names it."""

import ipaddress
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    model_validator,
)

from bms_iot.domain.classes import PollingClass, class_of_cloud
from bms_iot.domain.commands import (
    Command,
    CommandName,
    GetConfig,
    Reboot,
    Resend,
    SetValue,
    StartMonitoring,
    StopMonitoring,
)
from bms_iot.domain.configuration import Place, Reader
from bms_iot.domain.points import DEFAULT_PORT, Device, DeviceAddress, ObjectIdentifier, ObjectType

MAX_ID: Final = 200
_MAX_DEVICE_INSTANCE: Final = 4_194_302
_MAX_LEASE_SECONDS: Final = 30 * 86_400


def _controller_host(value: str) -> str:
    """An IPv4 address, or `net:mac` behind a router (ASHRAE 135 clause 6.2.2: networks 1 to 65,534)."""
    if routed := re.fullmatch(r"(\d{1,5}):((?:[0-9a-fA-F]{2}){1,18})", value):
        if not 1 <= int(routed[1]) <= 65_534:
            raise ValueError("the network number must be 1 to 65534")
        return value.lower()
    return _ipv4(value)


def _ipv4(value: str) -> str:
    try:
        return str(ipaddress.IPv4Address(value))
    except ValueError:
        raise ValueError("is not an IPv4 address") from None


def _digits(value: object) -> object:
    """Device instances come as numbers and as texts of digits."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,7}", value):
        return int(value)
    return value


def _upload_url(value: str) -> str:
    parts = urlsplit(value)
    if re.search(r"[^\x21-\x7e]", value):
        raise ValueError("holds characters a URL cannot have")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is not an http or https URL")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not carry credentials")
    return value


def _bearer(value: SecretStr) -> SecretStr:
    """RFC 6750 clause 2.1, so that it cannot add a header of its own."""
    if not re.fullmatch(r"[A-Za-z0-9\-._~+/]+=*", value.get_secret_value()):
        raise ValueError("is not a bearer token")
    return value


def is_text(value: str) -> bool:
    """A lone surrogate is none: no database and no topic takes it. Nor does PostgreSQL take a NUL."""
    return not re.search(r"[\x00\ud800-\udfff]", value)


def _text(value: str) -> str:
    if not is_text(value):
        raise ValueError("holds what is no character")
    return value


def _moment(value: object) -> object:
    """ISO 8601 with its zone, as `2026-11-22T08:00:00Z`."""
    if not isinstance(value, str):
        raise ValueError("is not a time such as 2026-11-22T08:00:00Z")
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError("it has no zone")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("is not a time with its zone, such as 2026-11-22T08:00:00Z") from None


_Id = Annotated[str, Field(min_length=1, max_length=MAX_ID), AfterValidator(_text)]
_Text = Annotated[str, Field(max_length=MAX_ID), AfterValidator(_text)]
_Number = Annotated[int, Field(strict=True, ge=0, lt=2**31)]
_Instance = Annotated[int, BeforeValidator(_digits), Field(strict=True, ge=0, le=_MAX_DEVICE_INSTANCE)]
_Port = Annotated[int, Field(strict=True, ge=1, le=65_535)]


class _Body(BaseModel):
    """Keys that are not known are ignored: newer clouds may send more."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class _Object(_Body):
    """One entry of `object_list` as it was uploaded; a type or a class that this release does not know says nothing to it."""

    type: str
    point_id: _Instance
    properties: dict[str, Any] = Field(default_factory=dict)

    def chosen(self) -> tuple[ObjectIdentifier, PollingClass] | None:
        object_type = next((known for known in ObjectType if known.value == self.type), None)
        polling_class = class_of_cloud(self.properties)
        if object_type is None or polling_class is None:
            return None
        return ObjectIdentifier(type=object_type, instance=self.point_id), polling_class


class _Controller(_Body):
    ipAddress: Annotated[str, AfterValidator(_controller_host)]
    controllerDeviceId: _Instance
    id: _Id
    port: _Port = DEFAULT_PORT
    object_list: Annotated[list[_Object], Field(max_length=100_000)] = Field(default_factory=list)

    def classes(self) -> dict[Place, PollingClass]:
        chosen = (wanted.chosen() for wanted in self.object_list)
        return {(self.id, self.controllerDeviceId, found[0]): found[1] for found in chosen if found is not None}

    def device(self) -> Device:
        return Device(
            address=DeviceAddress(host=self.ipAddress, port=self.port), instance=self.controllerDeviceId, controller_id=self.id
        )


class _Reader(_Body):
    id: _Id
    ip_address: Annotated[str, AfterValidator(_ipv4)]
    subnet_mask: Annotated[int, Field(strict=True, ge=0, le=32)] = 24
    bacnet_device_id: _Instance
    port: _Port = DEFAULT_PORT
    bbmd_enabled: bool = False
    bbmd_server_ip: Annotated[str, AfterValidator(_ipv4)] | None = None
    is_active: bool = True

    @model_validator(mode="after")
    def _bbmd_has_an_address(self) -> "_Reader":
        if self.bbmd_enabled and self.bbmd_server_ip is None:
            raise ValueError("bbmd_enabled needs bbmd_server_ip")
        return self

    def reader(self) -> Reader:
        return Reader(
            id=self.id,
            host=self.ip_address,
            port=self.port,
            prefix_length=self.subnet_mask,
            device_instance=self.bacnet_device_id,
            is_active=self.is_active,
            bbmd=self.bbmd_server_ip if self.bbmd_enabled else None,
        )


class _GetConfig(_Body):
    urlToUploadConfig: Annotated[str, Field(max_length=4096), AfterValidator(_upload_url)]
    jwtToken: Annotated[SecretStr, Field(min_length=1, max_length=16_384), AfterValidator(_bearer)]
    iotDeviceControllers: Annotated[list[_Controller], Field(max_length=10_000)]
    bacnetReaders: Annotated[list[_Reader], Field(max_length=100)] | None = None
    commandId: _Id | None = None


class _Monitoring(_Body):
    commandId: _Id


class _SetValue(_Body):
    commandId: _Id
    iotDevicePointId: _Id
    controllerId: _Id | None = None
    pointInstanceId: _Instance | None = None
    presentValue: StrictBool | StrictInt | StrictFloat | Annotated[StrictStr, Field(max_length=MAX_ID)] | None = None
    stateText: _Text | None = None
    commandType: object = None
    priority: Annotated[int, Field(strict=True, ge=1, le=16)] | None = None
    release: StrictBool = False
    expiresAt: Annotated[datetime, BeforeValidator(_moment)] | None = None
    leaseSeconds: Annotated[float, Field(strict=True, gt=0, le=_MAX_LEASE_SECONDS)] | None = None

    @model_validator(mode="after")
    def _says_what(self) -> "_SetValue":
        if "presentValue" not in self.model_fields_set and not self.release:
            raise ValueError("presentValue or release must be there; stateText alone says no value")
        return self

    def command(self) -> SetValue:
        value = None if self.release else self.presentValue
        return SetValue(
            command_id=self.commandId,
            iot_device_point_id=self.iotDevicePointId,
            controller_id=self.controllerId,
            instance=self.pointInstanceId,
            value=value,
            state_text=self.stateText,
            priority=self.priority,
            expires_at=self.expiresAt,
            lease_seconds=None if value is None else self.leaseSeconds,
        )


class _Resend(_Body):
    commandId: _Id
    boot: Annotated[int, Field(strict=True, ge=0, lt=2**63)]
    first_seq: _Number
    last_seq: _Number

    @model_validator(mode="after")
    def _in_order(self) -> "_Resend":
        if self.first_seq > self.last_seq:
            raise ValueError("first_seq must not be above last_seq")
        return self


def _get_config(body: dict[str, Any]) -> GetConfig:
    command = _GetConfig.model_validate(body)
    return GetConfig(
        command_id=command.commandId,
        upload_url=command.urlToUploadConfig,
        token=command.jwtToken,
        controllers=tuple(controller.device() for controller in command.iotDeviceControllers),
        classes={place: chosen for controller in command.iotDeviceControllers for place, chosen in controller.classes().items()},
        readers=None if command.bacnetReaders is None else tuple(reader.reader() for reader in command.bacnetReaders),
    )


def _start_monitoring(body: dict[str, Any]) -> StartMonitoring:
    return StartMonitoring(command_id=_Monitoring.model_validate(body).commandId)


def _stop_monitoring(body: dict[str, Any]) -> StopMonitoring:
    return StopMonitoring(command_id=_Monitoring.model_validate(body).commandId)


def _set_value(body: dict[str, Any]) -> SetValue:
    return _SetValue.model_validate(body).command()


def _reboot(body: dict[str, Any]) -> Reboot:
    return Reboot(command_id=_Monitoring.model_validate(body).commandId)


def _resend(body: dict[str, Any]) -> Resend:
    asked = _Resend.model_validate(body)
    return Resend(command_id=asked.commandId, boot=asked.boot, first_seq=asked.first_seq, last_seq=asked.last_seq)


DECODERS: Final[dict[CommandName, Callable[[dict[str, Any]], Command]]] = {
    CommandName.GET_CONFIG: _get_config,
    CommandName.START_MONITORING: _start_monitoring,
    CommandName.STOP_MONITORING: _stop_monitoring,
    CommandName.SET_VALUE_TO_POINT: _set_value,
    CommandName.REBOOT: _reboot,
    CommandName.RESEND: _resend,
}
