"""`device_profiles`: what was learned of each device, so that a start need not learn it again."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Column, DateTime
from sqlmodel import Field, SQLModel

from bms_iot.models.columns import now


class DeviceProfiles(SQLModel, table=True):
    """One device instance at one address. NULL is what is not known yet."""

    __tablename__ = "device_profiles"

    device_instance: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    controller_ip_address: str = Field(primary_key=True)
    """An IPv4 address, or `net:mac` behind a router."""
    controller_port: int = Field(primary_key=True)
    max_apdu: int
    """Octets."""
    segmentation: str
    """`both`, `transmit`, `receive` or `none`."""
    has_rpm: bool | None = None
    """Answers ReadPropertyMultiple."""
    budget: int
    """Octets of answer it is asked for at once."""
    proven_window: int | None = None
    """Segments it was seen to take before an acknowledgement."""
    has_cov: bool | None = None
    """Takes SubscribeCOV."""
    is_list_by_index: bool | None = None
    """Gives its object list only index by index."""
    absent_properties: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    """`{object type: {property number: [object instance, …]}}`."""
    learned_at: datetime = Field(default_factory=now, sa_type=DateTime)
    """When learning began anew; what is older than a day is asked again."""
    updated_at: datetime = Field(default_factory=now, sa_type=DateTime)
