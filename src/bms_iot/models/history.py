"""`history`: what points were, kept on the device."""

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel

from bms_iot.domain.readings import Quality
from bms_iot.models.columns import by_name


class History(SQLModel, table=True):
    """One value of one point. Clustered by time, so that it is written and pruned at its ends only."""

    __tablename__ = "history"
    __table_args__ = {"sqlite_with_rowid": False}

    acquired_at: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    """Microseconds since 1970."""
    point_id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    """`controller_points.id`."""
    present_value: str | None = None
    quality: Quality = Field(sa_type=by_name(Quality, 12))
