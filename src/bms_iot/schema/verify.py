"""What must hold before the commit; whatever does not rolls the whole run back."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, event, inspect

from bms_iot.errors import SchemaError
from bms_iot.schema import ledger

_OURS = {"alembic_version", ledger.NAME}


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """Rows by table; indexes, triggers and views by name, with the table they belong to."""

    rows: Mapping[str, int]
    objects: Mapping[str, str]


@dataclass(slots=True)
class Declared:
    """What the revisions of a run take away on purpose: rows of tables, and objects, declared or dropped in so many words."""

    rows: set[str] = field(default_factory=set)
    objects: set[str] = field(default_factory=set)
    any_rows: bool = False

    def watch(self, connection: Connection) -> None:
        """Note every DROP INDEX, TRIGGER and VIEW that runs on this connection."""

        def executing(_connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
            if dropped := _DROP.match(statement):
                self.objects.add(dropped[1])

        event.listen(connection, "before_cursor_execute", executing)


_DROP = re.compile(r"\s*DROP\s+(?:INDEX|TRIGGER|VIEW)\s+(?:IF\s+EXISTS\s+)?[\"\[`]?([^\s;\"\]`]+)", re.IGNORECASE)


def take_census(connection: Connection) -> Census:
    tables = [name for name in inspect(connection).get_table_names() if name not in _OURS]
    rows = {name: int(connection.exec_driver_sql(f'SELECT count(*) FROM "{name}"').scalar_one()) for name in tables}
    objects: dict[str, str] = {}
    if connection.dialect.name == "sqlite":
        query = "SELECT name, tbl_name FROM sqlite_master WHERE type IN ('index', 'trigger', 'view') AND sql IS NOT NULL"
        objects = {row[0]: row[1] for row in connection.exec_driver_sql(query)}
    return Census(rows=rows, objects=objects)


def check(connection: Connection, before: Census, declared: Declared) -> None:
    """Raises SchemaError, naming what is wrong."""
    after = take_census(connection)
    problems = [
        f"{table} had {count} rows and has {after.rows.get(table, 0)}"
        for table, count in before.rows.items()
        if after.rows.get(table, 0) < count and table not in declared.rows and not declared.any_rows
    ]
    problems += [
        f"{name} is gone"
        for name, table in before.objects.items()
        if name not in after.objects and name not in declared.objects and (table in after.rows or table == name)
    ]
    problems += [f"{table} was left over" for table in after.rows if table.startswith("_alembic_tmp_")]
    if connection.dialect.name == "sqlite":
        if not connection.connection.driver_connection.in_transaction:  # type: ignore[union-attr]
            raise SchemaError(
                "a revision ended the transaction by itself; the database may be half migrated", hint="restore the backup"
            )
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        problems += [f"row {row[1]} of {row[0]} refers to no row of {row[2]}" for row in broken[:5]]
    if problems:
        raise SchemaError(f"the migration was rolled back, since {'; '.join(problems)}")
