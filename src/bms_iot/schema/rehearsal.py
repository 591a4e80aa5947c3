"""What revisions do, found out on a schema in memory, without rows: errors, the SQL, and whether it only adds."""

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.runtime.migration import MigrationInfo
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from bms_iot.database import connection, fingerprint, ledger
from bms_iot.schema.run import Run

Work = Callable[[Any, Any], Iterable[Any]]
"""Alembic's work function: from the current heads and the migration context to the steps."""

LOOKS = re.compile(r"\s*(SELECT|PRAGMA|EXPLAIN|BEGIN|--)", re.IGNORECASE)
_MACHINERY = r"(?:alembic_version|schema_ledger|sqlite_master|temp\.bms_refusal|\"main\"\.sqlite_master)"
_ADDS = re.compile(
    rf"\s*(?:CREATE\s+(?:TABLE|(?:UNIQUE\s+)?INDEX)\s(?!.*\bAS\s+SELECT\b)|ALTER\s+TABLE\s+\S+\s+ADD\s|PRAGMA|EXPLAIN|BEGIN|--|SELECT\s(?!.*\bFROM\b)"
    rf"|SELECT\s.*\bFROM\s+{_MACHINERY}|(?:INSERT\s+INTO|UPDATE|DELETE\s+FROM)\s+{_MACHINERY})",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The tables at a revision and the statements that make them; `is_additive` when nothing but additions leads here."""

    revision: str
    fingerprint: fingerprint.Fingerprint
    statements: Mapping[str, str]
    """CREATE by the name of the table or index."""
    is_additive: bool


def is_additive(statements: Iterable[str]) -> bool:
    """Whether only tables, indexes and columns are new: neither rows nor what there was is touched or read."""
    return all(_ADDS.match(statement) for statement in statements)


def build(memory: Connection, script: ScriptDirectory, work: str | Work, on_step: Callable[[MigrationInfo], object] = id) -> None:
    """Run the steps of `work`, or the upgrade to that revision, on a database in memory."""
    ledger.ensure(memory)

    def upgrade(current: Any, _context: MigrationContext) -> Any:
        return script._upgrade_revs(str(work), current)  # what alembic.command.upgrade calls; there is no public way

    options: dict[str, Any] = {"fn": work if callable(work) else upgrade, "script": script, "run": Run(memory, allow_loss=True)}
    options["on_version_apply"] = (lambda step, **_: on_step(step),)
    with _silence():
        migration = MigrationContext.configure(memory, opts=options)
        with Operations.context(migration):
            migration.run_migrations()


def stamp(memory: Connection, script: ScriptDirectory, revision: str | None) -> None:
    with _silence():
        MigrationContext.configure(memory).stamp(script, revision or "base")


@contextmanager
def _silence() -> Iterator[None]:
    """What is only tried is nobody's news."""
    log = logging.getLogger("alembic.runtime.migration")
    was, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = was


def shapes(script: ScriptDirectory) -> tuple[Shape, ...]:
    """The tables at every revision, oldest first."""
    found: list[Shape] = []
    recorded: list[str] = []

    def look(step: MigrationInfo) -> None:
        additive = is_additive(recorded) and all(shape.is_additive for shape in found[-1:])
        raw = connection.driver(memory)
        statements = dict(raw.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall())
        revision, tables = str(step.up_revision_id), fingerprint.take(raw)
        found.append(Shape(revision=revision, fingerprint=tables, statements=statements, is_additive=additive))
        recorded.clear()

    with connection.in_memory(recorded.append) as memory, memory.begin():
        build(memory, script, "head", look)
    return tuple(found)
