"""How the gateway and its box are, at one time."""

from dataclasses import dataclass
from datetime import datetime

from bms_iot.domain.health import ConnectionStatus, MonitoringStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """What `B/status/heartbeat` says. The figures of the box are None where it does not tell; `timestamp` is aware UTC."""

    timestamp: datetime
    organization_id: str
    site_id: str
    iot_device_id: str
    boot: int
    version: str
    schema_revision: str
    monitoring_status: MonitoringStatus
    mqtt_connection_status: ConnectionStatus
    bacnet_connection_status: ConnectionStatus
    bacnet_devices_connected: int
    bacnet_points_monitored: int
    backlog: int
    """Readings that wait for the broker."""
    oldest_unsent_seconds: float | None
    poll_lag_seconds: float
    uptime_seconds: int
    clock_synced: bool | None
    overdue_leases: int = 0
    """Overrides that ought to be released by now and could not be."""
    delivery_fault: str | None = None
    """Why the broker refuses readings; None while it takes them."""
    given_up_readings: int = 0
    """Announced as gaps since the start."""
    sent_bytes_today: int = 0
    """Octets of MQTT packets since midnight UTC, without TLS and TCP."""
    received_bytes_today: int = 0
    cpu_usage_percent: float | None = None
    memory_usage_percent: float | None = None
    disk_usage_percent: float | None = None
    temperature_celsius: float | None = None
    load_average: float | None = None
    """Over one minute."""
