import json
import sqlite3
import uuid
from pathlib import Path
from typing import Any

import pytest

from bms_iot.schema import commands
from tests.migration.building import configuration, device, field_database
from tests.migration.conftest import upgrade
from tests.migration.expectation import on_the_wire, rows_of
from tests.migration.sending import published


def ledger(path: Path, kind: str) -> list[dict[str, Any]]:
    return [json.loads(row["detail"]) for row in rows_of(path, "schema_ledger") if row["kind"] == kind]


def ids_by_type(path: Path) -> dict[str, str]:
    return {row["bacnet_object_type"]: row["iot_device_point_id"] for row in rows_of(path)}


def formula(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


def test_one_instance_of_two_controllers_stays_two_points_and_is_reported(path: Path) -> None:
    field_database(path, [{"controller_id": "a"}, {"controller_id": "b", "controller_ip_address": "10.0.0.8"}])

    upgrade(path)

    assert [row["controller_id"] for row in rows_of(path)] == ["a", "b"]
    assert ledger(path, "conflict") == [
        {"controller_device_id": "7", "controllers": [["a", "10.0.0.7", 47808], ["b", "10.0.0.8", 47808]]}
    ]


async def test_a_controller_that_got_a_new_id_is_one_point_and_its_readings_keep_the_old_id(path: Path) -> None:
    field_database(path, [{"controller_id": "old"}, {"controller_id": "new", "created_at": "2025-08-22 15:00:01.000000"}])

    upgrade(path)

    assert [row["controller_id"] for row in rows_of(path)] == ["new"]
    [message] = await published(path)
    assert [(point["controller_id"], point["iot_device_point_id"]) for point in message["points"]] == [
        ("old", "old/ANALOG_INPUT/1"),
        ("new", "new/ANALOG_INPUT/1"),
    ]


def test_a_point_last_seen_before_its_controller_moved_moves_with_it(path: Path) -> None:
    rows = [
        {"point_id": 1, "created_at": "2025-08-22 15:00:00.000000"},
        {"point_id": 2, "created_at": "2025-08-22 15:00:01.000000", "controller_ip_address": "10.0.0.9", "controller_port": 47809},
    ]
    field_database(path, rows)

    upgrade(path)

    assert {(row["controller_ip_address"], row["controller_port"]) for row in rows_of(path)} == {("10.0.0.9", 47809)}


def test_a_shared_id_stays_with_the_first_object_type(path: Path) -> None:
    rows = [{"bacnet_object_type": kind, "iot_device_point_id": "shared"} for kind in ("BINARY_VALUE", "ANALOG_VALUE")]
    field_database(path, rows)

    upgrade(path)

    new = formula("controller-a-7-binaryValue-1")
    assert ids_by_type(path) == {"ANALOG_VALUE": "shared", "BINARY_VALUE": new}
    assert [(entry["old"], entry["new"]) for entry in ledger(path, "rekey")] == [("shared", new)]


def test_a_shared_id_stays_with_the_lowest_device_instance_counted_as_a_number(path: Path) -> None:
    field_database(path, [{"controller_device_id": instance, "iot_device_point_id": "shared"} for instance in ("10", "9")])

    upgrade(path)

    assert {row["controller_device_id"]: row["iot_device_point_id"] for row in rows_of(path)} == {
        "9": "shared",
        "10": formula("controller-a-10-analogInput-1"),
    }


def test_a_new_id_that_is_taken_gets_a_number(path: Path) -> None:
    name = "controller-a-7-binaryValue-1"
    rows = [
        {"bacnet_object_type": "ANALOG_INPUT", "iot_device_point_id": "shared"},
        {"bacnet_object_type": "BINARY_VALUE", "iot_device_point_id": "shared"},
        {"bacnet_object_type": "ANALOG_VALUE", "iot_device_point_id": formula(name)},
        {"bacnet_object_type": "ANALOG_OUTPUT", "iot_device_point_id": formula(f"{name}-2")},
    ]
    field_database(path, rows)

    upgrade(path)

    assert ids_by_type(path)["BINARY_VALUE"] == formula(f"{name}-3")


READINGS: list[dict[str, Any]] = [
    {"high_limit": 40.0, "low_limit": None, "priority_array": json.dumps([None] * 15 + [21.7])},
    {"high_limit": None, "low_limit": 2.5, "event_detection_enable": 1, "time_delay": 30, "notify_type": "alarm"},
    {"event_message_texts": json.dumps(["", "Température élevée – étage 3", ""]), "units": "degreesCelsius"},
    {"error_info": json.dumps({"error_class": "property", "error_code": "unknown-property"}), "present_value": None},
    {"error_info": json.dumps({"why": "no answer"})},
    {"status_flags": "in-alarm;overridden"},
    {"status_flags": "in-alarm;strange"},
    {"event_state": None, "out_of_service": None, "reliability": None},
    {"event_state": "high-limit", "out_of_service": 1, "reliability": "over-range"},
    {"updated_at": "2025-08-22 16:00:00.123456"},
    {"iot_device_point_id": "an older id"},
]


async def test_each_reading_keeps_what_differs_from_the_row_that_stays(path: Path) -> None:
    rows = [row | {"created_at": f"2025-08-22 15:00:{second:02}.654321"} for second, row in enumerate(READINGS)]
    rows.append({"created_at": "2025-08-22 16:00:00.000000", "high_limit": 50.0, "limit_enable": '{"lowLimitEnable": true}'})
    field_database(path, rows)
    before = rows_of(path)

    upgrade(path)

    [message] = await published(path)
    shown = [{k: v for k, v in point.items() if k not in ("value", "quality", "acquired_at")} for point in message["points"]]
    assert shown == [on_the_wire(row) for row in before]


async def test_text_that_should_be_json_and_is_not_is_passed_on(path: Path) -> None:
    field_database(path, [{"limit_enable": "(true, false)"}, {"created_at": "2025-08-22 16:00:00.000000"}])

    upgrade(path)

    [message] = await published(path)
    assert [point.get("limit_enable") for point in message["points"]] == ["(true, false)", None]


@pytest.mark.parametrize(
    ("own", "quality"),
    [
        ({}, "good"),
        ({"status_flags": "in-alarm"}, "good"),
        ({"present_value": None}, "bad"),
        ({"error_info": '{"error_class": "property", "error_code": "unknown-property"}'}, "bad"),
        ({"present_value": "nan"}, "uncertain"),
        ({"present_value": "-inf"}, "uncertain"),
    ],
)
async def test_the_quality_of_an_old_reading_follows_from_its_value_and_error(
    path: Path, own: dict[str, Any], quality: str
) -> None:
    field_database(path, [own])

    upgrade(path)

    [message] = await published(path)
    assert [point["quality"] for point in message["points"]] == [quality]


async def test_long_readings_make_short_messages(path: Path) -> None:
    text = json.dumps(["x" * 3000, "", ""])
    rows = [{"event_message_texts": text, "created_at": f"2025-08-22 15:00:{second:02}.000000"} for second in range(60)]
    field_database(path, rows)

    upgrade(path)

    messages = await published(path)
    assert sum(len(message["points"]) for message in messages) == len(rows)
    assert max(message["octets"] for message in messages) <= 64 * 1024
    assert min(message["octets"] for message in messages[:-1]) > 32 * 1024


async def test_readings_of_one_moment_leave_in_the_order_of_their_rows(path: Path) -> None:
    field_database(path, [{"present_value": str(value)} for value in range(120)])

    upgrade(path)

    sent = [point["present_value"] for message in await published(path) for point in message["points"]]
    assert sent == [str(value) for value in range(120)]


async def test_a_time_that_is_none_takes_the_one_before_it(path: Path) -> None:
    field_database(path, [{"created_at": "2025-08-22 15:00:00.000000"}, {"created_at": "2025-13-45 soon"}])

    upgrade(path)

    [message] = await published(path)
    assert [point["acquired_at"] for point in message["points"]] == ["2025-08-22T15:00:00.000Z"] * 2


def configured(path: Path) -> list[Any]:
    return [json.loads(row["bacnet_devices"]) for row in rows_of(path, "bacnet_config")]


def item(kind: str, instance: int, key: str | None) -> dict[str, Any]:
    return {"type": kind, "point_id": instance, "iot_device_point_id": key, "properties": {"objectName": "Zulufttemperatur °"}}


def test_a_configured_object_without_a_row_keeps_its_id(path: Path) -> None:
    field_database(path, [{}], [configuration([device(item("analogInput", 1, "stale"), item("analogInput", 2, "own"))])])

    upgrade(path)

    assert configured(path) == [[device(item("analogInput", 1, "controller-a/ANALOG_INPUT/1"), item("analogInput", 2, "own"))]]


def test_a_configured_object_without_a_row_gives_up_the_id_of_another_point(path: Path) -> None:
    key = "controller-a/ANALOG_INPUT/1"
    field_database(path, [{}], [configuration([device(item("loop", 1, key), item("binaryValue", 1, key))])])

    upgrade(path)

    expected = {kind: formula(f"controller-a-7-{kind}-1") for kind in ("binaryValue", "loop")}
    assert configured(path) == [[device(item("loop", 1, expected["loop"]), item("binaryValue", 1, expected["binaryValue"]))]]
    assert [entry["new"] for entry in ledger(path, "rekey")] == [expected["binaryValue"], expected["loop"]]


def test_a_configured_object_gets_the_same_new_id_in_every_configuration(path: Path) -> None:
    key = "controller-a/ANALOG_INPUT/1"
    devices = [device(item("binaryValue", 1, key))]
    field_database(path, [{}], [configuration(devices), configuration(devices, "2025-08-02 00:00:00.000000")])

    upgrade(path)

    new = formula("controller-a-7-binaryValue-1")
    assert configured(path) == [[device(item("binaryValue", 1, new))]] * 2
    assert len(ledger(path, "rekey")) == 1


@pytest.mark.parametrize(
    "text", ["[{", "", "null", "{}", "[]", '[1, null, {"object_list": 3}]', '[{"controller_id": 1, "device_id": 2}]']
)
def test_a_configuration_that_cannot_be_understood_stays_as_it_is(path: Path, text: str) -> None:
    field_database(path, [{}], [configuration(text)])

    upgrade(path)

    assert [row["bacnet_devices"] for row in rows_of(path, "bacnet_config")] == [text]


@pytest.mark.parametrize(
    ("configured_at", "address"), [("2025-08-22 14:59:59.000000", "10.0.0.7"), ("2025-08-22 15:00:01.000000", "10.0.0.1")]
)
def test_a_configured_address_follows_the_rows_where_they_are_newer(path: Path, configured_at: str, address: str) -> None:
    field_database(path, [{}], [configuration([device(controller_ip_address="10.0.0.1")], configured_at)])

    upgrade(path)

    assert configured(path) == [[device(controller_ip_address=address)]]


def test_a_port_that_is_not_the_usual_one_reaches_the_configuration(path: Path) -> None:
    field_database(path, [{"controller_port": 47810}], [configuration([device()])])

    upgrade(path)

    assert configured(path) == [[device(controller_port=47810)]]


def test_an_empty_database_folds_to_nothing(path: Path) -> None:
    upgrade(path)

    assert rows_of(path) == []
    assert ledger(path, "fold") == []


def test_a_downgrade_gives_the_readings_back_as_the_rows_they_were(path: Path, database: sqlite3.Connection) -> None:
    rows = [row | {"created_at": f"2025-08-22 15:00:{second:02}.654321"} for second, row in enumerate(READINGS)]
    field_database(path, [*rows, {"created_at": "2025-08-22 14:00:00.000000", "is_uploaded": 1, "point_id": 2}])
    before = rows_of(path)

    upgrade(path)
    commands.downgrade(f"sqlite:///{path}", "8c25e7b0f9d1")

    assert rows_of(path) == before
    assert database.execute("SELECT count(*) FROM outbox").fetchone()[0] == 0


def test_a_reading_newer_than_the_fold_comes_back_as_a_row_of_its_own(path: Path, database: sqlite3.Connection) -> None:
    field_database(path, [{}])
    upgrade(path)
    with database:
        database.execute("UPDATE controller_points SET present_value = '30', created_at = '2025-08-22 17:00:00.000000'")

    commands.downgrade(f"sqlite:///{path}", "8c25e7b0f9d1")

    assert [(row["id"], row["present_value"], row["is_uploaded"]) for row in rows_of(path)] == [(1, "30", 1), (2, "21.5", 0)]


def test_a_second_fold_never_uses_a_seq_again(path: Path, database: sqlite3.Connection) -> None:
    field_database(path, [{}])
    upgrade(path)
    commands.downgrade(f"sqlite:///{path}", "8c25e7b0f9d1")

    upgrade(path)

    assert [tuple(row) for row in database.execute("SELECT boot, seq, readings FROM outbox")] == [(0, 2, 1)]


def test_boots_survive_a_downgrade(path: Path, database: sqlite3.Connection) -> None:
    upgrade(path)
    with database:
        database.execute("INSERT INTO boots VALUES (41, '2026-11-22 08:00:00.000000', '0.1.0')")
    before = rows_of_boots(database)
    commands.downgrade(f"sqlite:///{path}", "f0a65dd2e313")

    upgrade(path)

    assert rows_of_boots(database) == before


def rows_of_boots(database: sqlite3.Connection) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in database.execute("SELECT * FROM boots")]
