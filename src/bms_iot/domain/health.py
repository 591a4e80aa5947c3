"""How the gateway is. The database stores the NAME, JSON and MQTT carry the value."""

import enum


class MonitoringStatus(enum.Enum):
    """Whether points are being read."""

    ACTIVE = "active"
    STOPPED = "stopped"
    PAUSED = "paused"
    ERROR = "error"
    INITIALIZING = "initializing"


class ConnectionStatus(enum.Enum):
    """The state of one of the two network edges."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    CONNECTING = "connecting"
    ERROR = "error"
