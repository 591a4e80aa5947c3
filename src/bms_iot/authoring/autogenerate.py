"""How models and database are compared, and what `alembic revision --autogenerate` writes.

A thing that the revisions did not make is nobody's to drop: it is left alone and named. What is written is right for SQLite and
PostgreSQL, and undoes itself without losing values; where a person has to decide, stderr says what.
"""

import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from textwrap import indent
from typing import Any, Literal

import sqlalchemy as sa
from alembic import context
from alembic.autogenerate import render
from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Enum
from sqlalchemy.sql.schema import SchemaItem
from sqlmodel.sql.sqltypes import AutoString

from bms_iot.authoring import facts, postgresql, shaping
from bms_iot.database import ledger, target


def options() -> dict[str, Any]:
    """For `context.configure`, once for each run of `env.py`."""
    comparison = Comparison()
    return {
        "compare_type": True,
        "compare_server_default": True,
        "render_as_batch": True,
        "include_object": comparison.includes,
        "render_item": render_item,
        "process_revision_directives": comparison.process,
        "user_module_prefix": "sa.",
    }


class Comparison:
    """One comparison of models and database."""

    def __init__(self) -> None:
        self._left_alone: set[str] = set()

    @cached_property
    def _known(self) -> facts.Facts:
        return facts.at(context.script, "head")

    def includes(self, item: SchemaItem, name: str | None, kind: str, reflected: bool, compared: SchemaItem | None) -> bool:
        """Whether a thing is compared: not the ledger, nor what is in the database alone and no revision made."""
        if kind == "table" and name == ledger.NAME:
            return False
        if not reflected or compared is not None or self._is_known(item, name, kind):
            return True
        self._left_alone.add(f"{kind.replace('_', ' ')} {name or 'without a name'}")
        return False

    def _is_known(self, item: SchemaItem, name: str | None, kind: str) -> bool:
        if kind == "table":
            return name in self._known.tables
        if kind == "index":
            return name in self._known.objects
        table = self._known.tables.get(getattr(getattr(item, "table", None), "name", ""))
        return table is not None and (name in table.columns if kind == "column" else name in table.constraints)

    def process(self, migration: MigrationContext, _revision: Any, scripts: list[ops.MigrationScript]) -> None:
        """Finish what autogenerate found, and say on stderr what was left alone and what is to be decided."""
        script = scripts[0]
        upgrade, downgrade = script.upgrade_ops, script.downgrade_ops
        if upgrade is None or downgrade is None:
            return
        metadata = migration.opts["target_metadata"]
        indexes = list(shaping.expression_indexes(metadata, self._known, migration.connection))
        upgrade.ops.extend(indexes)
        downgrade.ops[:0] = [index.reverse() for index in reversed(indexes)]
        self._left_alone |= set(_strangers(migration, self._known, metadata))
        if self._left_alone:
            _say(f"left alone, since no revision made it: {', '.join(sorted(self._left_alone))}")
        if script.message is not None:  # `alembic check` has none, and writes no file
            self._finish(migration, script, upgrade, downgrade)
        elif migration.dialect.name == "postgresql" and migration.connection is not None and upgrade.is_empty():
            postgresql.check(target.Target(url=migration.connection.engine.url, path=None), metadata)

    def _finish(
        self, migration: MigrationContext, script: ops.MigrationScript, upgrade: ops.UpgradeOps, downgrade: ops.DowngradeOps
    ) -> None:
        if upgrade.is_empty():
            _say("models and revisions agree, so the new file is empty; delete it unless you fill it by hand")
            _say("(a new member of an enum is no migration: its column holds the member's name as text)")
            return
        template = migration.opts["template_args"]
        if dropped := sorted(op.table_name for op in upgrade.ops if isinstance(op, ops.DropTableOp)):
            template["row_loss"] = repr((*dropped,)).replace("'", '"')
        if shaping.is_contract(upgrade.ops):
            template["compat_floor"] = f'"{script.rev_id}"'
        for direction in (upgrade, downgrade):
            direction.ops = shaping.native(direction.ops)
        downgrade.ops[:0] = shaping.refusals(upgrade.ops)
        for line in _decisions(migration, script, upgrade, downgrade):
            _say(line)


def render_item(kind: str, item: Any, autogen: AutogenContext) -> str | Literal[False]:
    """Plain `sa.*` types: a revision must not import SQLModel, nor freeze the members of an enum that lives on."""
    if kind == "type" and (isinstance(item, AutoString) or (isinstance(item, Enum) and not item.native_enum)):
        return "sa.String()" if item.length is None else f"sa.String(length={item.length})"
    if kind == "server_default" and item is not None:
        return shaping.rendered_default(item) or False
    return False


def _strangers(migration: MigrationContext, known: facts.Facts, metadata: sa.MetaData) -> Iterator[str]:
    """Views and triggers no revision made; the comparison itself never sees them."""
    connection = migration.connection
    if connection is None or connection.dialect.name != "sqlite":
        return
    query = "SELECT type, name FROM sqlite_master WHERE type IN ('view', 'trigger') ORDER BY name"
    for kind, name in connection.exec_driver_sql(query):
        if name not in known.objects and name not in metadata.tables:
            yield f"{kind} {name}"


def _decisions(
    migration: MigrationContext, script: ops.MigrationScript, upgrade: ops.UpgradeOps, downgrade: ops.DowngradeOps
) -> Iterable[str]:
    """What the linter says of the revision, which is not a file yet."""
    from bms_iot.authoring.lint import Linter  # noqa: PLC0415  only a new revision needs it

    def code(direction: ops.UpgradeOps | ops.DowngradeOps) -> str:
        with _quiet():  # the public render_python_code knows no metadata, which foreign keys need
            return indent(render._render_cmd_body(direction, AutogenContext(migration)), "    ")

    template = migration.opts["template_args"]
    down = _quoted(context.script.as_revision_number(script.head or "head"))
    source = (
        f'revision = "{script.rev_id}"\ndown_revision = {down}\ncompat_floor = {template.get("compat_floor", None)}\n\n\n'
        f"def upgrade():\n{code(upgrade)}\n\n\ndef downgrade():\n{code(downgrade)}\n"
    )
    findings = sorted(Linter(context.script).source(source, Path(f"{script.rev_id}.py")))
    if findings:
        yield "to decide in the new file, then `bms-iot db lint`:"
    for finding in findings:
        yield f"  {finding.code}: {finding.message}; {finding.remedy}"
        yield f"      {finding.source}"


def _quoted(revision: str | Sequence[str] | None) -> str:
    return f'"{revision}"' if isinstance(revision, str) else "None"


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Alembic from telling once more how it sets up."""
    logger = logging.getLogger("alembic.runtime.plugins")
    was, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = was
