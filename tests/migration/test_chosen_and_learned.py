import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bms_iot.database import inspection
from bms_iot.schema import commands
from tests.migration.building import insert
from tests.migration.conftest import upgrade, url

MOMENT = "2026-11-22 20:00:00.123456"
CHOSEN = {"iot_device_point_id": "ahu-1-supply", "polling_class": "FAST", "created_at": MOMENT, "updated_at": MOMENT}
LEARNED = {
    "device_instance": 4_194_302, "controller_ip_address": "12:0a", "controller_port": 47808, "max_apdu": 480,
    "segmentation": "none", "has_rpm": 1, "budget": 240, "proven_window": None, "has_cov": 0, "is_list_by_index": None,
    "absent_properties": json.dumps({"analogInput": {"65": [1, 2]}}), "learned_at": MOMENT, "updated_at": MOMENT,
}  # fmt: skip
UNKNOWN = LEARNED | {"device_instance": 7, "absent_properties": None, "has_rpm": None}


@pytest.fixture
def at_head(path: Path) -> Path:
    upgrade(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        insert(connection, "point_classes", CHOSEN)
        insert(connection, "device_profiles", LEARNED)
        insert(connection, "device_profiles", UNKNOWN)
    return path


def rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    with closing(sqlite3.connect(path)) as connection:
        return {
            table: connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()
            for table in ("point_classes", "device_profiles")
        }


def test_what_was_chosen_and_learned_comes_back_after_a_release_back_and_forth(at_head: Path) -> None:
    before = rows(at_head)

    commands.downgrade(url(at_head), "d94e60a7b318")
    upgrade(at_head)

    assert rows(at_head) == before
    assert [len(table) for table in before.values()] == [1, 2]


def test_what_was_taken_back_meanwhile_does_not_come_back(at_head: Path) -> None:
    commands.downgrade(url(at_head), "d94e60a7b318")
    upgrade(at_head)
    with closing(sqlite3.connect(at_head)) as connection, connection:
        connection.execute("DELETE FROM point_classes")

    commands.downgrade(url(at_head), "d94e60a7b318")
    upgrade(at_head)

    assert rows(at_head)["point_classes"] == []


def test_a_release_at_the_revision_before_may_still_start(at_head: Path) -> None:
    assert inspection.status(url(at_head)).floor == "d94e60a7b318"
