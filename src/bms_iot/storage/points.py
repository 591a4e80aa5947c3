"""`controller_points`: one row per point, its current image."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import RowMapping, bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bms_iot.domain.configuration import ConfiguredDevice, ConfiguredObject
from bms_iot.domain.points import Device, DeviceAddress, ObjectIdentifier, Point, new_point_id
from bms_iot.domain.readings import JSON_PROPERTIES, OPTIONAL_PROPERTIES, OptionalValue, Reading
from bms_iot.models.controller_points import ControllerPoints

_table = ControllerPoints.__table__  # type: ignore[attr-defined]
_identity = ("controller_device_id", "controller_ip_address", "controller_port", "bacnet_object_type", "point_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPoint:
    """A point as its row has it."""

    point: Point
    optional: Mapping[str, OptionalValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRow:
    """What is to be written to a point's row: its latest reading and all its optional properties."""

    reading: Reading
    optional: Mapping[str, OptionalValue]


async def load_points(connection: AsyncConnection) -> list[StoredPoint]:
    """Every point, by row id."""
    columns = [_table.c[name] for name in ("id", "iot_device_point_id", "controller_id", "units", *_identity, *OPTIONAL_PROPERTIES)]
    rows = (await connection.execute(select(*columns).order_by(_table.c.id))).mappings()
    return [_stored(row) for row in rows]


async def register(connection: AsyncConnection, devices: Iterable[ConfiguredDevice], now: datetime) -> list[StoredPoint]:
    """Make sure that every configured object has its row, and return the rows of all of them.

    A known point is looked up, never recomputed: by its whole identity, else by controller, device instance and object, since then
    it moved. Its row follows with id, key and history, and takes the controller id of the configuration. A new point gets the key
    it is configured with, or the formula's.
    """
    known = {_key(stored.point): stored.point for stored in await load_points(connection)}
    by_object = {_object_key(point): point for point in known.values()}
    taken = {point.iot_device_point_id for point in known.values()}
    chosen: list[int] = []
    for configured in devices:
        for wanted in configured.objects:
            device, identifier = configured.device, wanted.object
            point = known.get((device.instance, device.address, identifier))
            if point is None:
                point = by_object.get((device.controller_id, device.instance, identifier))
            if point is not None:
                point = await _follow(connection, point, device)
            if point is None:
                point = await _insert(connection, device, wanted, taken, now)
            known[_key(point)] = by_object[_object_key(point)] = point
            taken.add(point.iot_device_point_id)
            chosen.append(point.id)
    wanted_ids = set(chosen)
    return [stored for stored in await load_points(connection) if stored.point.id in wanted_ids]


async def write_images(connection: AsyncConnection, rows: Sequence[ImageRow]) -> None:
    """Update the rows of these points, at least one."""
    values = [_image_values(row) for row in rows]
    columns: dict[str, Any] = {name: bindparam(f"v_{name}") for name in values[0] if name != "id"}
    statement = update(_table).where(_table.c.id == bindparam("v_id")).values(columns)
    await connection.execute(statement, [{f"v_{name}": value for name, value in row.items()} for row in values])


def _stored(row: RowMapping) -> StoredPoint:
    point = Point(
        id=row["id"],
        device=Device(
            address=DeviceAddress(host=row["controller_ip_address"], port=row["controller_port"]),
            instance=int(row["controller_device_id"]),
            controller_id=row["controller_id"],
        ),
        object=ObjectIdentifier(type=row["bacnet_object_type"], instance=row["point_id"]),
        iot_device_point_id=row["iot_device_point_id"],
        units=row["units"],
    )
    return StoredPoint(point=point, optional={n: _from_column(n, row[n]) for n in OPTIONAL_PROPERTIES if row[n] is not None})


def _from_column(name: str, value: Any) -> OptionalValue:
    if name not in JSON_PROPERTIES or not isinstance(value, str):
        return value  # type: ignore[no-any-return]
    try:
        return json.loads(value)  # type: ignore[no-any-return]
    except ValueError:
        return value  # older versions stored other text here; it is passed on as it is


def _key(point: Point) -> tuple[int, DeviceAddress, ObjectIdentifier]:
    return point.device.instance, point.device.address, point.object


def _object_key(point: Point) -> tuple[str, int, ObjectIdentifier]:
    return point.device.controller_id, point.device.instance, point.object


async def _follow(connection: AsyncConnection, point: Point, device: Device) -> Point:
    """Give a point's row the address and controller id its device has now."""
    before = point.device
    if (before.address, before.controller_id) == (device.address, device.controller_id):
        return point
    now = {
        "controller_ip_address": device.address.host,
        "controller_port": device.address.port,
        "controller_id": device.controller_id,
    }
    await connection.execute(update(_table).where(_table.c.id == point.id).values(now))
    return replace(point, device=replace(before, address=device.address, controller_id=device.controller_id))


async def _insert(connection: AsyncConnection, device: Device, wanted: ConfiguredObject, taken: set[str], now: datetime) -> Point:
    configured = wanted.iot_device_point_id
    if configured is None or configured in taken:
        configured = new_point_id(device.controller_id, device.instance, wanted.object, taken)
    units = wanted.properties.get("units")
    moment = now.astimezone(UTC).replace(tzinfo=None)
    row = {
        "controller_ip_address": device.address.host,
        "controller_port": device.address.port,
        "bacnet_object_type": wanted.object.type,
        "point_id": wanted.object.instance,
        "iot_device_point_id": configured,
        "controller_id": device.controller_id,
        "controller_device_id": str(device.instance),
        "units": units if isinstance(units, str) else None,
        "is_uploaded": False,
        "created_at": moment,
        "updated_at": moment,
    }
    row_id = (await connection.execute(insert(_table).values(row).returning(_table.c.id))).scalar_one()
    return Point(
        id=row_id,
        device=device,
        object=wanted.object,
        iot_device_point_id=configured,
        units=row["units"],  # type: ignore[arg-type]
    )


def _image_values(row: ImageRow) -> dict[str, object]:
    reading = row.reading
    moment = reading.acquired_at.replace(tzinfo=None)
    error = reading.error
    values: dict[str, object] = {
        "id": reading.point_id,
        "present_value": reading.present_value,
        "status_flags": ";".join(flag.value for flag in reading.status_flags) or None,
        "event_state": reading.event_state,
        "out_of_service": reading.out_of_service,
        "reliability": reading.reliability,
        "error_info": json.dumps({"error_class": error.error_class, "error_code": error.error_code}) if error else None,
        "created_at": moment,
        "updated_at": moment,
    }
    for name in OPTIONAL_PROPERTIES:
        value = row.optional.get(name)
        values[name] = json.dumps(value, ensure_ascii=False) if name in JSON_PROPERTIES and value is not None else value
    return values
