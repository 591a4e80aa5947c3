"""What must hold before the commit; whatever does not rolls the whole run back."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, event, inspect

from bms_iot.database import connection as opening
from bms_iot.database import fingerprint, postgresql
from bms_iot.errors import SchemaDrift, SchemaError
from bms_iot.schema.preflight import Plan

_DROP = re.compile(r"\s*DROP\s+(?:INDEX|TRIGGER|VIEW)\s+(?:IF\s+EXISTS\s+)?[\"\[`]?([^\s;\"\]`]+)", re.IGNORECASE)
_PARTS = ("AUTOINCREMENT", "WITHOUT ROWID", "STRICT", "COLLATE", "DEFAULT", "GENERATED", "ON CONFLICT")
"""What a rebuild forgets of a table or a column that is there afterwards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """Rows by table; what each table has, and the views."""

    rows: Mapping[str, int]
    objects: fingerprint.Fingerprint


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


def take_census(connection: Connection) -> Census:
    tables = [name for name in inspect(connection).get_table_names() if name not in fingerprint.MACHINERY]
    rows = {name: int(connection.exec_driver_sql(f'SELECT count(*) FROM "{name}"').scalar_one()) for name in tables}
    if connection.dialect.name == "sqlite":
        return Census(rows=rows, objects=fingerprint.take(opening.driver(connection)))
    objects: fingerprint.Fingerprint = {}
    for name, table in postgresql.objects(connection).items():
        objects.setdefault(table, {})[f"index {name}" if table != name else "view"] = ""
    return Census(rows=rows, objects=objects)


def check(connection: Connection, before: Census, declared: Declared, plan: Plan | None) -> None:
    """Raises SchemaError, naming what is wrong; SchemaDrift when the schema is not the one of the plan's destination."""
    after = take_census(connection)
    problems = [
        f"{table} had {count} rows and has {after.rows.get(table, 0)}"
        for table, count in before.rows.items()
        if after.rows.get(table, 0) < count and table not in declared.rows and not declared.any_rows
    ]
    problems += _lost(before.objects, after.objects, declared.objects)
    problems += [f"{table} was left over" for table in after.rows if table.startswith("_alembic_tmp_")]
    if connection.dialect.name == "sqlite":
        if not opening.driver(connection).in_transaction:
            raise SchemaError(
                "a revision ended the transaction by itself; the database may be half migrated", hint="bms-iot db restore"
            )
        problems += opening.broken_references(connection)
    if problems:
        raise SchemaError(f"the migration was rolled back, since {'; '.join(problems)}")
    if plan and (drift := plan.drift(after.objects)) and not plan.finding.differences:
        raise SchemaDrift(f"the migration was rolled back, since at {plan.destination} {'; '.join(drift)}")


def _lost(before: fingerprint.Fingerprint, after: fingerprint.Fingerprint, declared: set[str]) -> Iterator[str]:
    for table, things in before.items():
        if table not in after and "view" in things and table not in declared:
            yield f"{table} is gone"
        for thing, text in things.items() if table in after else ():
            kind, _, name = thing.partition(" ")
            now = after[table].get(thing)
            if now == text or not declared.isdisjoint((name, f"{table}.{name}")):
                continue
            if now is None:
                if kind in ("index", "trigger", "check", "foreign") or "GENERATED" in text:
                    yield f"{name if kind in ('index', 'trigger') else f'{thing} of {table}'} is gone"
            elif kind in ("trigger", "foreign", "index"):
                if now.removeprefix("UNIQUE ") == text.removeprefix("UNIQUE "):
                    continue
                yield f"{thing} of {table} was {text} and is {now}"
            elif lost := [part.strip() for part in _PARTS if part in text and part not in now]:
                yield f"{', '.join(lost)} of {thing} of {table} is gone"
