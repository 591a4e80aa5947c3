"""`outbox`: messages of `B/bulk` that wait for the broker's acknowledgement."""

from datetime import datetime

from sqlalchemy import BigInteger, DateTime
from sqlmodel import Field, SQLModel

from bms_iot.models.columns import now


class Outbox(SQLModel, table=True):
    """One message; docs/decisions/0001-compact-outbox.md has the layout of `payload`."""

    __tablename__ = "outbox"

    boot: int = Field(primary_key=True, sa_type=BigInteger)
    seq: int = Field(primary_key=True)
    created_at: datetime = Field(default_factory=now, sa_type=DateTime)
    """When it was committed."""
    first_at: datetime = Field(sa_type=DateTime)
    """The oldest reading's time."""
    last_at: datetime = Field(sa_type=DateTime)
    """The newest reading's time."""
    readings: int
    payload: bytes
