"""The room that a change of a SQLite file needs on disk, where SQLite puts what it writes."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from bms_iot.errors import NoSpace

MIB = 2**20
_OVERHEAD = MIB
"""What a run writes whatever it does: a few pages of each table and of the ledger, with their journal."""
_REBUILD = 3
"""A rebuild writes a table anew, its pages to the journal or the WAL, and its indexes: at most this many times the file."""


def needed(directory: Path, size: int, *, is_indexing: bool, is_rebuilding: bool) -> dict[Path, int]:
    """Octets by the directory they are needed in at most, beyond the database of this size as it is; a rebuild has a snapshot."""
    is_sorting = is_indexing or is_rebuilding
    octets = {directory: _OVERHEAD + ((_REBUILD + 1) * size if is_rebuilding else size if is_indexing else 0)}
    places = (os.environ.get("SQLITE_TMPDIR"), os.environ.get("TMPDIR"), "/var/tmp", "/usr/tmp", "/tmp")  # noqa: S108  as SQLite has it
    temporary = next((Path(place) for place in places if place and os.access(place, os.W_OK | os.X_OK)), directory)
    if is_sorting and temporary.stat().st_dev != directory.stat().st_dev:
        octets[temporary] = _OVERHEAD + size
    return octets


def refuse_without(octets: Mapping[Path, int], path: Path) -> None:
    """Raises NoSpace, with what is needed and what is free."""
    for directory, count in octets.items():
        if (free := shutil.disk_usage(directory).free) < count:
            sizes = f"needs {-(-count // MIB)} MiB free in {directory}, there are {free // MIB} MiB"
            raise NoSpace(f"the upgrade of {path} {sizes}; nothing was changed", hint="make room, then try again")
