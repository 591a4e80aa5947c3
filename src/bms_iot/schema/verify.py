"""What must hold before the commit; whatever does not rolls the whole run back."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, inspect

from bms_iot.errors import SchemaError
from bms_iot.schema import ledger

_OURS = {"alembic_version", ledger.NAME}


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """Rows by table, and the names of indexes, triggers and views with what they belong to."""

    rows: Mapping[str, int]
    objects: frozenset[str]


@dataclass(slots=True)
class Declared:
    """What the revisions of a run say they take away: tables with fewer rows, and objects, by name."""

    rows: set[str]
    objects: set[str]


def take_census(connection: Connection) -> Census:
    tables = [name for name in inspect(connection).get_table_names() if name not in _OURS]
    rows = {name: int(connection.exec_driver_sql(f'SELECT count(*) FROM "{name}"').scalar_one()) for name in tables}
    objects: Iterable[str] = ()
    if connection.dialect.name == "sqlite":
        query = "SELECT name FROM sqlite_master WHERE type IN ('index', 'trigger', 'view') AND sql IS NOT NULL"
        objects = connection.exec_driver_sql(query).scalars().all()
    return Census(rows=rows, objects=frozenset(objects))


def check(connection: Connection, before: Census, declared: Declared) -> None:
    """Raises SchemaError, naming what is wrong."""
    after = take_census(connection)
    problems = [
        f"{table} had {count} rows and has {after.rows.get(table, 0)}"
        for table, count in before.rows.items()
        if after.rows.get(table, 0) < count and table not in declared.rows
    ]
    problems += [f"{name} is gone" for name in sorted(before.objects - after.objects - declared.objects)]
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
