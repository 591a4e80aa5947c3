"""Kill an upgrade before each of its statements, look at what is left, and upgrade again."""

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.migration.faults.content import Ends, State, assert_upgraded, digest, file_digest, state_of
from tests.migration.faults.starts import DATABASE, Start
from tests.migration.faults.upgrading import KILLED, Upgrader

Choice = Callable[[Sequence[str]], Iterable[int]]


@dataclass(frozen=True, kw_only=True)
class Killed:
    """How often an upgrade was killed, on which side each left the file, and how many upgrades thereafter reached the end."""

    statements: int
    kills: int
    before: int
    after: int
    converged: int


def every_statement(statements: Sequence[str]) -> Iterable[int]:
    return range(len(statements))


def a_few(random: Random, count: int) -> Choice:
    """The first, the last two (the commit is one of them), and some between: each kind of statement has the same chance."""

    def choose(statements: Sequence[str]) -> Iterable[int]:
        kinds: dict[str, list[int]] = {}
        for number, statement in enumerate(statements):
            kinds.setdefault(" ".join(statement.split()[:3]), []).append(number)
        chosen = {random.choice(kinds[kind]) for kind in random.sample(sorted(kinds), min(count, len(kinds)))}
        return sorted(chosen | {0, len(statements) - 2, len(statements) - 1})

    return choose


def kill_upgrades(start: Start, upgrader: Upgrader, directory: Path, choose: Choice, random: Random) -> Killed:
    """Raises HalfState for a file that is neither before nor after, AssertionError for one that cannot be upgraded then.

    In every fourth case the upgrade thereafter is killed as well, anywhere.
    """
    pristine = start.make(directory / "pristine", upgrader).parent
    whole = copy(pristine, directory / "whole") / DATABASE
    before, file = digest(whole), file_digest(whole)
    listed = upgrader.run(whole, "upgrade", start.target, listed=True)
    assert listed.status == 0, listed.output
    ends = Ends(before=before, file=file, after=digest(whole))
    found, converged = [], 0
    for number in choose(listed.statements):
        where = f"{start}, killed before statement {number}: {listed.statements[number][:200]}"
        left = copy(pristine, directory / "left")
        assert upgrader.run(left / DATABASE, "upgrade", start.target, kill_at=number).status == KILLED, where
        found.append(state_of(copy(left, directory / "looked at") / DATABASE, ends))
        if number % 4 == 0 and found[-1] is State.BEFORE:
            again = upgrader.run(left / DATABASE, "upgrade", start.target, kill_at=random.randrange(len(listed.statements)))
            assert again.status == KILLED, where
            state_of(copy(left, directory / "looked at") / DATABASE, ends)
        done = upgrader.run(left / DATABASE, "upgrade", start.target)
        assert done.status == 0, f"{where}\n{done.output}"
        assert_upgraded(left / DATABASE, ends, where)
        converged += 1
    return Killed(
        statements=len(listed.statements),
        kills=len(found),
        before=found.count(State.BEFORE),
        after=found.count(State.AFTER),
        converged=converged,
    )


def copy(source: Path, target: Path) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    return Path(shutil.copytree(source, target))
