"""Upgrade and status for our own command line: the same path as plain `alembic`, without its ini file."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from bms_iot.errors import SchemaError
from bms_iot.schema import gate, machine, manifest, target


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How a database stands to this release."""

    database: str
    state: str
    revision: str | None
    head: str
    pending: tuple[str, ...]


def upgrade(url: str, revision: str = "head", *, on_progress: Callable[[int, int, str], None] | None = None) -> None:
    """Bring the database at this SQLAlchemy URL to a revision, creating it where it is missing.

    `on_progress` is told rows done, rows in all and what they are. Raises SchemaError; the database is then as it was.
    """
    config = Config(attributes={machine.URL: url, machine.RAISE: True, machine.PROGRESS: on_progress})
    config.set_main_option("script_location", str(manifest.MIGRATIONS).replace("%", "%%"))
    try:
        command.upgrade(config, revision)
    except CommandError as error:
        raise SchemaError(str(error)) from error


def status(url: str) -> Status:
    """Reads only, and creates nothing. Raises DatabaseCorrupt, DatabaseLocked."""
    chosen = target.resolve(url, relative_to=Path.cwd())
    if chosen.path is None:
        raise SchemaError(f"{chosen}: PostgreSQL is not supported yet")
    result = gate.inspect(chosen.path)
    return Status(
        database=str(chosen.path), state=result.state.value, revision=result.revision, head=result.head, pending=result.pending
    )
