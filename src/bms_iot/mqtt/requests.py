"""Commands from the cloud: bytes to typed values. Whatever arrives, the outcome is a Command or a CommandRejected."""

import ipaddress
import json
import re
from collections.abc import Callable
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, model_validator

from bms_iot.domain.classes import PollingClass, class_of_cloud
from bms_iot.domain.commands import Command, CommandName, GetConfig, StartMonitoring, StopMonitoring
from bms_iot.domain.configuration import Place, Reader
from bms_iot.domain.points import DEFAULT_PORT, Device, DeviceAddress, ObjectIdentifier, ObjectType
from bms_iot.errors import CommandRejected

MAX_COMMAND_BYTES: Final = 262_144
_MAX_DEVICE_INSTANCE: Final = 4_194_302
_COMMAND_ID = re.compile(rb'"commandId"\s*:\s*"([\x20\x21\x23-\x5b\x5d-\x7e]{1,200})"')
_ID_WITHIN_BYTES: Final = 65_536
_COMPLAINTS: Final = 5
_SHOWN_NAME: Final = 64


def decode_command(name: str, payload: bytes, *, max_bytes: int = MAX_COMMAND_BYTES) -> Command:
    """The command of a request topic's name and payload. Raises CommandRejected, which says what is wrong."""
    try:
        decode = _DECODERS[CommandName(name)]
    except ValueError:
        raise _rejected(f"there is no command {name[:_SHOWN_NAME]!r}", payload) from None
    except KeyError:
        raise _rejected(f"{name} is not available in this release", payload) from None
    if len(payload) > max_bytes:
        raise _rejected(f"the command has {len(payload)} bytes, {max_bytes} are the most", payload)
    body = _json_object(payload)
    try:
        return decode(body)
    except ValidationError as error:
        raise _rejected(_complaints(error), payload, body) from None


def _json_object(payload: bytes) -> dict[str, Any]:
    try:
        body = json.loads(payload.decode("utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise _rejected("the command is not UTF-8", payload) from None
    except RecursionError:
        raise _rejected("the command is nested too deeply", payload) from None
    except ValueError as error:
        raise _rejected(f"the command is not JSON: {error}", payload) from None
    if not isinstance(body, dict):
        raise _rejected("the command is not a JSON object", payload)
    return body


def _no_constant(text: str) -> object:
    raise ValueError(f"{text} is not JSON")


def _rejected(reason: str, payload: bytes, body: dict[str, Any] | None = None) -> CommandRejected:
    """The refusal, with the command's id when it can still be read, so that it can be answered."""
    command_id = body.get("commandId") if body is not None else None
    if not isinstance(command_id, str) or not command_id:
        found = _COMMAND_ID.search(payload[:_ID_WITHIN_BYTES])
        command_id = found[1].decode() if found else None
    return CommandRejected(reason, command_id=command_id)


def _complaints(error: ValidationError) -> str:
    """What is wrong, by key; never the value, which may be the token."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    texts = [
        f"{'.'.join(map(str, p['loc'])) or 'command'}: {p['msg'].removeprefix('Value error, ')}" for p in problems[:_COMPLAINTS]
    ]
    return "; ".join(texts) + (f"; and {len(problems) - _COMPLAINTS} more" if len(problems) > _COMPLAINTS else "")


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


_Id = Annotated[str, Field(min_length=1, max_length=200)]
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


_DECODERS: Final[dict[CommandName, Callable[[dict[str, Any]], Command]]] = {
    CommandName.GET_CONFIG: _get_config,
    CommandName.START_MONITORING: _start_monitoring,
    CommandName.STOP_MONITORING: _stop_monitoring,
}
