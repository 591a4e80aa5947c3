"""Seals the revisions of a release: their hashes in the manifest, and the schema at each as a golden file."""

import json
from dataclasses import asdict
from pathlib import Path

from alembic.script import ScriptDirectory

from bms_iot import __version__
from bms_iot.database import connection, fingerprint, manifest
from bms_iot.errors import RevisionEdited
from bms_iot.schema import rehearsal

GOLDEN = manifest.MIGRATIONS / "golden"


def seal() -> list[Path]:
    """Write the manifest and a golden schema for each revision, anew; returns the files. Raises RevisionEdited."""
    write_manifest()
    GOLDEN.mkdir(exist_ok=True)
    script = ScriptDirectory(manifest.MIGRATIONS)
    written = {golden_file(entry.revision): golden(script, entry.revision) for entry in manifest.load()}
    for file in set(GOLDEN.glob("*.json")) - set(written):
        file.unlink()
    for file, text in written.items():
        file.write_text(text, encoding="utf-8")
    return [manifest.FILE, *written]


def golden_file(revision: str) -> Path:
    return GOLDEN / f"{revision}.json"


def golden(script: ScriptDirectory, revision: str) -> str:
    """The fingerprint of SQLite's schema at a revision, as JSON, by running the revisions on an empty database in memory."""
    with connection.in_memory() as memory, memory.begin():
        rehearsal.build(memory, script, revision)
        driver = memory.connection.driver_connection
        assert driver is not None
        return json.dumps(fingerprint.take(driver), indent=1, sort_keys=True) + "\n"


def computed() -> tuple[manifest.Revision, ...]:
    """The revisions as the files in `versions/` have them now, oldest first."""
    scripts = reversed(list(ScriptDirectory(manifest.MIGRATIONS).walk_revisions()))
    return tuple(
        manifest.Revision(revision=s.revision, file=Path(s.path).name, sha256=manifest.sha256(Path(s.path))) for s in scripts
    )


def write_manifest() -> None:
    """Write `migrations/manifest.json` from the files in `versions/`.

    Raises RevisionEdited, and writes nothing, where a revision of an earlier release is not what that release brought.
    """
    sealed = {entry.revision: entry for entry in manifest.load()}
    entries = []
    for entry in computed():
        before = sealed.pop(entry.revision, None)
        release = before.release if before else __version__
        if before and before != entry and release != __version__:
            raise RevisionEdited(f"{entry.file} is not what release {release} brought", hint="put it back, and add a revision")
        entries.append({**asdict(entry), "release": release})
    if gone := [entry.file for entry in sealed.values() if entry.release != __version__]:
        raise RevisionEdited(f"{', '.join(gone)} is gone, which an earlier release brought", hint="put it back")
    manifest.FILE.write_text(json.dumps({"revisions": entries}, indent=2) + "\n", encoding="utf-8")
