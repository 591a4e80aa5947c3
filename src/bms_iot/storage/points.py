"""`controller_points`: one row per point, its current image."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog
from sqlalchemy import RowMapping, String, bindparam, insert, select, type_coerce, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bms_iot.domain.configuration import ConfiguredDevice, ConfiguredObject
from bms_iot.domain.points import Device, DeviceAddress, ObjectIdentifier, ObjectType, Point, new_point_id
from bms_iot.domain.readings import JSON_PROPERTIES, OPTIONAL_PROPERTIES, OptionalValue, Reading
from bms_iot.models.controller_points import ControllerPoints

log = structlog.get_logger()

_table = ControllerPoints.__table__  # type: ignore[attr-defined]
_ADDRESS = ("controller_device_id", "controller_ip_address", "controller_port", "point_id")


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
    """Every point that can be one, by row id; a row with an unknown object type or no device instance is passed over and logged."""
    columns = [_table.c[name] for name in ("id", "iot_device_point_id", "controller_id", "units", *_ADDRESS, *OPTIONAL_PROPERTIES)]
    object_type = type_coerce(_table.c.bacnet_object_type, String).label("object_type")
    points = []
    for row in (await connection.execute(select(object_type, *columns).order_by(_table.c.id))).mappings():
        try:
            points.append(_stored(row))
        except (ValueError, LookupError, TypeError) as error:
            log.error("point_unusable", row=row["id"], reason=f"{type(error).__name__}: {error}")
    return points


LATEST = ("present_value", "status_flags", "event_state", "out_of_service", "reliability", "error_info", "updated_at")


async def load_latest(connection: AsyncConnection) -> dict[int, dict[str, object]]:
    """The value columns of every row, by row id, as they were written last."""
    columns = [_table.c[name] for name in LATEST]
    rows = (await connection.execute(select(_table.c.id, *columns))).mappings()
    return {row["id"]: {name: row[name] for name in LATEST} for row in rows}


async def register(connection: AsyncConnection, devices: Iterable[ConfiguredDevice], now: datetime) -> list[StoredPoint]:
    """Make sure that every configured object has its row, and return the rows of all of them.

    A known point is looked up, never recomputed: by controller, device instance and object; else by address, device instance and
    object, where that row is no other configured controller's. Its row follows to the configured address and controller id, and
    keeps id, key and history. A new point gets the key it is configured with, or the formula's. `devices` are `distinct`.
    """
    known = [stored.point for stored in await load_points(connection)]
    chosen, missing = _match(known, devices)
    await _follow(connection, known, chosen)
    taken = {point.iot_device_point_id for point in known}
    ids = {point.id for point, _ in chosen}
    for device, wanted in missing:
        point = await _insert(connection, device, wanted, taken, now)
        taken.add(point.iot_device_point_id)
        ids.add(point.id)
    return [stored for stored in await load_points(connection) if stored.point.id in ids]


def _match(
    known: Iterable[Point], devices: Iterable[ConfiguredDevice]
) -> tuple[list[tuple[Point, Device]], list[tuple[Device, ConfiguredObject]]]:
    """The known points with the device each belongs to now, and the objects that have no row yet."""
    devices = list(devices)
    configured = {(c.device.controller_id, c.device.instance) for c in devices}
    by_controller = {(point.device.controller_id, point.device.instance, point.object): point for point in known}
    by_address = {
        (point.device.address, point.device.instance, point.object): point
        for point in by_controller.values()
        if (point.device.controller_id, point.device.instance) not in configured
    }
    chosen, missing = [], []
    for device, wanted in ((c.device, wanted) for c in devices for wanted in {o.object: o for o in c.objects}.values()):
        point = by_controller.get((device.controller_id, device.instance, wanted.object))
        point = point or by_address.get((device.address, device.instance, wanted.object))
        if point is None:
            missing.append((device, wanted))
        else:
            chosen.append((point, device))
    return chosen, missing


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
        object=ObjectIdentifier(type=ObjectType[row["object_type"]], instance=row["point_id"]),
        iot_device_point_id=row["iot_device_point_id"],
        units=row["units"],
    )
    return StoredPoint(point=point, optional={n: _from_column(n, row[n]) for n in OPTIONAL_PROPERTIES if row[n] is not None})


def _from_column(name: str, value: Any) -> OptionalValue:
    if name not in JSON_PROPERTIES or not isinstance(value, str):
        return value  # type: ignore[no-any-return]
    try:
        return json.loads(value)  # type: ignore[no-any-return]
    except (ValueError, RecursionError):
        return value  # older versions stored other text here; it is passed on as it is


async def _follow(connection: AsyncConnection, known: Iterable[Point], chosen: Iterable[tuple[Point, Device]]) -> None:
    """Give rows the address and controller id their device has now.

    Devices may have swapped addresses, so that all of them leave before the first arrives. Whoever is not configured any more and
    stands in the way takes the address the newcomer left.
    """
    moves = {
        point.id: (point, device)
        for point, device in chosen
        if (point.device.address, point.device.controller_id) != (device.address, device.controller_id)
    }
    standing = {(p.device.instance, p.device.address, p.object): p.id for p in known if p.id not in moves}
    places: dict[int, tuple[DeviceAddress, str | None]] = {}
    for point, device in moves.values():
        places[point.id] = device.address, device.controller_id
        if (other := standing.get((device.instance, device.address, point.object))) is not None:
            places[other] = point.device.address, None
    for row_id in places:
        await connection.execute(update(_table).where(_table.c.id == row_id).values(controller_ip_address=f"moving-{row_id}"))
    for row_id, (address, controller_id) in places.items():
        values = {"controller_ip_address": address.host, "controller_port": address.port}
        if controller_id is not None:
            values["controller_id"] = controller_id
        await connection.execute(update(_table).where(_table.c.id == row_id).values(values))


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
