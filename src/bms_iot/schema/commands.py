"""What our own command line does: the same path as plain `alembic`, without its ini file."""

from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from bms_iot.errors import DatabaseCorrupt, SchemaError
from bms_iot.schema import connection, fingerprint, gate, ledger, machine, manifest, postgresql, preflight, snapshot, target

Progress = Callable[[int, int, str], None]


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


def upgrade(
    url: str,
    revision: str = "head",
    *,
    is_named: bool = True,
    allow_loss: bool = False,
    allow_drift: bool = False,
    on_progress: Progress | None = None,
) -> None:
    """Bring the database at this SQLAlchemy URL to a revision, creating it where it is missing.

    Its directory is created only where nobody named it. `on_progress` is told what is done, how much there is in all and of what.
    Raises SchemaError; the database is then as it was.
    """
    _run(
        command.upgrade, url, revision, _allowed(allow_loss, allow_drift), {machine.PROGRESS: on_progress, machine.NAMED: is_named}
    )


def downgrade(url: str, revision: str, *, allow_loss: bool = False, on_progress: Progress | None = None) -> None:
    """Bring the database back to a revision. Raises SchemaError, also where rows or values would be lost."""
    _run(command.downgrade, url, revision, _allowed(allow_loss, False), {machine.PROGRESS: on_progress})


def adopt(url: str, *, allow_drift: bool = False) -> None:
    """Stamp the database with the revision whose tables it has, and mend what an upgrade left half done. Raises SchemaError."""
    _run(command.upgrade, url, "head", _allowed(False, allow_drift), {machine.ADOPT: True})


def plan(url: str, revision: str = "head", *, allow_drift: bool = False) -> preflight.Plan:
    """What an upgrade would do. Reads only. Raises SchemaError where it would be refused, but for want of space."""
    plans: list[preflight.Plan] = []
    _run(command.upgrade, url, revision, _allowed(False, allow_drift), {machine.PLAN: plans.append})
    return plans[0]


def status(url: str) -> Status:
    """Reads only, and creates nothing. Raises DatabaseCorrupt, DatabaseLocked."""
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
    """What is wrong with rows and schema, in sentences. Reads only. Raises the gate's errors, DatabaseCorrupt, RevisionEdited."""
    path = file_of(url)
    manifest.refuse_edited(manifest.MIGRATIONS)
    result = gate.check(path)
    if (found := snapshot.check(path)) is not None:
        raise DatabaseCorrupt(f"{path} is not sound: {found}", hint=snapshot.hint(path))
    with connection.reading(path) as opened:
        broken = opened.exec_driver_sql("PRAGMA foreign_key_check").all()
    return [*_drift(path, result.revision), *(f"row {row[1]} of {row[0]} refers to no row of {row[2]}" for row in broken[:5])]


def history(url: str) -> list[dict[str, Any]]:
    """The ledger, oldest entry first. Reads only."""
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


def _allowed(loss: bool, drift: bool) -> list[str]:
    return [f"allow-{name}=yes" for name, is_allowed in (("loss", loss), ("drift", drift)) if is_allowed]


def _run(verb: Callable[[Config, str], None], url: str, revision: str, allowed: list[str], attributes: dict[str, Any]) -> None:
    config = Config(attributes={machine.URL: url, machine.RAISE: True, **attributes}, cmd_opts=Namespace(x=allowed))
    config.set_main_option("script_location", str(manifest.MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    try:
        verb(config, revision)
    except CommandError as error:
        raise SchemaError(str(error)) from error
