"""`iot_device_status`: how the gateway is."""

from datetime import datetime

from sqlalchemy import DateTime
from sqlmodel import Field, SQLModel

from bms_iot.domain.health import ConnectionStatus, MonitoringStatus
from bms_iot.models.columns import by_name, created_at_milliseconds, now


class IotDeviceStatus(SQLModel, table=True):
    """One row per device: its latest heartbeat."""

    __tablename__ = "iot_device_status"

    id: int | None = Field(default=None, primary_key=True)
    iot_device_id: str = Field(index=True, unique=True)
    organization_id: str
    site_id: str
    monitoring_status: MonitoringStatus | None = Field(default=None, sa_type=by_name(MonitoringStatus, 12))
    mqtt_connection_status: ConnectionStatus | None = Field(default=None, sa_type=by_name(ConnectionStatus, 12))
    bacnet_connection_status: ConnectionStatus | None = Field(default=None, sa_type=by_name(ConnectionStatus, 12))
    cpu_usage_percent: float | None = None
    memory_usage_percent: float | None = None
    disk_usage_percent: float | None = None
    temperature_celsius: float | None = None
    uptime_seconds: int | None = None
    load_average: float | None = None
    bacnet_devices_connected: int | None = None
    bacnet_points_monitored: int | None = None
    payload: str = "{}"
    """The heartbeat as JSON."""
    created_at: datetime = Field(default_factory=now, sa_type=DateTime)
    updated_at: datetime = Field(default_factory=now, sa_type=DateTime)
    received_at: datetime = Field(default_factory=now, sa_type=DateTime)
    created_at_unix_milli_timestamp: int | None = Field(default=None, sa_column=created_at_milliseconds())
