import json
import sqlite3
from pathlib import Path

import pytest

from tests.migration.conftest import load_legacy, upgrade
from tests.migration.expectation import expect, on_the_wire, rows_of
from tests.migration.sending import published

FIELD = ["at_dc3c962443cb", "at_f0a65dd2e313", "moved_and_shared"]
DERIVED = ("value", "quality", "acquired_at")


@pytest.fixture(params=FIELD)
def before(request: pytest.FixtureRequest, path: Path) -> list[dict[str, object]]:
    """A field database's rows; `path` is at head afterwards."""
    load_legacy(path, request.param)
    rows = rows_of(path)
    upgrade(path)
    return rows


def test_each_point_keeps_its_newest_row_under_its_id(before: list[dict[str, object]], path: Path) -> None:
    expected = expect(before).points

    assert {row["id"]: row for row in rows_of(path)} == expected


async def test_each_reading_not_uploaded_is_published_with_every_column_it_had(before: list[dict[str, object]], path: Path) -> None:
    messages = await published(path)

    sent = [point for message in messages for point in message["points"]]
    expected = [on_the_wire(row) for row in expect(before).readings]
    assert len(sent) == len(expected)
    for point, row in zip(sent, expected, strict=True):
        assert {name: value for name, value in point.items() if name not in DERIVED} == row
        assert point["acquired_at"] == row["created_at"]


async def test_readings_wait_under_boot_0_from_seq_1_in_messages_of_50_readings_and_64_kib(
    before: list[dict[str, object]], path: Path
) -> None:
    messages = await published(path)

    assert [(message["boot"], message["seq"]) for message in messages] == [(0, seq) for seq in range(1, len(messages) + 1)]
    assert max(len(message["points"]) for message in messages) <= 50
    assert max(message["octets"] for message in messages) <= 64 * 1024


def test_the_outbox_counts_and_dates_its_messages(
    before: list[dict[str, object]], path: Path, database: sqlite3.Connection
) -> None:
    times = [str(row["created_at"]) for row in expect(before).readings]

    for row in database.execute("SELECT * FROM outbox ORDER BY seq"):
        mine, times = times[: row["readings"]], times[row["readings"] :]
        assert (row["first_at"], row["last_at"]) == (mine[0], mine[-1])
    assert not times


def test_the_ledger_counts_what_was_folded_away(before: list[dict[str, object]], path: Path, database: sqlite3.Connection) -> None:
    expected = expect(before)
    uploaded = [row for row in before if row["is_uploaded"]]
    kept_uploaded = [row for row in uploaded if row["id"] in expected.points]

    entries = [json.loads(row["detail"]) for row in database.execute("SELECT detail FROM schema_ledger WHERE kind = 'fold'")]

    assert [(entry["rows"], entry["points"], entry["readings"], entry["folded_away"]) for entry in entries] == [
        (len(before), len(expected.points), len(expected.readings), len(uploaded) - len(kept_uploaded))
    ]


def test_the_ledger_has_every_new_id(before: list[dict[str, object]], path: Path, database: sqlite3.Connection) -> None:
    entries = [json.loads(row["detail"]) for row in database.execute("SELECT detail FROM schema_ledger WHERE kind = 'rekey'")]
    points = [entry for entry in entries if entry["new"] in {row["iot_device_point_id"] for row in rows_of(path)}]

    assert sorted((entry["old"], entry["new"]) for entry in points) == sorted(expect(before).renamed)


def test_the_configuration_names_the_points_as_their_rows_do(before: list[dict[str, object]], path: Path) -> None:
    rows = {(r["controller_id"], r["controller_device_id"], r["bacnet_object_type"], r["point_id"]): r for r in rows_of(path)}
    names = {"analogInput": "ANALOG_INPUT", "analogValue": "ANALOG_VALUE", "binaryValue": "BINARY_VALUE"}

    for config in rows_of(path, "bacnet_config"):
        for device in json.loads(config["bacnet_devices"]):
            for item in device["object_list"]:
                row = rows[device["controller_id"], str(device["device_id"]), names[item["type"]], item["point_id"]]
                assert item["iot_device_point_id"] == row["iot_device_point_id"]
                assert device["controller_ip_address"] == row["controller_ip_address"]


def test_the_rest_of_a_configuration_stays(path: Path) -> None:
    load_legacy(path, "at_f0a65dd2e313")
    before = rows_of(path, "bacnet_config")

    upgrade(path)

    for old, new in zip(before, rows_of(path, "bacnet_config"), strict=True):
        assert _without_ids(new["bacnet_devices"]) == _without_ids(old["bacnet_devices"])
        assert (new["id"], new["created_at"], new["updated_at"]) == (old["id"], old["created_at"], old["updated_at"])


@pytest.mark.parametrize("table", ["deployment_config", "iot_device_status", "bacnet_readers"])
def test_the_other_tables_keep_their_rows(path: Path, table: str) -> None:
    load_legacy(path, "at_f0a65dd2e313")
    before = rows_of(path, table)

    upgrade(path)

    assert rows_of(path, table) == before
    assert before


def test_a_controller_that_moved_is_in_the_ledger(path: Path, database: sqlite3.Connection) -> None:
    load_legacy(path, "moved_and_shared")

    upgrade(path)

    [entry] = [json.loads(row[0]) for row in database.execute("SELECT detail FROM schema_ledger WHERE kind = 'move'")]
    assert (entry["controller_device_id"], entry["old"], entry["new"]) == ("1300", [["10.20.0.31", 47808]], ["10.20.0.30", 47808])


def _without_ids(devices: str) -> list[dict[str, object]]:
    value: list[dict[str, object]] = json.loads(devices)
    for device in value:
        device["object_list"] = [{k: v for k, v in o.items() if k != "iot_device_point_id"} for o in device["object_list"]]  # type: ignore[attr-defined]
    return value
