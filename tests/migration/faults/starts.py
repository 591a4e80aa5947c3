"""Where upgrades start: the field's databases and every revision on the way, in both journal modes."""

import importlib.util
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory

from tests.migration.faults.upgrading import ROOT, Upgrader

LEGACY = Path(__file__).parents[1] / "legacy"
NOTHING = "nothing"
"""No database at all."""

STAMPED = (NOTHING, "at_dc3c962443cb", "at_f0a65dd2e313", "moved_and_shared")
UNSTAMPED = ("pre_alembic", "create_all", "wedged_empty")
CAN_ADOPT = importlib.util.find_spec("bms_iot.schema.shapes") is not None
JOURNALS = ("delete", "wal")
DATABASE = "bms_bacnet.db"


@dataclass(frozen=True, kw_only=True)
class Start:
    """A database before an upgrade: a fixture, brought to `revision` first where one is named, and what it is upgraded to."""

    fixture: str
    journal: str
    revision: str | None = None
    target: str = "head"

    def __str__(self) -> str:
        step = f" {self.revision or ''}→{self.target}" if self.target != "head" else ""
        return f"{self.fixture} {self.journal}{step}"

    def make(self, directory: Path, upgrader: Upgrader) -> Path:
        """The database's path in this directory, which it makes."""
        directory.mkdir(parents=True)
        path = directory / DATABASE
        if self.fixture != NOTHING:
            with closing(sqlite3.connect(path)) as connection:
                connection.executescript((LEGACY / f"{self.fixture}.sql").read_text(encoding="utf-8"))
        if self.revision is not None:
            done = upgrader.run(path, "upgrade", self.revision)
            assert done.status == 0, done.output
            for snapshot in directory.glob("*.snapshot"):  # of what leads to the start, not of what starts there
                snapshot.unlink()
        if self.journal == "wal":
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
        return path


def to_head(fixtures: tuple[str, ...]) -> list[Start]:
    return [Start(fixture=fixture, journal=journal) for fixture in fixtures for journal in JOURNALS]


def single_steps(fixture: str, journal: str) -> list[Start]:
    """The same fixture's way to head, one revision at a time."""
    script = ScriptDirectory.from_config(Config(ROOT / "alembic.ini"))
    chain: list[str] = [revision.revision for revision in script.walk_revisions()][::-1]
    first = next((place + 1 for place, revision in enumerate(chain) if revision in fixture), 0)
    if fixture == "moved_and_shared":
        first = chain.index("f0a65dd2e313") + 1
    steps = zip([None, *chain], chain, strict=False)
    return [
        Start(fixture=fixture, journal=journal, revision=before if place > first else None, target=after)
        for place, (before, after) in enumerate(steps)
        if place >= first
    ]
