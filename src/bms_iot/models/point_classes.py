"""`point_classes`: how often a point is read, where somebody chose it on site."""

from datetime import datetime

from sqlalchemy import DateTime
from sqlmodel import Field, SQLModel

from bms_iot.domain.classes import PollingClass
from bms_iot.models.columns import by_name, now


class PointClasses(SQLModel, table=True):
    """The class of one point by the cloud's key, which a point keeps for ever; a point without a row has no choice of its own."""

    __tablename__ = "point_classes"

    iot_device_point_id: str = Field(primary_key=True)
    polling_class: PollingClass = Field(sa_type=by_name(PollingClass, 18))
    created_at: datetime = Field(default_factory=now, sa_type=DateTime)
    updated_at: datetime = Field(default_factory=now, sa_type=DateTime)
