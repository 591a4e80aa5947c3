"""The revisions of this release, in order, with their hashes: what the gate knows without loading Alembic.

`python -m bms_iot.authoring release` writes it anew after a revision was added.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from bms_iot.errors import RevisionEdited

MIGRATIONS = Path(__file__).parents[1] / "migrations"
FILE = MIGRATIONS / "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One revision file: its id, its name in `versions/`, the SHA-256 of its octets, the release that brought it."""

    revision: str
    file: str
    sha256: str
    release: str = field(default="", compare=False)


def load(file: Path = FILE) -> tuple[Revision, ...]:
    """The released revisions, oldest first."""
    return tuple(Revision(**entry) for entry in json.loads(file.read_text(encoding="utf-8"))["revisions"]) if file.is_file() else ()


def head() -> str:
    """The revision this release works with."""
    return load()[-1].revision


def refuse_edited(directory: Path) -> None:
    """Raises RevisionEdited for a file of `directory`/versions that is not, or no longer, what was released."""
    for entry in load(directory / FILE.name):
        file = directory / "versions" / entry.file
        if not file.is_file() or sha256(file) != entry.sha256:
            what = "is not what was released" if file.is_file() else "is missing"
            raise RevisionEdited(
                f"revision {entry.revision}, {entry.file}, {what}; nothing was changed", hint="install this release anew"
            )


def golden(directory: Path, revision: str | None) -> dict[str, dict[str, str]]:
    """The fingerprint released for a revision; empty where there is none."""
    file = directory / "golden" / f"{revision}.json"
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
