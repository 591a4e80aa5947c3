"""A power cut at any write of an upgrade: it happened or did not, the next plain one ends it, and what said it was done stays done.

About 150 images for each journal mode in an ordinary run; every one that differs with BMS_CHAOS_LEVEL=nightly.
"""

import os
import shutil
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from tests.migration.faults import chaos, recording, starts
from tests.migration.faults.content import Ends, HalfState, State, digest, file_digest
from tests.migration.faults.cutting import Recorded, examine, files_of, images, record, some_images
from tests.migration.faults.disk import Disk, Kind, Loss, Operation
from tests.migration.faults.starts import DATABASE, Start
from tests.migration.faults.upgrading import Upgrader, upgrader

FIXTURES = starts.STAMPED + (starts.UNSTAMPED if starts.CAN_ADOPT else ())
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is missing")


@pytest.fixture(scope="module")
def upgrades() -> Iterator[Upgrader]:
    with chaos.directory() as scratch, upgrader(scratch) as running:
        yield running


@pytest.fixture
def memory() -> Iterator[Path]:
    with chaos.directory() as path:
        yield path


@needs_strace
@pytest.mark.system
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("start", starts.to_head(FIXTURES), ids=str)
def test_an_upgrade_cut_off_at_a_write_happened_or_did_not_and_the_next_one_ends_it(
    start: Start, upgrades: Upgrader, memory: Path
) -> None:
    random = chaos.seeded(start)
    recorded = record(start, upgrades, memory)
    chosen = images(recorded, random, rounds=6) if chaos.IS_FULL else some_images(recorded, random, 18)

    cuts = examine(chosen, recorded, start, upgrades, memory, converge_every=1 if chaos.IS_FULL else 5)

    assert cuts.images >= 24
    assert cuts.states[State.BEFORE]
    assert cuts.states[State.AFTER] >= cuts.final >= 1


JOURNAL_OF_AN_EMPTY_FILE = struct.pack(">8s5I484x", bytes.fromhex("d9d505f920a163d7"), 0, 1, 0, 512, 4096)


def test_a_first_upgrade_cut_off_before_the_header_reached_the_disk_is_made_again(upgrades: Upgrader, memory: Path) -> None:
    path = memory / DATABASE
    path.write_bytes(bytes(8192))
    path.with_name(f"{DATABASE}-journal").write_bytes(JOURNAL_OF_AN_EMPTY_FILE)

    done = upgrades.run(path)

    assert done.status == 0, done.output
    whole = upgrades.run(memory / "whole.db")
    assert (whole.status, digest(path)) == (0, digest(memory / "whole.db"))


WRITER = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute(f"PRAGMA synchronous={sys.argv[2]}")
connection.execute("BEGIN")
connection.execute("UPDATE t SET x = zeroblob(3000)")
connection.execute("CREATE INDEX i ON t (x)")
connection.execute("COMMIT")
os._exit(0)  # closing would make up for what the commit left out
"""


def recorded_writer(directory: Path, journal: str, synchronous: str) -> Recorded:
    """A program that writes with this setting, as its disk saw it."""
    path = directory / "recorded" / DATABASE
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"PRAGMA journal_mode={journal}")
        connection.execute("CREATE TABLE t (x)")
        connection.executemany("INSERT INTO t VALUES (?)", [(bytes(2000),) for _ in range(8)])
    before, files = (digest(path), file_digest(path)), files_of(path.parent)
    command = [*recording.command(directory / "calls"), sys.executable, "-c", WRITER, str(path), synchronous]
    subprocess.run(command, check=True, timeout=60)
    operations = recording.operations(directory / "calls", path.parent, files)
    return Recorded(files=files, operations=tuple(operations), ends=Ends(before=before[0], file=before[1], after=digest(path)))


@needs_strace
@pytest.mark.system
@pytest.mark.parametrize(
    ("journal", "synchronous", "fault"),
    [
        ("delete", "OFF", "."),  # anything, down to a file that is no database
        ("delete", "FULL", "reverted"),
        ("wal", "NORMAL", "reverted"),
    ],
)
def test_cutting_finds_what_a_careless_setting_loses(
    journal: str, synchronous: str, fault: str, upgrades: Upgrader, memory: Path
) -> None:
    recorded = recorded_writer(memory, journal, synchronous)
    start = Start(fixture=f"a writer with synchronous={synchronous}", journal=journal)

    with pytest.raises(HalfState, match=fault):
        examine(images(recorded, chaos.seeded(start)), recorded, start, upgrades, memory, converge_every=None)


def operation(kind: Kind, path: str = "a", **own: object) -> Operation:
    return Operation(kind=kind, path=path, **own)  # type: ignore[arg-type]


def disk_after(*operations: Operation) -> Disk:
    disk = Disk({"a": b"old"})
    for done in operations:
        disk.apply(done)
    return disk


def lost(*operations: Operation, loss: Loss = Loss.EVERYTHING) -> dict[str, bytes]:
    return disk_after(*operations).image(loss, Random(1))


WRITE = operation(Kind.WRITE, offset=0, data=b"new")
SYNC_NAMES = operation(Kind.SYNC_NAMES, ".")


def test_a_write_is_lost_until_its_file_is_synced() -> None:
    assert lost(WRITE) == {"a": b"old"}
    assert lost(WRITE, operation(Kind.SYNC)) == {"a": b"new"}
    assert lost(WRITE, loss=Loss.NOTHING) == {"a": b"new"}


def test_a_name_is_lost_until_its_directory_is_synced() -> None:
    rename = operation(Kind.RENAME, target="b")

    assert lost(rename) == {"a": b"old"}
    assert lost(rename, SYNC_NAMES) == {"b": b"old"}
    assert lost(operation(Kind.UNLINK)) == {"a": b"old"}
    assert lost(operation(Kind.UNLINK), SYNC_NAMES) == {}
    assert lost(operation(Kind.CREATE, "b"), operation(Kind.SYNC, "b")) == {"a": b"old"}


def test_a_new_file_whose_data_was_not_synced_is_empty() -> None:
    written = [operation(Kind.CREATE, "b"), operation(Kind.WRITE, "b", data=b"x"), SYNC_NAMES]

    assert lost(*written) == {"a": b"old", "b": b""}


def test_a_torn_write_keeps_whole_sectors() -> None:
    disk = disk_after(operation(Kind.WRITE, data=b"n" * 2048), operation(Kind.SYNC), operation(Kind.WRITE, data=b"m" * 2048))

    found = {disk.image(Loss.TORN, Random(seed))["a"] for seed in range(50)}

    assert all(
        set(image[start : start + 512]) <= {ord("n")} or set(image[start : start + 512]) <= {ord("m")}
        for image in found
        for start in range(0, 2048, 512)
    )
    assert len(found) > 5


PROGRAM = """
import os
here = os.getcwd()
f = os.open("a", os.O_RDWR)
os.write(f, b"new")
os.ftruncate(f, 2)
os.fsync(f)
os.rename(f"{here}/a", f"{here}/b")
g = os.open("c", os.O_RDWR | os.O_CREAT)
os.write(g, b"12")
os.write(g, b"34")
os.unlink(f"{here}/b")
os.fsync(os.open(".", os.O_RDONLY))
"""


@needs_strace
@pytest.mark.system
def test_a_recording_names_what_a_program_did(memory: Path) -> None:
    (memory / "files").mkdir()
    (memory / "files" / "a").write_bytes(b"old")
    command = [*recording.command(memory / "calls"), sys.executable, "-c", PROGRAM]
    subprocess.run(command, check=True, timeout=60, cwd=memory / "files", env={"PATH": os.environ["PATH"]})

    assert recording.operations(memory / "calls", memory / "files", ["a"]) == [
        operation(Kind.WRITE, data=b"new"),
        operation(Kind.TRUNCATE, offset=2),
        operation(Kind.SYNC),
        operation(Kind.RENAME, target="b"),
        operation(Kind.CREATE, "c"),
        operation(Kind.WRITE, "c", data=b"12"),
        operation(Kind.WRITE, "c", offset=2, data=b"34"),
        operation(Kind.UNLINK, "b"),
        SYNC_NAMES,
    ]
