"""`boots`: the log of the gateway's starts."""

from datetime import datetime

from sqlalchemy import BigInteger, DateTime
from sqlmodel import Field, SQLModel

from bms_iot.models.columns import now


class Boots(SQLModel, table=True):
    """One start. The next boot is the highest and one, and never a number used before."""

    __tablename__ = "boots"

    boot: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    started_at: datetime = Field(default_factory=now, sa_type=DateTime)
    version: str
    """The release that started."""
