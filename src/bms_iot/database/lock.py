"""One writer of the schema at a time, by `flock` on a file beside the database."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bms_iot.errors import DatabaseLocked, SchemaError

WAIT_SECONDS = 30.0
_RETRY_SECONDS = 0.1


def lock_file(database: Path) -> Path:
    return database.with_name(f"{database.name}.migrate.lock")


@contextmanager
def exclusive(database: Path, *, wait_seconds: float) -> Iterator[None]:
    """Keep other migrations out. Raises DatabaseLocked when it stays held, SchemaError where no lock can be had."""
    file = lock_file(database)
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SchemaError(f"{file} cannot be opened: {error.strerror}") from error
    try:
        _acquire(descriptor, database, time.monotonic() + wait_seconds)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, database: Path, deadline: float) -> None:
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise DatabaseLocked(f"another migration holds {database}", hint="wait for it to finish, then try again") from None
        time.sleep(_RETRY_SECONDS)  # flock has no time-out
