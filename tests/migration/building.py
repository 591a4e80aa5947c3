"""Databases as older versions left them, a row at a time."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.migration.conftest import upgrade

LAST_FIELD_REVISION = "f0a65dd2e313"


def field_database(path: Path, rows: list[dict[str, Any]], configurations: list[dict[str, Any]] | None = None) -> Path:
    """A database at the field's last revision with these rows, each completed by `reading`."""
    upgrade(path, LAST_FIELD_REVISION)
    with closing(sqlite3.connect(path)) as connection, connection:
        for row in rows:
            insert(connection, "controller_points", reading(**row))
        for configuration in configurations or []:
            insert(connection, "bacnet_config", configuration)
    return path


def insert(connection: sqlite3.Connection, table: str, row: dict[str, Any]) -> None:
    names = ", ".join(row)
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({', '.join(':' + name for name in row)})", row)


def reading(**own: Any) -> dict[str, Any]:
    """A row of `controller_points` not yet uploaded: analog input 1 of device 7, where `own` says nothing else."""
    row: dict[str, Any] = {
        "controller_ip_address": "10.0.0.7",
        "controller_port": 47808,
        "bacnet_object_type": "ANALOG_INPUT",
        "point_id": 1,
        "controller_id": "controller-a",
        "controller_device_id": "7",
        "present_value": "21.5",
        "is_uploaded": 0,
        "created_at": "2025-08-22 15:00:00.000000",
        "event_state": "normal",
        "out_of_service": 0,
        "reliability": "no-fault-detected",
    } | own
    row.setdefault("iot_device_point_id", f"{row['controller_id']}/{row['bacnet_object_type']}/{row['point_id']}")
    row.setdefault("updated_at", row["created_at"])
    return row


def configuration(devices: Any, created_at: str = "2025-08-01 00:00:00.000000") -> dict[str, Any]:
    text = devices if isinstance(devices, str) else json.dumps(devices)
    return {"bacnet_devices": text, "created_at": created_at, "updated_at": created_at}


def device(*objects: dict[str, Any], **own: Any) -> dict[str, Any]:
    """An entry of `bacnet_config`: device 7 of controller-a."""
    entry = {"vendor_id": 8, "device_id": 7, "controller_ip_address": "10.0.0.7", "controller_id": "controller-a"}
    return {**entry, "object_list": list(objects), **own}
