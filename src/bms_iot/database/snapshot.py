"""Copies of a database: taken online, whole and durable before they have their name; and put back."""

import glob
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from bms_iot.database import lock
from bms_iot.database.readonly import open_readonly, uri
from bms_iot.errors import DatabaseCorrupt, DatabaseLocked, NoSpace, SchemaError

KEPT = 3
_SUFFIX = "snapshot"
_PAGES = 2048
_SECONDS = 30.0


def take(
    path: Path,
    revision: str | None,
    *,
    to: Path | None = None,
    source: sqlite3.Connection | None = None,
    on_progress: Callable[[int, int, str], None] | None = None,
) -> Path:
    """Copy the database, while others write to it, to `to` or to a new name beside it, of which the newest three stay.

    The caller holds the lock of migrations. A process that has the database open already gives another connection as `source`,
    which is closed. Raises DatabaseCorrupt when the copy is not sound, NoSpace, SchemaError; there is no copy then.
    """
    target = to or path.with_name(f"{path.name}.{revision or 'unstamped'}.{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}.{_SUFFIX}")
    if target.exists():
        raise SchemaError(f"{target} is already there", hint="name another file, or move that one away")

    def progress(_status: int, remaining: int, total: int) -> None:
        if on_progress is not None and total * size >> 20:
            on_progress((total - remaining) * size >> 20, total * size >> 20, "MiB of the snapshot")

    size = 0
    with _made(target) as part:
        with closing(source or open_readonly(path, timeout=_SECONDS)) as original, closing(sqlite3.connect(part)) as copy:
            original.execute("BEGIN")
            original.execute("SELECT 1 FROM sqlite_master").fetchall()  # from here on one moment is seen, whoever writes
            size = original.execute("PRAGMA page_size").fetchone()[0]
            original.backup(copy, pages=_PAGES, progress=progress)
        if (found := check(part)) is not None:
            raise DatabaseCorrupt(f"the copy of {path} is not sound: {found}", hint=hint(path))
    if to is None:
        for old in (*all_of(path)[KEPT:], *path.parent.glob(f"{glob.escape(path.name)}.*.{_SUFFIX}.part*")):
            old.unlink()  # also what a run that was killed had half copied
    return target


def restore(path: Path, snapshot: Path) -> None:
    """Put a snapshot in the place of the database; the snapshot stays.

    Raises DatabaseCorrupt for a snapshot that is not sound, DatabaseLocked while the database is used, NoSpace, SchemaError; the
    database is as it was then.
    """
    with lock.exclusive(path, wait_seconds=lock.WAIT_SECONDS):
        if (found := check(snapshot)) is not None:
            raise DatabaseCorrupt(f"{snapshot} is not sound: {found}", hint=hint(path))
        if path.exists():
            _claim(path)
        with _made(path) as part:
            shutil.copyfile(snapshot, part)
            for suffix in ("-wal", "-shm", "-journal"):  # of the database that goes: they would be applied to the one that comes
                Path(f"{path}{suffix}").unlink(missing_ok=True)
            _sync(path.parent)


def all_of(path: Path) -> list[Path]:
    """The snapshots beside a database, newest first."""
    return sorted(
        path.parent.glob(f"{glob.escape(path.name)}.*.{_SUFFIX}"), key=lambda file: file.name.split(".")[-2], reverse=True
    )


def hint(path: Path) -> str:
    """What to do about a corrupt database: the newest sound snapshot, if there is one."""
    for file in all_of(path):
        if check(file) is None:
            return f"bms-iot db restore {file}"
    return "there is no snapshot beside it: restore a backup"


def check(path: Path) -> str | None:
    """What is wrong with a database, by SQLite's quick_check; None when it is sound."""
    try:
        with closing(open_readonly(path, timeout=_SECONDS)) as connection:
            found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    except (sqlite3.Error, OSError) as error:
        return str(error)
    return None if found == "ok" else found


def _claim(path: Path) -> None:
    """Make sure that nobody uses the database. Raises DatabaseLocked."""
    try:
        with closing(sqlite3.connect(uri(path, "rw"), uri=True, timeout=_SECONDS, isolation_level=None)) as connection:
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        if str(getattr(error, "sqlite_errorname", "")).startswith("SQLITE_BUSY"):
            raise DatabaseLocked(f"{path} is in use", hint="stop the gateway, then try again") from error


@contextmanager
def _made(target: Path) -> Iterator[Path]:
    """A file under another name that becomes `target` when it is whole and durable, readable by its owner only."""
    part = target.with_name(f"{target.name}.part")
    try:
        os.close(os.open(part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        part.chmod(0o600)
        yield part
        _sync(part)
        part.replace(target)
        _sync(target.parent)
    except (OSError, sqlite3.OperationalError) as error:
        is_full = getattr(error, "errno", None) == 28 or getattr(error, "sqlite_errorname", "") == "SQLITE_FULL"
        raise (NoSpace if is_full else SchemaError)(f"{target} cannot be written: {error}") from error
    finally:
        for suffix in ("", "-journal", "-wal", "-shm"):
            with suppress(OSError):
                Path(f"{part}{suffix}").unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
