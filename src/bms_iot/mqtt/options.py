"""What a connection to the broker is made of, and how it can fail to come about."""

from dataclasses import dataclass
from typing import Final

from pydantic import SecretStr

from bms_iot.errors import BrokerUnavailable
from bms_iot.mqtt.proxy import Proxy
from bms_iot.mqtt.tls import Tls

UNSUPPORTED_PROTOCOL_VERSION: Final = 0x84


@dataclass(frozen=True, slots=True, kw_only=True)
class Will:
    """The last will: retained, QoS 1. `delay_seconds` needs MQTT 5 and is ignored by 3.1.1."""

    topic: str
    payload: bytes
    delay_seconds: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Who we are to the broker, and to the proxy on the way to it."""

    username: str | None = None
    password: SecretStr | None = None
    proxy: Proxy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectOptions:
    """What every connection of one gateway has in common."""

    host: str
    port: int
    client_id: str
    credentials: Credentials
    tls: Tls | None
    websocket_path: str | None
    """MQTT over WebSocket at that path (MQTT 5 clause 6); None for MQTT over TCP."""
    will: Will | None
    keep_alive_seconds: int
    connect_timeout_seconds: float
    """For each address the host name has, and again for the broker's answer."""
    acknowledge_timeout_seconds: float
    """With messages under way and no PUBACK for that long the connection is given up."""
    session_expiry_seconds: int
    max_in_flight: int
    receive_maximum: int

    @property
    def place(self) -> str:
        """Where the broker is, in words."""
        proxy = self.credentials.proxy
        return f"{self.host} port {self.port}{f' through the proxy {proxy}' if proxy else ''}"


class ConnectFailed(BrokerUnavailable):
    """No connection came about. `reached` is whether somebody listened; `reason_code` is the CONNACK's, None without one."""

    def __init__(self, message: str, *, reached: bool = False, reason_code: int | None = None) -> None:
        super().__init__(message)
        self.reached = reached
        self.reason_code = reason_code

    @property
    def may_be_about_version(self) -> bool:
        """The broker named the version as its reason, hung up without one, or waits for more of what it does not understand."""
        return self.reached and self.reason_code in (None, UNSUPPORTED_PROTOCOL_VERSION)
