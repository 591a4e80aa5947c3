"""`leases`: overrides that release themselves."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Column, DateTime
from sqlmodel import Field, SQLModel

from bms_iot.models.columns import now


class Leases(SQLModel, table=True):
    """The newest lease of one priority of one point, by the cloud's key."""

    __tablename__ = "leases"

    iot_device_point_id: str = Field(primary_key=True)
    priority: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    command_id: str | None = None
    boot: int | None = Field(default=None, sa_type=BigInteger)
    """The boot whose monotonic clock counts it; what an earlier one left is released at start."""
    value: str | None = None
    """The present-value that was written."""
    lease_seconds: float
    granted_at: datetime = Field(default_factory=now, sa_type=DateTime)
    expires_at: datetime | None = Field(default=None, sa_type=DateTime)
    """By the wall clock, for people to read."""
    released_at: datetime | None = Field(default=None, sa_type=DateTime)
    """NULL while the point is overridden, as far as we know."""
    attempts: int = 0
    """How often a release was tried."""
    last_attempt_at: datetime | None = Field(default=None, sa_type=DateTime)
    last_error: str | None = None
    outcome: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    """What the release did, or who ended the lease before its time."""
    updated_at: datetime = Field(default_factory=now, sa_type=DateTime)
