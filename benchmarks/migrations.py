"""An upgrade of a field file of many rows, none of them uploaded: time, memory, disk, and whether every reading is still there.

BMS_BENCH_ROWS says how many rows, 100,000 where it says nothing. It works below the directory for temporary files.
"""

import hashlib
import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count, islice
from pathlib import Path
from random import Random
from typing import Any

from tests.migration.faults.starts import JOURNALS
from tests.migration.faults.upgrading import ROOT, environment, upgrader

from benchmarks.record import publish, table
from bms_iot.database import gate

ROWS = int(os.environ.get("BMS_BENCH_ROWS", "100000"))
SEED = 3
FIELD = "f0a65dd2e313"
FIXTURE = ROOT / "tests" / "migration" / "legacy" / f"at_{FIELD}.sql"
COPIES_OF_THE_FIXTURE = 6
INTERVAL = timedelta(seconds=10)
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  the tables hold naive UTC
MEGA = 1e6
SAMPLE_SECONDS = 0.02


def main(*, record: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="bms-bench-") as name:
        publish("migrations.md", "migrations", table(_measure(Path(name))), record=record)


def _measure(directory: Path) -> dict[str, str]:
    field = directory / "field.db"
    make_field_file(field, ROWS)
    size, of_rows = field.stat().st_size, digest_of(waiting(field))
    empty = directory / "empty" / "bms_bacnet.db"
    make_field_file(empty, 0)
    base = run_alembic(empty, "upgrade", "head")
    plain = plain_copy_seconds(field, directory / "copied.db")
    figures = {"rows, none uploaded": f"{of_rows[0]:,} in {size / MEGA:.0f} MB"}
    figures["one plain copy of the table"] = f"{plain:.2f} s"
    figures["an upgrade without rows, from the start of Python"] = f"{base.seconds:.2f} s, {base.memory / MEGA:.0f} MB of memory"
    for journal in JOURNALS:
        path = copied(field, directory / journal / "bms_bacnet.db", journal)
        predicted = predicted_bytes(path)
        run = run_alembic(path, "upgrade", "head")
        of_readings = digest_of(enqueued(path))
        same = "the same" if of_readings == of_rows else "NOT THE SAME"
        disk = f"{run.disk / MEGA:.0f} MB, {run.disk / size:.2f} of the file"
        found = {
            "readings in the outbox": f"{of_readings[0]:,}, {same} by digest of (id, time, value)",
            "time": f"{run.seconds:.1f} s, {ROWS / run.seconds:,.0f} rows/s, {run.seconds / plain:.1f} plain copies",
            "written": f"{run.written / MEGA:.0f} MB, {run.written / size:.2f} of the file",
            "disk beyond the file, highest": f"{disk}; predicted {megabytes(predicted)}",
            "memory beyond an upgrade without rows, highest": f"{(run.memory - base.memory) / MEGA:.1f} MB",
            "file after": f"{path.stat().st_size / MEGA:.0f} MB",
            "gate at start": f"{gate_milliseconds(path):.2f} ms",
        }
        figures |= {f"{journal.upper()}: {name}": value for name, value in found.items()}
        shutil.rmtree(path.parent)
    return figures | schema_only(field, directory / "schema only")


def copied(field: Path, path: Path, journal: str) -> Path:
    """A copy that is on the disk already: what is still to be written of it would hide what the upgrade writes."""
    path.parent.mkdir(exist_ok=True)
    shutil.copy(field, path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode={journal}")
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    return path


def megabytes(octets: int | None) -> str:
    return "nothing" if octets is None else f"{octets / MEGA:.0f} MB"


def make_field_file(path: Path, rows: int) -> None:
    """The fixture's points, six times with other instances, read every 10 s; each reading as one of the fixture's rows."""
    path.parent.mkdir(exist_ok=True)
    run_alembic(path, "upgrade", FIELD)
    with closing(sqlite3.connect(path)) as connection, connection:
        if rows:
            names, made = field_rows(Random(SEED))
            marks = ", ".join("?" * len(names))
            connection.executemany(f"INSERT INTO controller_points ({', '.join(names)}) VALUES ({marks})", islice(made, rows))


def field_rows(random: Random) -> tuple[list[str], Iterator[list[Any]]]:
    with closing(sqlite3.connect(":memory:")) as fixture:
        fixture.executescript(FIXTURE.read_text("utf-8"))
        names = [row[1] for row in fixture.execute("PRAGMA table_info(controller_points)") if row[1] != "id"]
        templates = fixture.execute(f"SELECT {', '.join(names)} FROM controller_points ORDER BY id").fetchall()
    place = {name: names.index(name) for name in names}
    ids: dict[tuple[Any, ...], str] = {}

    def row(template: tuple[Any, ...], copy: int, moment: datetime) -> list[Any]:
        made = list(template)
        made[place["point_id"]] += 100 * copy
        key = copy, *(template[place[name]] for name in ("controller_id", "bacnet_object_type", "point_id"))
        made[place["iot_device_point_id"]] = ids.setdefault(key, str(uuid.UUID(int=random.getrandbits(128))))
        made[place["is_uploaded"]] = 0
        if template[place["present_value"]] is not None and template[place["bacnet_object_type"]].startswith("ANALOG"):
            made[place["present_value"]] = f"{random.uniform(15, 30):.3f}"
        made[place["created_at"]] = made[place["updated_at"]] = (
            f"{moment + timedelta(seconds=random.random()):%Y-%m-%d %H:%M:%S.%f}"
        )
        return made

    def polls() -> Iterator[list[Any]]:
        points = len(
            {tuple(template[place[name]] for name in ("controller_id", "bacnet_object_type", "point_id")) for template in templates}
        )
        start = datetime(2025, 8, 22, 15)  # noqa: DTZ001  naive UTC
        for poll in count():
            first = poll * points % len(templates)
            for copy in range(COPIES_OF_THE_FIXTURE):
                for template in templates[first : first + points]:
                    yield row(template, copy, start + poll * INTERVAL)

    return names, polls()


def waiting(path: Path) -> Iterator[str]:
    """A line for each row that is not uploaded, in the order in which they must leave."""
    query = "SELECT id, created_at, present_value FROM controller_points WHERE NOT is_uploaded ORDER BY created_at, id"
    with closing(sqlite3.connect(path)) as connection:
        for row in connection.execute(query):
            yield f"{row[0]} {row[1]} {row[2]}"


def enqueued(path: Path) -> Iterator[str]:
    """The same of the readings in the outbox, decoded as docs/decisions/0001-compact-outbox.md has it."""
    with closing(sqlite3.connect(path)) as connection:
        for (payload,) in connection.execute("SELECT payload FROM outbox ORDER BY boot, seq"):
            body = json.loads(zlib.decompress(payload))
            for point, offset, value, *rest in body["r"]:
                moment = EPOCH + timedelta(microseconds=body["t"] + offset)
                own = rest[6].get("id", point) if len(rest) > 6 else point
                yield f"{own} {moment:%Y-%m-%d %H:%M:%S.%f} {value}"


def digest_of(lines: Iterable[str]) -> tuple[int, str]:
    found, number = hashlib.sha256(), 0
    for number, line in enumerate(lines, 1):  # noqa: B007
        found.update(f"{line}\n".encode())
    return number, found.hexdigest()


def plain_copy_seconds(field: Path, path: Path) -> float:
    """What it costs to write the table's rows once more, durably: the yardstick."""
    with closing(sqlite3.connect(copied(field, path, "delete"), isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous=EXTRA")
        [sql] = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'controller_points'").fetchone()
        names = ", ".join(row[1] for row in connection.execute("PRAGMA table_info(controller_points)"))
        started = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(sql.replace("controller_points", "plain_copy"))
        connection.execute(f"INSERT INTO plain_copy ({names}) SELECT {names} FROM controller_points")
        connection.execute("COMMIT")
        seconds = time.perf_counter() - started
    path.unlink()
    return seconds


def predicted_bytes(path: Path) -> int | None:
    """What `bms-iot db plan` says the upgrade needs in all directories; None where it cannot say."""
    command = [sys.executable, "-m", "bms_iot", "db", "plan", "--json"]
    done = subprocess.run(command, cwd=ROOT, env=environment(path), capture_output=True, text=True, timeout=600, check=False)
    if done.returncode != 0:
        return None
    octets: dict[str, int] = json.loads(done.stdout)["needs_octets"]
    return sum(octets.values())


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Octets, but for `seconds`: passed to write, on disk beyond what was there, resident."""

    seconds: float
    written: int
    disk: int
    memory: int


def run_alembic(path: Path, *arguments: str) -> Measured:
    """`alembic` in a process of its own; its temporary files are counted among those on the disk."""
    variables = environment(path) | {"SQLITE_TMPDIR": str(path.parent)}
    before = used(path.parent)
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "alembic", *arguments], cwd=ROOT, env=variables, stderr=subprocess.PIPE
    ) as process:
        watch = Watch(process.pid, path.parent)
        watch.start()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        seconds = time.perf_counter() - started
        written = counter(process.pid)
        watch.join()
        _, errors = process.communicate()
    if process.returncode:
        raise SystemExit(f"alembic {' '.join(arguments)} ended with {process.returncode}:\n{errors.decode()}")
    return Measured(seconds=seconds, written=written, disk=watch.disk - before, memory=watch.memory)


class Watch(threading.Thread):
    """Samples a process until it ends."""

    def __init__(self, pid: int, directory: Path) -> None:
        super().__init__()
        self._pid, self._directory = pid, directory
        self.disk = self.memory = 0

    def run(self) -> None:
        status = Path(f"/proc/{self._pid}/status")
        while resident := [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]:
            self.memory = max(self.memory, int(resident[0].split()[1]) * 1024)
            self.disk = max(self.disk, used(self._directory) + unlinked(self._pid))
            time.sleep(SAMPLE_SECONDS)


def counter(pid: int) -> int:
    lines = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(lines["write_bytes"])


def used(directory: Path) -> int:
    """Octets that the files of a directory occupy; one that vanishes meanwhile counts as gone."""
    total = 0
    with os.scandir(directory) as entries:
        for entry in entries:
            try:
                total += used(Path(entry.path)) if entry.is_dir() else entry.stat().st_blocks * 512
            except FileNotFoundError:
                continue
    return total


def unlinked(pid: int) -> int:
    """The same for files that a process has open and that have no name any more: SQLite's temporary ones."""
    total = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            status = link.stat()
        except OSError:
            continue
        if status.st_nlink == 0:
            total += status.st_blocks * 512
    return total


def schema_only(field: Path, directory: Path) -> dict[str, str]:
    """The revisions that move no row of the big table, beside the same SQL in the sqlite3 shell; medians of five."""
    target = "8c25e7b0f9d1"
    if (shell := shutil.which("sqlite3")) is None:
        return {}
    path = directory / "bms_bacnet.db"
    by_hand, statements, checks = [], [], []
    with upgrader(directory / "scratch") as running:
        for _ in range(5):
            printed = running.run(copied(field, path, "delete"), "upgrade", f"{FIELD}:{target}", "--sql")
            assert printed.status == 0, printed.output
            script = printed.output[printed.output.index("-- Stop") :].split("\nINFO")[0]
            started = time.perf_counter()
            subprocess.run([shell, "-bail", str(path)], input=f"PRAGMA synchronous=EXTRA;\n{script}", text=True, check=True)
            by_hand.append(time.perf_counter() - started)
            done = running.run(copied(field, path, "delete"), "upgrade", target, listed=True)
            assert done.status == 0, done.output
            statements.append(done.seconds(is_change=True))
            checks.append(done.seconds(is_change=False))
    hand, changes = statistics.median(by_hand), statistics.median(statements)
    return {
        "schema-only revisions, their SQL": f"{changes * 1e3:.0f} ms, {changes / hand:.2f} of the same in the sqlite3 shell",
        "what is checked before and after them": f"{statistics.median(checks) * 1e3:.0f} ms",
    }


def gate_milliseconds(path: Path) -> float:
    taken = []
    for _ in range(200):
        started = time.perf_counter()
        gate.check(path)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken) * 1e3
