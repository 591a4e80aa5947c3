"""A connection to SQLite that cannot write, takes no write lock and leaves no file behind."""

import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

_WAL_VERSION = b"\x02\x02"
"""Octets 18 and 19 of a database in WAL mode."""


def open_readonly(path: Path, *, timeout: float) -> sqlite3.Connection:
    """`mode=ro`, and `immutable` for a cleanly closed WAL file, where `mode=ro` alone would leave -wal and -shm behind.

    Not for a process that has the file open already: to look at it and close it drops that process's POSIX locks on it.
    """
    immutable = "&immutable=1" if not Path(f"{path}-wal").exists() and _is_wal(path) else ""
    return sqlite3.connect(f"{uri(path, 'ro')}{immutable}", uri=True, timeout=timeout, isolation_level=None)


def uri(path: Path, mode: str) -> str:
    return f"file:{quote(str(path))}?mode={mode}"


def _is_wal(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return os.pread(file.fileno(), 2, 18) == _WAL_VERSION
    except OSError:
        return False
