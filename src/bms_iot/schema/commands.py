"""Upgrade and status for our own command line: the same path as plain `alembic`, without its ini file."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from bms_iot.errors import SchemaError
from bms_iot.schema import gate, machine, manifest, postgresql, target

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How a database stands to this release."""

    database: str
    state: str
    revision: str | None
    head: str
    pending: tuple[str, ...]


def upgrade(url: str, revision: str = "head", *, on_progress: Progress | None = None) -> None:
    """Bring the database at this SQLAlchemy URL to a revision, creating it where it is missing.

    `on_progress` is told rows done, rows in all and what they are. Raises SchemaError; the database is then as it was.
    """
    _run(command.upgrade, url, revision, on_progress)


def downgrade(url: str, revision: str, *, on_progress: Progress | None = None) -> None:
    """Bring the database back to a revision. Raises SchemaError, also where rows or values would be lost."""
    _run(command.downgrade, url, revision, on_progress)


def status(url: str) -> Status:
    """Reads only, and creates nothing. Raises DatabaseCorrupt, DatabaseLocked."""
    chosen = target.resolve(url, relative_to=Path.cwd())
    result = gate.inspect(chosen.path) if chosen.path else postgresql.status(chosen)
    return Status(
        database=str(chosen), state=result.state.value, revision=result.revision, head=result.head, pending=result.pending
    )


def _run(verb: Callable[[Config, str], None], url: str, revision: str, on_progress: Progress | None) -> None:
    config = Config(attributes={machine.URL: url, machine.RAISE: True, machine.PROGRESS: on_progress})
    config.set_main_option("script_location", str(manifest.MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    try:
        verb(config, revision)
    except CommandError as error:
        raise SchemaError(str(error)) from error
