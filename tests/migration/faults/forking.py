"""A process that has imported everything already and forks one child per request: a killed upgrade costs 0.1 s instead of 2 s."""

import json
import os
import sqlite3
import sqlite3.dbapi2
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from signal import SIGKILL
from typing import Any, NoReturn

Record = Callable[[str], object]


def main() -> None:
    """Serve requests, one JSON object a line on standard input, until it ends; each is answered with the child's status."""
    import alembic.config  # noqa: F401  what the children need, imported once

    import bms_iot.schema.commands
    import bms_iot.settings  # noqa: F401

    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            _run(request)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _run(request: dict[str, Any]) -> NoReturn:
    """Run `alembic` as its own program would, in this child."""
    status = 1
    try:
        output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        for stream in (1, 2):
            os.dup2(output, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.update(request["environ"])
        sys.argv = ["alembic", *request["arguments"]]
        trace_connections(_tracer(request), longest_wait=request["longest_wait"])
        import alembic.config

        alembic.config.main(prog="alembic")
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001  whatever it is, a program would print it and end
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _tracer(request: dict[str, Any]) -> Record:
    """Counts statements over all connections; kills the process before the one of number `kill_at`, counted from 0."""
    kill_at, log, count = request["kill_at"], request["statements"], 0
    lines = Path(log).open("w", encoding="utf-8") if log else None  # noqa: SIM115  open until the process ends

    def executing(statement: str) -> None:
        nonlocal count
        if count == kill_at:
            os.kill(os.getpid(), SIGKILL)
        count += 1
        if lines is not None:
            lines.write(f"{json.dumps([time.perf_counter(), statement])}\n")
            lines.flush()

    return executing


def trace_connections(record: Record, *, longest_wait: float | None) -> None:
    """From now on every connection to a file tells its statements, and waits for locks no longer than so many seconds."""

    class Traced(sqlite3.Connection):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            super().set_trace_callback(record)

        def set_trace_callback(self, trace_callback: Record | None, /) -> None:
            also = trace_callback or (lambda _: None)
            super().set_trace_callback(lambda statement: (record(statement), also(statement)))

    connect = sqlite3.connect

    def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
        if longest_wait is not None:
            options["timeout"] = min(options.get("timeout", 5.0), longest_wait)
        if arguments[0] != ":memory:":  # what is tried there leaves nothing behind
            options.setdefault("factory", Traced)
        connection: sqlite3.Connection = connect(*arguments, **options)
        return connection

    sqlite3.connect = sqlite3.dbapi2.connect = traced  # type: ignore[assignment]


if __name__ == "__main__":
    main()
