"""What the cloud may ask for, and what it is answered."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

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


Command = GetConfig | StartMonitoring | StopMonitoring


class CommandState(enum.Enum):
    """How a command ended."""

    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"
    EXPIRED = "expired"
    REJECTED = "rejected"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """The answer to a command. `details` stand beside the other keys of the answer, as JSON knows them."""

    success: bool
    message: str
    state: CommandState
    command_id: str | None = None
    details: Mapping[str, object] = field(default_factory=dict)


class JournalState(enum.Enum):
    """How far a command in the journal is. The last five are final and never change again."""

    RECEIVED = "received"
    STARTED = "started"
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"
    EXPIRED = "expired"
    REJECTED = "rejected"
