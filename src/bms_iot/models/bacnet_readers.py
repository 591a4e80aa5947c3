"""`bacnet_readers`: our own BACnet interfaces, the addresses we read from."""

from datetime import datetime

from sqlalchemy import DateTime
from sqlmodel import Field, SQLModel

from bms_iot.domain.points import DEFAULT_PORT
from bms_iot.models.columns import now


class BacnetReaders(SQLModel, table=True):
    """One interface; `id` is the cloud's uuid, `subnet_mask` a prefix length."""

    __tablename__ = "bacnet_readers"

    id: str = Field(primary_key=True)
    iot_device_id: str = Field(index=True)
    ip_address: str
    subnet_mask: int = 24
    bacnet_device_id: int
    port: int = DEFAULT_PORT
    bbmd_enabled: bool = False
    bbmd_server_ip: str | None = None
    is_active: bool = True
    connection_status: str | None = "disconnected"
    last_connected_at: datetime | None = Field(default=None, sa_type=DateTime)
    created_at: datetime = Field(default_factory=now, sa_type=DateTime)
    updated_at: datetime = Field(default_factory=now, sa_type=DateTime)
