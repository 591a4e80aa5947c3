"""What an upgrade writes, against the size of the file it rewrites: an SD card wears out by octets (guarantee G14)."""

import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.migration.faults import chaos, recording
from tests.migration.faults.starts import JOURNALS, Start
from tests.migration.faults.upgrading import ROOT, environment, upgrader

BUDGET = 2
"""Octets written for each octet of the file, the snapshot and SQLite's temporary files among them: half of what is promised."""
OCTETS = 4_000_000
_WRITTEN = re.compile(r"^\d+ +(?:<\.\.\. )?p?write(?:64)?(?:\(\d+<(?P<path>[^>]*)>| resumed>).* = (?P<octets>\d+)$")

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is missing"),
]


def grow(path: Path) -> None:
    """Repeat the rows of the field's file, none of them uploaded, until it is big enough for a ratio."""
    with closing(sqlite3.connect(path)) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(controller_points)") if row[1] != "id"]
        chosen = ", ".join("0" if name == "is_uploaded" else name for name in columns)
        copy = f"INSERT INTO controller_points ({', '.join(columns)}) SELECT {chosen} FROM controller_points"
        while path.stat().st_size < OCTETS:
            with connection:
                connection.execute(copy)


def octets_written(log: Path, directory: Path) -> int:
    inside = "".join(f"\\x{octet:02x}" for octet in bytes(directory.resolve()))
    found = (_WRITTEN.match(line) for line in log.read_text("ascii").splitlines())
    return sum(int(match["octets"]) for match in found if match and (match["path"] or "").startswith(inside))


@pytest.mark.parametrize("journal", JOURNALS)
def test_the_rows_of_the_field_reach_head_within_the_wear_budget(journal: str) -> None:
    with chaos.directory() as memory, upgrader(memory / "scratch") as upgrades:
        path = Start(fixture="at_f0a65dd2e313", journal=journal).make(memory / "field", upgrades)
        grow(path)
        size = path.stat().st_size
        log = memory / "calls"
        command = [*recording.command(log), sys.executable, "-m", "alembic", "upgrade", "head"]

        subprocess.run(command, cwd=ROOT, env=environment(path) | {"SQLITE_TMPDIR": str(path.parent)}, check=True, timeout=120)

        assert size <= octets_written(log, path.parent) <= BUDGET * size
