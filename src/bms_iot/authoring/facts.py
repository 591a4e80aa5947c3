"""What the revisions make, found by running them on an empty database in memory."""

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from bms_iot.database import connection, ledger
from bms_iot.schema import rehearsal

_NOT_OURS = {"alembic_version", ledger.NAME}
_GENERATED = (2, 3)
"""`hidden` of a generated column, virtual and stored, in `PRAGMA table_xinfo`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Columns with their types; names of constraints; in words, what a rebuild by batch mode refuses or loses."""

    columns: Mapping[str, sa.types.TypeEngine[Any]]
    constraints: frozenset[str]
    expression_indexes: frozenset[str]
    hazards: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The schema at a revision: tables by name; the names of indexes, triggers and views."""

    tables: Mapping[str, Table] = field(default_factory=dict)
    objects: frozenset[str] = frozenset()


def at(script: ScriptDirectory, revision: str | None) -> Facts:
    """The schema at a revision, `head` allowed; None is the empty one. Raises what the revisions raise."""
    if revision is None:
        return Facts()
    with connection.in_memory() as memory, memory.begin():
        rehearsal.build(memory, script, revision)
        return read(memory)


def read(opened: Connection) -> Facts:
    """The schema of a SQLite database."""
    rows = opened.exec_driver_sql("SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL").all()
    tables = {name: sql for kind, name, _, sql in rows if kind == "table" and name not in _NOT_OURS and name[:7] != "sqlite_"}
    others = [(kind, name, table, sql) for kind, name, table, sql in rows if kind != "table"]
    return Facts(
        tables={name: _table(opened, name, sql, others) for name, sql in tables.items()},
        objects=frozenset(name for _, name, _, _ in others),
    )


def _table(opened: Connection, name: str, sql: str, others: list[tuple[str, str, str, str]]) -> Table:
    inspector = sa.inspect(opened)
    with warnings.catch_warnings(action="ignore", category=sa.exc.SAWarning):  # indexes on expressions are read below
        uniques = {unique["name"] for unique in inspector.get_unique_constraints(name)}
    keys = {key["name"] for key in inspector.get_foreign_keys(name)}
    hazards = [f"trigger {other}" for kind, other, table, _ in others if kind == "trigger" and table == name]
    hazards += [f"view {other}" for kind, other, _, text in others if kind == "view" and re.search(rf"\b{re.escape(name)}\b", text)]
    hazards += [
        f"generated column {row[1]}" for row in opened.exec_driver_sql(f'PRAGMA table_xinfo("{name}")') if row[6] in _GENERATED
    ]
    expressions: set[str] = set()
    for _, index, _, _ in (other for other in others if other[0] == "index" and other[2] == name):
        columns = [row for row in opened.exec_driver_sql(f'PRAGMA index_xinfo("{index}")') if row[5]]
        if any(row[1] == -2 for row in columns):
            expressions.add(index)
            hazards.append(f"expression index {index}")
        if any(row[4] != "BINARY" for row in columns):
            hazards.append(f"index {index} with a collation of its own")
        if any(row[3] for row in columns):
            hazards.append(f"descending index {index}")
    unnamed = _NAMED_CHECK.sub("", sql)
    hazards += [what for pattern, what in _IN_TEXT if re.search(pattern, unnamed, re.IGNORECASE)]
    return Table(
        columns={column["name"]: column["type"] for column in inspector.get_columns(name)},
        constraints=frozenset(str(found) for found in uniques | keys if found),
        expression_indexes=frozenset(expressions),
        hazards=tuple(hazards),
    )


_IN_TEXT = (
    (r"\bAUTOINCREMENT\b", "AUTOINCREMENT"),
    (r"\bCOLLATE\b", "a column with a collation of its own"),
    (r"\bON\s+CONFLICT\b", "ON CONFLICT"),
    (r"\bCHECK\s*\(", "a CHECK without a name"),
)
_NAMED_CHECK = re.compile(r'\bCONSTRAINT\s+(?:"[^"]*"|\S+)\s+CHECK\b', re.IGNORECASE)
