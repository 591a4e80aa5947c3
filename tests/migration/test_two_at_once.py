"""Two upgrades at once, and one while others use the database: one wins, the other waits or exits 12 with words."""

import json
import sqlite3
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from bms_iot.errors import DatabaseLocked
from tests.migration.faults import chaos, starts
from tests.migration.faults.content import Ends, State, digest, file_digest, state_of
from tests.migration.faults.killing import copy
from tests.migration.faults.starts import DATABASE, JOURNALS, NOTHING, Start
from tests.migration.faults.upgrading import ROOT, Outcome, Upgrader, environment, upgrader

FIXTURES = (NOTHING, "at_dc3c962443cb", "moved_and_shared", *(starts.UNSTAMPED if starts.CAN_ADOPT else ()))
ROUNDS = 10 if chaos.IS_FULL else 1


@pytest.fixture(scope="module")
def two() -> Iterator[tuple[Upgrader, Upgrader]]:
    with chaos.directory() as scratch, upgrader(scratch / "one") as one, upgrader(scratch / "two") as other:
        yield one, other


@pytest.fixture
def memory() -> Iterator[Path]:
    with chaos.directory() as path:
        yield path


def ends_of(pristine: Path, directory: Path, upgrades: Upgrader) -> Ends:
    whole = copy(pristine, directory) / DATABASE
    before, file = digest(whole), file_digest(whole)
    done = upgrades.run(whole)
    assert done.status == 0, done.output
    return Ends(before=before, file=file, after=digest(whole))


def assert_gave_up_with_words(outcome: Outcome) -> None:
    assert outcome.status == DatabaseLocked.exit_code, outcome.output
    assert "bms-iot:" in outcome.output
    assert "held by another" in outcome.output or "another migration" in outcome.output
    assert_no_accident(outcome)


def assert_no_accident(outcome: Outcome) -> None:
    assert "Traceback" not in outcome.output
    assert "duplicate column" not in outcome.output
    assert "already exists" not in outcome.output


@pytest.mark.parametrize("start", starts.to_head(FIXTURES), ids=str)
def test_of_two_upgrades_at_once_one_upgrades_and_the_other_waits(
    start: Start, two: tuple[Upgrader, Upgrader], memory: Path
) -> None:
    one, other = two
    random = chaos.seeded(start)
    pristine = start.make(memory / "pristine", one).parent
    ends = ends_of(pristine, memory / "whole", one)
    for _ in range(ROUNDS):
        path = copy(pristine, memory / "both") / DATABASE

        one.begin(path)
        time.sleep(random.uniform(0, 0.1))  # where the other finds the first is what is varied
        other.begin(path)
        outcomes = [one.finish(), other.finish()]

        assert [outcome.status for outcome in outcomes] == [0, 0], outcomes
        for outcome in outcomes:
            assert_no_accident(outcome)
        assert state_of(path, ends) is State.AFTER


def test_four_programs_at_once_make_one_database(memory: Path, two: tuple[Upgrader, Upgrader]) -> None:
    path = memory / "database" / DATABASE
    path.parent.mkdir()
    command = [sys.executable, "-m", "alembic", "upgrade", "head"]
    running = [
        subprocess.Popen(command, cwd=ROOT, env=environment(path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(4)
    ]

    outputs = [process.communicate(timeout=60)[0] for process in running]

    assert [process.returncode for process in running] == [0] * 4, outputs
    assert "Traceback" not in "".join(outputs)
    (memory / "empty").mkdir()
    assert digest(path) == ends_of(memory / "empty", memory / "whole", two[0]).after


@contextmanager
def held(path: Path, *statements: str) -> Iterator[sqlite3.Connection]:
    """Another connection that has run these."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement).fetchall()
        yield connection


@pytest.mark.parametrize("journal", JOURNALS)
def test_an_upgrade_gives_up_while_somebody_writes_and_does_not_let_go(
    journal: str, two: tuple[Upgrader, Upgrader], memory: Path
) -> None:
    start = Start(fixture="moved_and_shared", journal=journal)
    path = start.make(memory / "database", two[0])
    ends = ends_of(path.parent, memory / "whole", two[0])

    with held(path, "BEGIN IMMEDIATE"):
        outcome = two[0].run(path, longest_wait=0.5)

    assert_gave_up_with_words(outcome)
    assert state_of(path, ends) is State.BEFORE
    assert two[0].run(path).status == 0
    assert state_of(path, ends) is State.AFTER


@pytest.mark.parametrize("journal", JOURNALS)
def test_an_upgrade_waits_for_a_writer_that_lets_go(journal: str, two: tuple[Upgrader, Upgrader], memory: Path) -> None:
    path = Start(fixture="moved_and_shared", journal=journal).make(memory / "database", two[0])
    ends = ends_of(path.parent, memory / "whole", two[0])

    with held(path, "BEGIN IMMEDIATE") as writer:
        two[0].begin(path)
        time.sleep(0.7)  # longer than an upgrade takes
        assert state_in(path) is State.BEFORE
        writer.execute("ROLLBACK")
        outcome = two[0].finish()

    assert outcome.status == 0, outcome.output
    assert state_of(path, ends) is State.AFTER


def state_in(path: Path) -> State:
    """Without waiting for locks or taking one for longer than a statement."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        [revision] = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return State.BEFORE if revision == "f0a65dd2e313" else State.AFTER


def test_a_reader_that_does_not_end_stops_an_upgrade_without_a_wal(two: tuple[Upgrader, Upgrader], memory: Path) -> None:
    path = Start(fixture="moved_and_shared", journal="delete").make(memory / "database", two[0])
    ends = ends_of(path.parent, memory / "whole", two[0])

    with held(path, "BEGIN", "SELECT count(*) FROM controller_points"):
        outcome = two[0].run(path, longest_wait=0.5)

    assert_gave_up_with_words(outcome)
    assert state_of(path, ends) is State.BEFORE


def test_a_reader_of_a_wal_goes_on_with_what_it_read_while_the_upgrade_ends(two: tuple[Upgrader, Upgrader], memory: Path) -> None:
    path = Start(fixture="moved_and_shared", journal="wal").make(memory / "database", two[0])
    ends = ends_of(path.parent, memory / "whole", two[0])

    with held(path, "BEGIN") as reader:
        rows = reader.execute("SELECT count(*) FROM controller_points").fetchone()
        outcome = two[0].run(path, longest_wait=0.5)
        assert reader.execute("SELECT count(*) FROM controller_points").fetchone() == rows

    assert outcome.status == 0, outcome.output
    assert_no_accident(outcome)
    assert state_of(path, ends) is State.AFTER


OLD_GATEWAY = """
import sqlite3, sys, time

connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
moment = 0
while True:
    moment += 1
    try:
        connection.execute("BEGIN IMMEDIATE")
        made = connection.execute(
            "INSERT INTO controller_points (controller_ip_address, controller_port, bacnet_object_type, point_id, "
            "iot_device_point_id, controller_id, controller_device_id, present_value, is_uploaded, created_at, updated_at) "
            "VALUES ('10.9.9.9', 47808, 'ANALOG_INPUT', 1, 'own-id', 'own-controller', '99', ?, 0, ?, ?)",
            [str(moment), *[f"2025-09-01 00:00:00.{moment:06}"] * 2],
        ).lastrowid
        connection.execute("COMMIT")
    except sqlite3.IntegrityError:
        break  # one row per point: the upgrade is done
    connection.execute("SELECT count(*), max(present_value) FROM controller_points").fetchall()
    print(made, flush=True)
    time.sleep(0.005)
connection.execute("ROLLBACK")
print("end", flush=True)
"""


def waiting_rows(path: Path) -> list[int]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT id FROM controller_points WHERE NOT is_uploaded")]


def enqueued_rows(path: Path) -> list[int]:
    """The ids of the rows that the messages of the outbox are made of, decoded by other means than the product's."""
    with closing(sqlite3.connect(path)) as connection:
        payloads = [row[0] for row in connection.execute("SELECT payload FROM outbox ORDER BY boot, seq")]
    readings = [reading for payload in payloads for reading in json.loads(zlib.decompress(payload))["r"]]
    return [(reading[9] if len(reading) > 9 else {}).get("id", reading[0]) for reading in readings]


@pytest.mark.parametrize("journal", JOURNALS)
def test_nothing_an_old_gateway_stores_during_the_upgrade_is_lost(
    journal: str, two: tuple[Upgrader, Upgrader], memory: Path
) -> None:
    path = Start(fixture="at_f0a65dd2e313", journal=journal).make(memory / "database", two[0])
    waited = waiting_rows(path)

    command = [sys.executable, "-c", OLD_GATEWAY, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as gateway:
        assert gateway.stdout
        stored = [int(gateway.stdout.readline()) for _ in range(5)]
        outcome = two[0].run(path)
        output, errors = gateway.communicate(timeout=60)

    assert outcome.status == 0, outcome.output
    assert_no_accident(outcome)
    *more, end = output.split()
    assert end == "end", errors
    stored += [int(id_) for id_ in more]
    assert sorted(enqueued_rows(path)) == sorted(waited + stored)
