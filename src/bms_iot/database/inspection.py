"""What a person may ask about a database. Reads only, and creates nothing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bms_iot.database import connection, fingerprint, gate, ledger, manifest, postgresql, snapshot, target
from bms_iot.errors import DatabaseCorrupt, SchemaError


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How a database stands to this release; `last_run` is the ledger's newest entry of a whole run."""

    database: str
    state: str
    revision: str | None
    head: str
    pending: tuple[str, ...]
    floor: str | None = None
    drift: tuple[str, ...] = ()
    last_run: dict[str, Any] | None = None
    snapshots: tuple[str, ...] = ()


def status(url: str) -> Status:
    """Raises DatabaseCorrupt, DatabaseLocked."""
    chosen = target.resolve(url, relative_to=Path.cwd())
    result = gate.inspect(chosen.path) if chosen.path else postgresql.status(chosen)
    more: dict[str, Any] = {}
    if chosen.path and result.state not in (gate.State.MISSING, gate.State.INTERRUPTED):
        runs = [entry for entry in history(url) if entry["to_revision"] is not None]
        floors = [run["detail"]["compat_floor"] for run in runs if "compat_floor" in run["detail"]]
        more = {"last_run": runs[-1] if runs else None, "floor": floors[-1] if floors else None}
        more["snapshots"] = tuple(str(file) for file in snapshot.all_of(chosen.path))
        more["drift"] = tuple(_drift(chosen.path, result.revision))
    return Status(
        database=str(chosen), state=result.state.value, revision=result.revision, head=result.head, pending=result.pending, **more
    )


def verify(url: str) -> list[str]:
    """What is wrong with rows and schema, in sentences. Raises the gate's errors, DatabaseCorrupt, RevisionEdited."""
    path = file_of(url)
    manifest.refuse_edited(manifest.MIGRATIONS)
    result = gate.check(path)
    if (found := snapshot.check(path)) is not None:
        raise DatabaseCorrupt(f"{path} is not sound: {found}", hint=snapshot.hint(path))
    with connection.reading(path) as opened:
        return [*_drift(path, result.revision), *connection.broken_references(opened)]


def history(url: str) -> list[dict[str, Any]]:
    """The ledger, oldest entry first."""
    chosen = target.resolve(url, relative_to=Path.cwd())
    if chosen.path is None:
        return postgresql.read(chosen, ledger.listed)
    with connection.reading(file_of(url)) as opened:
        return ledger.listed(opened)


def file_of(url: str) -> Path:
    """The file of a SQLite database that is there. Raises SchemaError."""
    chosen = target.resolve(url, relative_to=Path.cwd())
    if chosen.path is None:
        raise SchemaError(f"{chosen} is no file", hint="PostgreSQL has tools of its own: pg_dump, pg_restore, pg_amcheck")
    if not chosen.path.exists():
        raise SchemaError(f"no database at {chosen}", hint=gate.UPGRADE)
    return chosen.path


def _drift(path: Path, revision: str | None) -> list[str]:
    """How the tables are not what was released for their revision."""
    golden = manifest.golden(manifest.MIGRATIONS, revision)
    with connection.reading(path) as opened:
        found = fingerprint.take(connection.driver(opened))
    return fingerprint.differences(fingerprint.without(found, golden), golden) if golden else []
