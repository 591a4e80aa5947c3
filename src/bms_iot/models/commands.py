"""`commands`: the journal of what the cloud asked for, written before the broker is told that it arrived."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Column, DateTime, UniqueConstraint
from sqlmodel import Field, SQLModel

from bms_iot.domain.commands import JournalState
from bms_iot.models.columns import by_name, now


class Commands(SQLModel, table=True):
    """One command by name and id: carried out at most once, answered once; what comes again gets the same outcome."""

    __tablename__ = "commands"
    __table_args__ = (UniqueConstraint("name", "command_id"),)

    id: int | None = Field(default=None, primary_key=True)
    name: str
    command_id: str
    source: str | None = None
    """Who asked: `mqtt`, or a way of the device's own."""
    received_at: datetime = Field(default_factory=now, sa_type=DateTime)
    expires_at: datetime | None = Field(default=None, sa_type=DateTime)
    boot: int | None = Field(default=None, sa_type=BigInteger)
    """The boot that received it."""
    request: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    """What was asked, without its secrets."""
    request_digest: str | None = None
    """SHA-256 of the request without its secrets, to see whether the same id asks for something else."""
    iot_device_point_id: str | None = None
    state: JournalState = Field(sa_type=by_name(JournalState, 12))
    started_at: datetime | None = Field(default=None, sa_type=DateTime)
    written_at: datetime | None = Field(default=None, sa_type=DateTime)
    """Committed before the BACnet write is sent: from here on it may have happened."""
    finished_at: datetime | None = Field(default=None, sa_type=DateTime)
    outcome: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    """The answer as it is published."""
    answered_at: datetime | None = Field(default=None, sa_type=DateTime)
    """When the broker acknowledged the answer."""
    attempts: int = 0
    """How often the answer was published."""
    duplicates: int = 0
    """How often the command came again."""
    updated_at: datetime = Field(default_factory=now, sa_type=DateTime)
