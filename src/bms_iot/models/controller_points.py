"""`controller_points`: one row per point, its current image."""

from datetime import datetime

from sqlalchemy import DateTime, Index
from sqlmodel import Field, SQLModel

from bms_iot.domain.points import DEFAULT_PORT, ObjectType
from bms_iot.models.columns import by_name, created_at_milliseconds, now


class ControllerPoints(SQLModel, table=True):
    """A point: its identity, the cloud's key, and the latest values of its properties. JSON columns hold JSON as text."""

    __tablename__ = "controller_points"
    __table_args__ = (
        Index(
            "uq_controller_points_identity",
            "controller_device_id",
            "controller_ip_address",
            "controller_port",
            "bacnet_object_type",
            "point_id",
            unique=True,
        ),
    )

    id: int | None = Field(default=None, primary_key=True)
    controller_ip_address: str
    """An IPv4 address, or `net:mac` behind a router."""
    controller_port: int = DEFAULT_PORT
    bacnet_object_type: ObjectType = Field(sa_type=by_name(ObjectType, 18))
    point_id: int
    """The object's instance."""
    iot_device_point_id: str = Field(index=True, unique=True)
    """The cloud's key of the point."""
    controller_id: str
    """The cloud's id of the controller."""
    units: str | None = None
    present_value: str | None = None
    controller_device_id: str
    """The BACnet device instance, as text."""
    is_uploaded: bool = False
    created_at: datetime = Field(default_factory=now, sa_type=DateTime)
    updated_at: datetime = Field(default_factory=now, sa_type=DateTime)
    status_flags: str | None = None
    """Those set, of `in-alarm;fault;overridden;out-of-service`; None when none is."""
    event_state: str | None = None
    out_of_service: bool | None = None
    reliability: str | None = None
    error_info: str | None = None
    """JSON `{error_class, error_code}`."""
    created_at_unix_milli_timestamp: int | None = Field(default=None, sa_column=created_at_milliseconds())

    min_pres_value: float | None = None
    max_pres_value: float | None = None
    high_limit: float | None = None
    low_limit: float | None = None
    resolution: float | None = None
    priority_array: str | None = None
    """JSON, 16 slots."""
    relinquish_default: float | None = None
    cov_increment: float | None = None
    time_delay: int | None = None
    time_delay_normal: int | None = None
    notification_class: int | None = None
    notify_type: str | None = None
    deadband: float | None = None
    limit_enable: str | None = None
    """JSON `{lowLimitEnable, highLimitEnable}`."""
    event_enable: str | None = None
    """JSON `{toOffnormal, toFault, toNormal}`, BACnet's order of bits, as for the next four."""
    acked_transitions: str | None = None
    event_time_stamps: str | None = None
    event_message_texts: str | None = None
    event_message_texts_config: str | None = None
    event_detection_enable: bool | None = None
    event_algorithm_inhibit_ref: str | None = None
    """JSON `{objectIdentifier, propertyIdentifier, arrayIndex}`."""
    event_algorithm_inhibit: bool | None = None
    reliability_evaluation_inhibit: bool | None = None
