"""Plain `alembic` on a database file, whole or killed before its N-th SQL statement."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
KILLED = -9
_QUESTIONS = ("SELECT", "PRAGMA")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """`status` is the exit code, or the signal's number below zero; `statements` is empty unless they were asked for."""

    status: int
    output: str
    statements: tuple[str, ...] = ()
    times: tuple[float, ...] = ()
    """When each statement began, in seconds."""

    def seconds(self, *, is_change: bool) -> float:
        """How long the statements took that change something, or those that only ask; the last one is not known."""
        spans = zip(self.statements, self.times, self.times[1:], strict=False)
        return sum(end - begun for text, begun, end in spans if text.lstrip().upper().startswith(_QUESTIONS) is not is_change)


class Upgrader:
    """Runs one `alembic` at a time in a forked process."""

    def __init__(self, process: "subprocess.Popen[str]", scratch: Path, ini: Path) -> None:
        self._process, self._scratch, self._ini = process, scratch, ini

    def with_ini(self, ini: Path) -> "Upgrader":
        """The same processes with another `alembic.ini` than this project's."""
        return Upgrader(self._process, self._scratch, ini)

    def run(
        self, database: Path, *arguments: str, kill_at: int | None = None, listed: bool = False, longest_wait: float | None = None
    ) -> Outcome:
        """`alembic ARGUMENTS`, by default `upgrade head`, with the database named by the environment."""
        self.begin(database, *arguments, kill_at=kill_at, listed=listed, longest_wait=longest_wait)
        return self.finish()

    def begin(
        self, database: Path, *arguments: str, kill_at: int | None = None, listed: bool = False, longest_wait: float | None = None
    ) -> None:
        request = {
            "arguments": arguments or ("upgrade", "head"),
            "environ": environment(database) | {"ALEMBIC_CONFIG": str(self._ini)},
            "output": str(self._scratch / "output"),
            "statements": str(self._scratch / "statements") if listed else None,
            "kill_at": kill_at,
            "longest_wait": longest_wait,
        }
        (self._scratch / "statements").unlink(missing_ok=True)
        assert self._process.stdin
        self._process.stdin.write(f"{json.dumps(request)}\n")
        self._process.stdin.flush()

    def finish(self) -> Outcome:
        assert self._process.stdout
        status = int(self._process.stdout.readline())
        log = self._scratch / "statements"
        listed = [json.loads(line) for line in log.read_text("utf-8").splitlines()] if log.exists() else []
        output = (self._scratch / "output").read_text("utf-8", errors="replace")
        times, statements = zip(*listed, strict=True) if listed else ((), ())
        return Outcome(status=status, output=output, statements=statements, times=times)


@contextmanager
def upgrader(scratch: Path) -> Iterator[Upgrader]:
    """`scratch` is a directory of its own, for what the processes say."""
    scratch.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.migration.faults.forking"]
    clean = environment(scratch / "none")  # settings of whoever runs the tests are none of the upgrade's
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=clean, stdin=pipe, stdout=pipe, text=True) as process:
        yield Upgrader(process, scratch, ROOT / "alembic.ini")


def environment(database: Path) -> dict[str, str]:
    """The variables a process needs to work on this database."""
    inherited = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return {
        **inherited,
        "HOME": str(database.parent),
        "ALEMBIC_CONFIG": str(ROOT / "alembic.ini"),
        "BMS_DATABASE_URL": f"sqlite+aiosqlite:///{database}",
    }


def run_program(database: Path, *arguments: str, through: tuple[str, ...] = ()) -> Outcome:
    """The same in a fresh process from the first to the last instruction, `through` another program where one is named."""
    command = [*through, sys.executable, "-m", "alembic", *(arguments or ("upgrade", "head"))]
    done = subprocess.run(command, cwd=ROOT, env=environment(database), capture_output=True, text=True, timeout=300, check=False)
    return Outcome(status=done.returncode, output=done.stdout + done.stderr)
