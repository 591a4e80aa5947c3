import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bms_iot.database import inspection
from bms_iot.errors import SchemaError
from bms_iot.schema import commands
from tests.migration.building import insert
from tests.migration.conftest import upgrade, url

BEFORE = "b7e4052c19da"
MOMENT = "2026-11-22 20:00:00.123456"
MESSAGE = {"boot": 7, "created_at": MOMENT, "first_at": MOMENT, "last_at": MOMENT, "readings": 1, "payload": b"\x00"}
ROWS: dict[str, dict[str, object]] = {
    "history": {"acquired_at": 1_795_334_400_123_456, "point_id": 1, "present_value": "21.7", "quality": "GOOD"},
    "gaps": {
        "boot": 7, "first_seq": 1, "last_seq": 9, "readings": 450, "first_at": MOMENT, "last_at": MOMENT, "created_at": MOMENT,
    },
    "commands": {
        "name": "reboot", "command_id": "c-1", "received_at": MOMENT, "state": "RECEIVED", "attempts": 0, "duplicates": 0,
        "updated_at": MOMENT,
    },
    "leases": {
        "iot_device_point_id": "ahu-1-supply", "priority": 8, "lease_seconds": 20.0, "granted_at": MOMENT, "attempts": 0,
        "updated_at": MOMENT,
    },
    "traffic": {
        "day": "2026-11-22", "sent_bytes": 1, "received_bytes": 1, "messages": 1, "readings": 1, "updated_at": MOMENT,
    },
}  # fmt: skip


@pytest.fixture
def at_head(path: Path) -> Path:
    upgrade(path)
    return path


@pytest.fixture
def database(at_head: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(at_head, isolation_level=None)) as connection:
        yield connection


def test_a_release_back_keeps_what_still_waits_and_nothing_that_was_delivered(at_head: Path, database: sqlite3.Connection) -> None:
    for seq in (1, 2, 3):
        insert(database, "outbox", MESSAGE | {"seq": seq})
    insert(database, "deliveries", {"boot": 7, "seq": 1, "delivered_at": MOMENT, "state": "DELIVERED"})
    insert(database, "deliveries", {"boot": 7, "seq": 2, "delivered_at": MOMENT, "state": "PARKED"})

    commands.downgrade(url(at_head), BEFORE)

    assert database.execute("SELECT seq FROM outbox ORDER BY seq").fetchall() == [(2,), (3,)]


@pytest.mark.parametrize("table", ROWS)
def test_a_downgrade_that_would_lose_what_was_recorded_is_refused(at_head: Path, database: sqlite3.Connection, table: str) -> None:
    insert(database, table, ROWS[table])

    with pytest.raises(SchemaError, match=f"1 rows of {table} would be lost"):
        commands.downgrade(url(at_head), BEFORE)

    assert database.execute(f"SELECT count(*) FROM {table}").fetchone() == (1,)


def test_a_command_is_in_the_journal_once(at_head: Path, database: sqlite3.Connection) -> None:
    insert(database, "commands", ROWS["commands"])

    with pytest.raises(sqlite3.IntegrityError, match=r"commands\.name, commands\.command_id"):
        insert(database, "commands", ROWS["commands"])


def test_history_and_deliveries_are_written_at_one_end_only(at_head: Path, database: sqlite3.Connection) -> None:
    indexes = "SELECT count(*) FROM sqlite_master WHERE type = 'index' AND tbl_name IN ('history', 'deliveries') AND rootpage > 0"

    assert database.execute(indexes).fetchone() == (0,), "an index beside the table is written a second time, all over"


def test_a_release_at_the_revision_before_may_still_start(at_head: Path) -> None:
    assert inspection.status(url(at_head)).floor == "d94e60a7b318"
