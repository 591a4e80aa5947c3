"""The highest boot number ever used, kept beside the database, so that a restored database does not use numbers again."""

import os
import time
from pathlib import Path

from bms_iot.errors import StorageError

NAME = "boot-floor"
_RELEASED = 1_735_689_600
"""2025: a clock that says earlier is not set."""


class BootFloor:
    """The file `boot-floor` in the data directory."""

    def __init__(self, data_directory: Path) -> None:
        self._path = data_directory / NAME

    def read(self) -> int:
        """The floor; without the file (first start, new card, factory reset) the time in seconds, above any count of starts."""
        try:
            return int(self._path.read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            now = int(time.time())
            return now if now > _RELEASED else 0
        except OSError as error:
            raise StorageError(f"{self._path} cannot be read: {error.strerror}") from None

    def write(self, boot: int) -> None:
        """Durable before it returns. Raises StorageError."""
        draft = self._path.with_name(f".{NAME}.new")
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(str(boot))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
            directory = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as error:
            raise StorageError(f"{self._path} cannot be written: {error.strerror}") from None
