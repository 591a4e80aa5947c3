"""An upgrade killed at any statement happened or did not, and the next plain one reaches the end.

Some statements of each upgrade in an ordinary run; every statement, and every single step, with BMS_CHAOS_LEVEL=nightly.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.migration.faults import chaos, starts
from tests.migration.faults.content import Ends, HalfState, digest, file_digest, state_of
from tests.migration.faults.killing import a_few, copy, every_statement, kill_upgrades
from tests.migration.faults.starts import DATABASE, Start
from tests.migration.faults.upgrading import KILLED, Upgrader, upgrader

FIXTURES = starts.STAMPED + (starts.UNSTAMPED if starts.CAN_ADOPT else ())
STEPS = [step for start in starts.to_head(starts.STAMPED) for step in starts.single_steps(start.fixture, start.journal)]


@pytest.fixture(scope="module")
def upgrades() -> Iterator[Upgrader]:
    with chaos.directory() as scratch, upgrader(scratch) as running:
        yield running


@pytest.fixture
def memory() -> Iterator[Path]:
    with chaos.directory() as path:
        yield path


@pytest.mark.timeout(900)
@pytest.mark.parametrize("start", starts.to_head(FIXTURES), ids=str)
def test_an_upgrade_killed_at_a_statement_happened_or_did_not_and_the_next_one_ends_it(
    start: Start, upgrades: Upgrader, memory: Path
) -> None:
    random = chaos.seeded(start)

    killed = kill_upgrades(start, upgrades, memory, every_statement if chaos.IS_FULL else a_few(random, 3), random)

    assert killed.converged == killed.kills >= 3
    assert killed.before
    assert killed.after, "no kill came after the commit"


@pytest.mark.nightly
@pytest.mark.timeout(900)
@pytest.mark.parametrize("start", STEPS, ids=str)
def test_a_single_step_killed_at_any_statement_happened_or_did_not(start: Start, upgrades: Upgrader, memory: Path) -> None:
    killed = kill_upgrades(start, upgrades, memory, every_statement, chaos.seeded(start))

    assert killed.converged == killed.kills == killed.statements


def test_what_a_killed_upgrade_left_half_made_is_gone_after_the_next(upgrades: Upgrader, memory: Path) -> None:
    pristine = Start(fixture="moved_and_shared", journal="delete").make(memory / "pristine", upgrades).parent
    listed = upgrades.run(copy(pristine, memory / "whole") / DATABASE, listed=True).statements
    begun, checked = (max(n for n, text in enumerate(listed) if text.startswith(what)) for what in ("BEGIN", "PRAGMA quick"))

    path = copy(pristine, memory / "killed") / DATABASE
    for number in range(begun, checked + 1):  # while the snapshot is made
        assert upgrades.run(path, kill_at=number).status == KILLED
    assert upgrades.run(path).status == 0

    beside = {file.name for file in path.parent.iterdir() if file.suffix != ".snapshot"}
    assert beside == {DATABASE, f"{DATABASE}.migrate.lock"}


STOCK_ENV = """
from alembic import context
from sqlalchemy import create_engine
import os

engine = create_engine(os.environ["BMS_DATABASE_URL"].replace("+aiosqlite", ""))
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
STOCK_REVISION = """
import sqlalchemy as sa
from alembic import op

revision, down_revision = "aaaaaaaaaaaa", "f0a65dd2e313"

def upgrade():
    op.add_column("controller_points", sa.Column("first", sa.String()))
    op.add_column("controller_points", sa.Column("second", sa.String()))
"""


def test_killing_finds_the_half_state_that_the_stock_set_up_of_alembic_leaves(upgrades: Upgrader, memory: Path) -> None:
    versions = memory / "stock" / "versions"
    versions.mkdir(parents=True)
    (versions.parent / "env.py").write_text(STOCK_ENV)
    (versions / "one.py").write_text(STOCK_REVISION)
    (versions / "root.py").write_text("revision, down_revision = 'f0a65dd2e313', None\ndef upgrade(): pass\n")
    (memory / "alembic.ini").write_text(f"[alembic]\nscript_location = {versions.parent}\npath_separator = os\n")
    random = chaos.seeded("stock")

    with pytest.raises(HalfState):
        kill_upgrades(
            Start(fixture="moved_and_shared", journal="delete"),
            upgrades.with_ini(memory / "alembic.ini"),
            memory / "kills",
            every_statement,
            random,
        )


def test_a_file_with_other_bytes_is_not_taken_for_the_one_before(upgrades: Upgrader, memory: Path) -> None:
    path = Start(fixture="moved_and_shared", journal="delete").make(memory / "database", upgrades)
    ends = Ends(before=digest(path), file=file_digest(path), after="")

    with closing(sqlite3.connect(path)) as connection:
        connection.execute("VACUUM")

    with pytest.raises(HalfState, match="not the same bytes"):
        state_of(path, ends)
