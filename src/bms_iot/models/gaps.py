"""`gaps`: what was given up before it could be delivered."""

from datetime import datetime

from sqlalchemy import BigInteger, DateTime
from sqlmodel import Field, SQLModel

from bms_iot.models.columns import now


class Gaps(SQLModel, table=True):
    """Messages `first_seq` to `last_seq` of a boot, none of which was delivered. Announced on `B/bulk` in their place."""

    __tablename__ = "gaps"

    boot: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    first_seq: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    last_seq: int
    readings: int
    first_at: datetime = Field(sa_type=DateTime)
    """The oldest reading's time."""
    last_at: datetime = Field(sa_type=DateTime)
    """The newest reading's time."""
    reason: str | None = None
    created_at: datetime = Field(default_factory=now, sa_type=DateTime)
    announced_at: datetime | None = Field(default=None, sa_type=DateTime)
    """When the broker had acknowledged the announcement."""
