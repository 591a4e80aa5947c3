"""What the fold must make of a field database, worked out from its rows by other means than the revision's."""

import json
import sqlite3
import uuid
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bms_iot.domain.points import ObjectType

Row = dict[str, Any]

TEXT_OBJECTS = {
    "error_info",
    "priority_array",
    "limit_enable",
    "event_enable",
    "acked_transitions",
    "event_time_stamps",
    "event_message_texts",
    "event_message_texts_config",
    "event_algorithm_inhibit_ref",
}
BOOLEANS = {"out_of_service", "event_detection_enable", "event_algorithm_inhibit", "reliability_evaluation_inhibit"}
ALWAYS_ON_THE_WIRE = {
    "id",
    "controller_ip_address",
    "controller_port",
    "bacnet_object_type",
    "point_id",
    "iot_device_point_id",
    "controller_id",
    "units",
    "present_value",
    "controller_device_id",
    "is_uploaded",
    "created_at",
    "updated_at",
    "status_flags",
    "event_state",
    "out_of_service",
    "reliability",
    "error_info",
}


@dataclass(frozen=True, kw_only=True)
class Expected:
    """The row of each point by id, and the readings in the order in which they must leave."""

    points: dict[int, Row]
    readings: list[Row]
    renamed: list[tuple[str, str]]


def rows_of(path: Path, table: str = "controller_points") -> list[Row]:
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(f"SELECT * FROM {table} ORDER BY id")]


def expect(rows: list[Row]) -> Expected:
    in_time = sorted(rows, key=lambda row: (row["created_at"], row["id"]))
    place, newest = {}, {}
    for row in in_time:  # the last one stays
        place[row["controller_id"], row["controller_device_id"]] = row["controller_ip_address"], row["controller_port"]
    for row in in_time:
        address = place[row["controller_id"], row["controller_device_id"]]
        newest[row["controller_device_id"], *address, row["bacnet_object_type"], row["point_id"]] = row
    points = {
        row["id"]: row | {"controller_ip_address": host, "controller_port": port, "is_uploaded": 1}
        for (_, host, port, _, _), row in newest.items()
    }
    return Expected(points=points, readings=[row for row in in_time if not row["is_uploaded"]], renamed=_rename(points))


def _rename(points: dict[int, Row]) -> list[tuple[str, str]]:
    types = [member.name for member in ObjectType]
    before = {row["iot_device_point_id"] for row in points.values()}
    seen: set[str] = set()
    renamed = []
    ranked = sorted(
        points.values(), key=lambda r: (types.index(r["bacnet_object_type"]), int(r["controller_device_id"]), r["point_id"])
    )
    for row in ranked:
        old = row["iot_device_point_id"]
        if old in seen:
            kind = ObjectType[row["bacnet_object_type"]].value
            name = f"{row['controller_id']}-{row['controller_device_id']}-{kind}-{row['point_id']}"
            row["iot_device_point_id"] = str(uuid.uuid5(uuid.NAMESPACE_URL, name))
            assert row["iot_device_point_id"] not in before
            renamed.append((old, row["iot_device_point_id"]))
        seen.add(old)
    return renamed


def on_the_wire(row: Row) -> Row:
    """A reading as `B/bulk` must show it, from the row it was."""
    shown = {name: value for name, value in row.items() if value is not None or name in ALWAYS_ON_THE_WIRE}
    shown["created_at_unix_milli_timestamp"] += int(row["created_at"][20:23])  # true milliseconds, the column has whole seconds
    for name, value in row.items():
        if value is None:
            continue
        if name in TEXT_OBJECTS:
            shown[name] = json.loads(value)
        elif name in BOOLEANS:
            shown[name] = bool(value)
        elif name in ("created_at", "updated_at"):
            own_update = name == "updated_at" and value != row["created_at"]  # carried as it was, to the microsecond
            shown[name] = f"{value[:10]}T{value[11:] if own_update else value[11:23]}Z"
    shown["bacnet_object_type"] = ObjectType[row["bacnet_object_type"]].value
    shown["status_flags"] = row["status_flags"].split(";") if row["status_flags"] else []
    shown["is_uploaded"] = False
    return shown
