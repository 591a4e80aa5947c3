"""`deployment_config`: who this gateway is to the cloud."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, DateTime
from sqlmodel import Field, SQLModel

from bms_iot.models.columns import now


class DeploymentConfig(SQLModel, table=True):
    """Exactly one row, once the gateway is provisioned. The three ids are levels of the MQTT topics."""

    __tablename__ = "deployment_config"

    id: int | None = Field(default=None, primary_key=True)
    organization_id: str = Field(index=True)
    site_id: str = Field(index=True)
    device_id: str = Field(index=True)
    config_metadata: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    created_at: datetime = Field(default_factory=now, sa_type=DateTime)
    updated_at: datetime = Field(default_factory=now, sa_type=DateTime)
