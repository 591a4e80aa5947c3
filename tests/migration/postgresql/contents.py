"""Rows in and out of either database, as the same Python values."""

import json
import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from bms_iot import models
from bms_iot.database import ledger, postgresql, target
from bms_iot.storage import compact

Contents = dict[str, list[dict[str, Any]]]


def resolved(url: str) -> target.Target:
    return target.resolve(url, relative_to=Path("/"))


def fill(url: str, field: Path) -> None:
    """Insert the rows of a SQLite file into the tables that a PostgreSQL database has, and set its sequences accordingly."""

    def insert(connection: sa.Connection) -> None:
        reflected = sa.MetaData()
        reflected.reflect(connection)
        for table in reflected.sorted_tables:
            columns = {c.name: c for c in table.columns if c.computed is None}
            query = f"SELECT {', '.join(columns)} FROM {table.name} ORDER BY id"
            if table.name in ("alembic_version", ledger.NAME):
                continue
            rows = [{name: _typed(columns[name].type, row[name]) for name in columns} for row in source.execute(query)]
            if rows:
                connection.execute(table.insert(), rows)
            if isinstance(table.c.id.type, sa.Integer):
                query = (
                    f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), greatest(1, (SELECT max(id) FROM {table.name})))"
                )
                connection.exec_driver_sql(query)

    with closing(sqlite3.connect(field)) as source:
        source.row_factory = sqlite3.Row
        postgresql.write(resolved(url), insert)


def _typed(kind: sa.types.TypeEngine[Any], value: Any) -> Any:
    match kind:
        case _ if value is None:
            return None
        case sa.DateTime():
            return datetime.fromisoformat(value)
        case sa.JSON():
            return json.loads(value)
        case sa.Boolean():
            return bool(value)
    return value


def contents(database: str | Path) -> Contents:
    """Every row of every table of head that is there.

    Readings of the outbox in their order, the ledger without times and whole runs.

    Where one message ends and the next begins depends on how long a database's values are as text.
    """
    if isinstance(database, str):
        return postgresql.read(resolved(database), _contents)
    engine = sa.create_engine(f"sqlite:///{database}")
    try:
        with engine.connect() as connection:
            return _contents(connection)
    finally:
        engine.dispose()


def _contents(connection: sa.Connection) -> Contents:
    there = sa.inspect(connection).get_table_names()
    tables = {table.name: table for table in (*models.metadata().sorted_tables, ledger.TABLE) if table.name in there}
    found = {
        name: [dict(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key)).mappings()]
        for name, table in tables.items()
    }
    found["outbox"] = [{"reading": reading} for row in found["outbox"] for reading in compact.decode(row["payload"])]
    entries = [{"kind": row["kind"], **row["detail"]} for row in found[ledger.NAME]]
    found[ledger.NAME] = [
        {name: value for name, value in entry.items() if name not in ("last_seq", "messages")}
        for entry in entries
        if entry["kind"] not in ("upgrade", "downgrade", "stamp")
    ]
    return found
