"""What our own command line does: the same path as plain `alembic`, without its ini file."""

from argparse import Namespace
from collections.abc import Callable
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from bms_iot.database import manifest
from bms_iot.errors import SchemaError
from bms_iot.schema import machine, preflight
from bms_iot.schema.run import Progress


def upgrade(
    url: str, revision: str = "head", *, is_named: bool = True, allow_drift: bool = False, on_progress: Progress | None = None
) -> None:
    """Bring the database at this SQLAlchemy URL to a revision, creating it where it is missing.

    Its directory is created only where nobody named it. `on_progress` is told what is done, how much there is in all and of what.
    Raises SchemaError; the database is then as it was.
    """
    told = {machine.PROGRESS: on_progress, machine.NAMED: is_named}
    _run(command.upgrade, url, revision, told, drift=allow_drift)


def downgrade(url: str, revision: str, *, allow_loss: bool = False, on_progress: Progress | None = None) -> None:
    """Bring the database back to a revision. Raises SchemaError, also where rows or values would be lost."""
    _run(command.downgrade, url, revision, {machine.PROGRESS: on_progress}, loss=allow_loss)


def adopt(url: str, *, allow_drift: bool = False) -> None:
    """Stamp the database with the revision whose tables it has, and mend what an upgrade left half done. Raises SchemaError."""
    _run(command.upgrade, url, "head", {machine.ADOPT: True}, drift=allow_drift)


def plan(url: str, revision: str = "head", *, allow_drift: bool = False) -> preflight.Plan:
    """What an upgrade would do. Reads only. Raises SchemaError where it would be refused, but for want of space."""
    plans: list[preflight.Plan] = []
    _run(command.upgrade, url, revision, {machine.PLAN: plans.append}, drift=allow_drift)
    return plans[0]


def _run(
    verb: Callable[..., None], url: str, revision: str, attributes: dict[str, Any], *, loss: bool = False, drift: bool = False
) -> None:
    allowed = [f"allow-{name}=yes" for name, is_so in (("loss", loss), ("drift", drift)) if is_so]
    config = Config(attributes={machine.URL: url, machine.RAISE: True, **attributes}, cmd_opts=Namespace(x=allowed))
    config.set_main_option("script_location", str(manifest.MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    try:
        verb(config, revision)
    except CommandError as error:
        raise SchemaError(str(error)) from error
