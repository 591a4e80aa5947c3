"""What is known of the times of boots that began without the time of day: a file beside the database.

It is written once or twice in the life of such a boot, before its first reading is kept. One that cannot be read is as none.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bms_iot.domain.dates import EarlyDates
from bms_iot.errors import StorageError

NAME = "early-dates.json"
KEPT_BOOTS = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyBoot:
    """A boot that began without the time of day: `base` is what its clock would have said when the kernel `kernel` started."""

    kernel: str
    base: datetime
    dates: EarlyDates

    def corrected(self, base: datetime) -> "EarlyBoot":
        """The same now that it is known when the kernel started."""
        return replace(self, dates=replace(self.dates, shift=base - self.base))


class EarlyDatesFile:
    """The file `early-dates.json` in the data directory."""

    def __init__(self, data_directory: Path) -> None:
        self._path = data_directory / NAME

    def read(self) -> dict[int, EarlyBoot]:
        """By boot; empty where there is no such file or it is damaged. Raises StorageError when the directory cannot be read."""
        try:
            body = json.loads(self._path.read_text(encoding="utf-8"))
            return {int(boot): _parsed(entry) for boot, entry in body.items()}
        except (FileNotFoundError, ValueError, LookupError, TypeError, AttributeError, OverflowError):
            return {}
        except OSError as error:
            raise StorageError(f"{self._path} cannot be read: {error.strerror}") from None

    def write(self, boots: Mapping[int, EarlyBoot]) -> None:
        """Durable before it returns; the newest boots only. Raises StorageError."""
        newest = sorted(boots)[-KEPT_BOOTS:]
        text = json.dumps({boot: _document(boots[boot]) for boot in newest})
        draft = self._path.with_name(f".{NAME}.new")
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
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


def _document(boot: EarlyBoot) -> dict[str, object]:
    shift = boot.dates.shift
    return {
        "kernel": boot.kernel,
        "base": (boot.base - _EPOCH) // _MICROSECOND,
        "until_seq": boot.dates.until_seq,
        "shift": None if shift is None else shift // _MICROSECOND,
    }


def _parsed(entry: Mapping[str, object]) -> EarlyBoot:
    shift, until_seq = entry["shift"], entry["until_seq"]
    return EarlyBoot(
        kernel=str(entry["kernel"]),
        base=_EPOCH + int(str(entry["base"])) * _MICROSECOND,
        dates=EarlyDates(
            until_seq=None if until_seq is None else int(str(until_seq)),
            shift=None if shift is None else int(str(shift)) * _MICROSECOND,
        ),
    )
