"""Upgrades killed before every statement, and cut off after every write: how many of what is left is neither before nor after.

The seed is printed in the table; BMS_CHAOS_SEED repeats it. A half state stops the run: there is no figure for it.
"""

import os
import platform
import sqlite3
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random

from tests.migration.faults import chaos, starts
from tests.migration.faults.content import State
from tests.migration.faults.cutting import Cuts, Image, Recorded, examine, images
from tests.migration.faults.cutting import record as observe
from tests.migration.faults.killing import Killed, every_statement, kill_upgrades
from tests.migration.faults.starts import JOURNALS, Start
from tests.migration.faults.upgrading import upgrader

from benchmarks.record import publish, table

IMAGES = int(os.environ.get("BMS_BENCH_IMAGES", "500"))
"""How many different images of each upgrade, besides all of those after its end."""
MOST_ROUNDS = 64
"""How often a cut is made anew with other losses at most, to find so many that differ."""
STEPPED = (starts.NOTHING, "at_dc3c962443cb")
"""The databases that go one revision at a time as well."""
FIXTURES = starts.STAMPED + (starts.UNSTAMPED if starts.CAN_ADOPT else ())


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of one start: its kills, and the images of its cuts unless it is a single step."""

    start: Start
    killed: Killed
    cuts: Cuts | None


def main(*, record: bool) -> None:
    whole = starts.to_head(FIXTURES)
    steps = [step for start in starts.to_head(STEPPED) for step in starts.single_steps(start.fixture, start.journal)]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        results = list(pool.map(_try, [*steps, *whole]))
    figures = {"seed": str(chaos.SEED), "SQLite": f"{sqlite3.sqlite_version}, {platform.system()}"}
    figures["databases upgraded to head"] = ", ".join(FIXTURES)
    for journal in JOURNALS:
        of_journal = [result for result in results if result.start.journal == journal]
        figures |= {f"{journal.upper()}: {name}": value for name, value in _summary(of_journal).items()}
    publish("migrations.md", "faults", table(figures), record=record)


def _try(start: Start) -> Result:
    with chaos.directory() as directory, upgrader(directory / "scratch") as running:
        killed = kill_upgrades(start, running, directory / "kills", every_statement, chaos.chance(start))
        sys.stderr.write(f"{start}: {killed.kills} kills\n")
        if start.target != "head":
            return Result(start=start, killed=killed, cuts=None)
        recorded = observe(start, running, directory / "cuts")
        cuts = examine(_chosen(recorded, chaos.chance(start)), recorded, start, running, directory / "cuts")
        sys.stderr.write(f"{start}: {cuts.images} images\n")
        return Result(start=start, killed=killed, cuts=cuts)


def _chosen(recorded: Recorded, random: Random) -> list[Image]:
    rounds, during, final = 1, list[Image](), list[Image]()
    while len(during) < IMAGES and rounds < MOST_ROUNDS:
        rounds *= 2
        every = list(images(recorded, random, rounds=rounds))
        during = [image for image in every if not image.is_final]
        final = [image for image in every if image.is_final]
    return random.sample(during, min(IMAGES, len(during))) + final


def _summary(results: Sequence[Result]) -> dict[str, str]:
    cuts = [result.cuts for result in results if result.cuts]
    found = {}
    for name, single in (("to head", False), ("single steps", True)):
        kills = [result.killed for result in results if (result.cuts is None) is single]
        sides = f"before {sum(kill.before for kill in kills):,}, after {sum(kill.after for kill in kills):,}, half 0"
        found[f"killed at a statement, {name}"] = f"{sum(kill.kills for kill in kills):,} times: {sides}"
        found[f"thereafter at the end by plain `alembic upgrade`, {name}"] = f"{sum(kill.converged for kill in kills):,}"
    fewest = min(cut.images for cut in cuts)
    sides = ", ".join(f"{state.value} {sum(cut.states[state] for cut in cuts):,}" for state in State)
    return found | {
        f"power cuts, different images, {fewest:,} or more of each database": (
            f"{sum(cut.images for cut in cuts):,}: {sides}, half 0, corrupt 0"
        ),
        "thereafter at head by plain `alembic upgrade head`": f"{sum(cut.converged for cut in cuts):,}",
        "images after exit code 0, all of them upgraded": f"{sum(cut.final for cut in cuts):,}",
    }
