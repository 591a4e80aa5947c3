"""`traffic`: what went over the wire, by day."""

from datetime import date, datetime

from sqlalchemy import BigInteger, Date, DateTime
from sqlmodel import Field, SQLModel

from bms_iot.models.columns import now


class Traffic(SQLModel, table=True):
    """One day, UTC. Octets of MQTT packets, without TLS and TCP."""

    __tablename__ = "traffic"

    day: date = Field(primary_key=True, sa_type=Date)
    sent_bytes: int = Field(sa_type=BigInteger)
    received_bytes: int = Field(sa_type=BigInteger)
    messages: int = Field(sa_type=BigInteger)
    """Messages of `B/bulk` that were acknowledged."""
    readings: int = Field(sa_type=BigInteger)
    updated_at: datetime = Field(default_factory=now, sa_type=DateTime)
