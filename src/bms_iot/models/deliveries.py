"""`deliveries`: which messages of the outbox need no delivery any more. Apart, since changing a row writes its payload again."""

from datetime import datetime

from sqlalchemy import BigInteger, DateTime
from sqlmodel import Field, SQLModel

from bms_iot.domain.delivery import DeliveryState
from bms_iot.models.columns import by_name, now


class Deliveries(SQLModel, table=True):
    """One message of the outbox that the broker has, or that was set aside."""

    __tablename__ = "deliveries"
    __table_args__ = {"sqlite_with_rowid": False}

    boot: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    seq: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    delivered_at: datetime = Field(default_factory=now, sa_type=DateTime)
    """When it was acknowledged or set aside."""
    state: DeliveryState = Field(default=DeliveryState.DELIVERED, sa_type=by_name(DeliveryState, 12))
