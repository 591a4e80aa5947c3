"""What the cloud may ask for, how far a command is, and what it is answered."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

from pydantic import SecretStr

from bms_iot.domain.classes import PollingClass
from bms_iot.domain.configuration import Place, Reader
from bms_iot.domain.points import Device


class CommandName(enum.Enum):
    """The commands of the topic tree."""

    GET_CONFIG = "get_config"
    START_MONITORING = "start_monitoring"
    STOP_MONITORING = "stop_monitoring"
    SET_VALUE_TO_POINT = "set_value_to_point"
    REBOOT = "reboot"
    RESEND = "resend"


@dataclass(frozen=True, slots=True, kw_only=True)
class GetConfig:
    """Discover the controllers, store the configuration, and upload it to `upload_url` with the bearer `token`.

    `readers` is None when the command says nothing of them. The token is never logged or stored.
    """

    command_id: str | None
    upload_url: str
    token: SecretStr
    controllers: tuple[Device, ...]
    readers: tuple[Reader, ...] | None = None
    classes: Mapping[Place, PollingClass] = field(default_factory=dict)
    """The polling classes of objects, where the cloud chooses them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartMonitoring:
    """Read points from now on, also after a restart."""

    command_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StopMonitoring:
    """Read no points from now on, also after a restart."""

    command_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetValue:
    """Write `value` to a point, or relinquish it; `value` is None then.

    `controller_id` and `instance` must be those of the point where they are there. `state_text` is what a person was shown.
    """

    command_id: str
    iot_device_point_id: str
    value: bool | int | float | str | None
    controller_id: str | None = None
    instance: int | None = None
    state_text: str | None = None
    priority: int | None = None
    expires_at: datetime | None = None
    """Aware UTC; not carried out from then on."""
    lease_seconds: float | None = None
    """The override releases itself after so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reboot:
    """Answer, then end, so that the supervisor starts the gateway again."""

    command_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resend:
    """Publish messages `first_seq` to `last_seq` of `boot` again."""

    command_id: str
    boot: int
    first_seq: int
    last_seq: int


Command = GetConfig | StartMonitoring | StopMonitoring | SetValue | Reboot | Resend


class CommandState(enum.Enum):
    """What an answer says of a command."""

    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """It cannot be told whether it was carried out."""
    EXPIRED = "expired"
    REJECTED = "rejected"
    DUPLICATE = "duplicate"
    """It came again; the answer repeats the first one."""


class JournalState(enum.Enum):
    """How far a command in the journal is. The last five are final and never change again."""

    RECEIVED = "received"
    STARTED = "started"
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"
    EXPIRED = "expired"
    REJECTED = "rejected"

    @property
    def is_final(self) -> bool:
        return self not in (JournalState.RECEIVED, JournalState.STARTED)

    def may_become(self, state: "JournalState") -> bool:
        """Forwards only: received, started, and one of the final ones, which may come at once."""
        return not self.is_final and state is not JournalState.RECEIVED and state is not self

    @classmethod
    def before(cls, state: "JournalState") -> tuple["JournalState", ...]:
        """Those that may become `state`."""
        return tuple(known for known in cls if known.may_become(state))


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """The answer to a command. `details` stand beside the other keys of the answer, as JSON knows them."""

    success: bool
    message: str
    state: CommandState
    command_id: str | None = None
    details: Mapping[str, object] = field(default_factory=dict)

    @property
    def journal_state(self) -> JournalState:
        """Raises ValueError for a duplicate, which is no outcome of its own."""
        return JournalState(self.state.value)


def without_secrets(command: Command) -> dict[str, object]:
    """What the journal keeps of a command, as JSON knows it: no token, and of the upload's URL no more than the host."""
    match command:
        case GetConfig():
            return {
                "upload_host": urlsplit(command.upload_url).hostname,
                "controllers": [controller.controller_id for controller in command.controllers],
                "readers": None if command.readers is None else [reader.id for reader in command.readers],
            }
        case SetValue():
            asked = {
                "controllerId": command.controller_id,
                "pointInstanceId": command.instance,
                "stateText": command.state_text,
                "priority": command.priority,
                "leaseSeconds": command.lease_seconds,
                "expiresAt": None if command.expires_at is None else command.expires_at.isoformat(),
            }
            kept = {key: value for key, value in asked.items() if value is not None}
            return {"iotDevicePointId": command.iot_device_point_id, "presentValue": command.value, **kept}
        case Resend():
            return {"boot": command.boot, "first_seq": command.first_seq, "last_seq": command.last_seq}
        case StartMonitoring() | StopMonitoring() | Reboot():
            return {}
