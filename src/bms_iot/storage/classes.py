"""`point_classes`: the polling classes that were chosen on site, by `iot_device_point_id`."""

from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy import String, delete, insert, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncConnection

from bms_iot.domain.classes import PollingClass
from bms_iot.models.point_classes import PointClasses

_table = PointClasses.__table__  # type: ignore[attr-defined]
_AT_ONCE = 500


async def load_classes(connection: AsyncConnection) -> dict[str, PollingClass]:
    """What was chosen; a class that this release does not know is passed over."""
    query = select(_table.c.iot_device_point_id, type_coerce(_table.c.polling_class, String))
    rows = (await connection.execute(query)).all()
    return {key: PollingClass[name] for key, name in rows if name in PollingClass.__members__}


async def save_classes(connection: AsyncConnection, keys: Iterable[str], chosen: PollingClass | None, now: datetime) -> None:
    """Choose a class for these points, or take the choice back with None."""
    wanted, moment = list(keys), now.astimezone(UTC).replace(tzinfo=None)
    for start in range(0, len(wanted), _AT_ONCE):
        some = wanted[start : start + _AT_ONCE]
        await connection.execute(delete(_table).where(_table.c.iot_device_point_id.in_(some)))
        if chosen is not None:
            rows = [
                {"iot_device_point_id": key, "polling_class": chosen, "created_at": moment, "updated_at": moment} for key in some
            ]
            await connection.execute(insert(_table), rows)
