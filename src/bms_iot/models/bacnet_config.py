"""`bacnet_config`: what discovery found and the gateway reads."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, DateTime
from sqlmodel import Field, SQLModel

from bms_iot.models.columns import now


class BacnetConfig(SQLModel, table=True):
    """A configuration; the newest that is not empty wins.

    `bacnet_devices` is a list of `{vendor_id, device_id, controller_ip_address, controller_id, object_list}`, each object
    `{type, point_id, iot_device_point_id, properties}`; older versions wrote fewer and other keys.
    """

    __tablename__ = "bacnet_config"

    id: int | None = Field(default=None, primary_key=True)
    bacnet_devices: list[dict[str, Any]] | None = Field(default=None, sa_type=JSON)
    created_at: datetime = Field(default_factory=now, sa_type=DateTime)
    updated_at: datetime = Field(default_factory=now, sa_type=DateTime)
