"""What a SQLite schema is, whatever order its columns came in and whatever its text looks like."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

NOT_OURS = ("alembic_version", "schema_ledger")


def shape(path: Path) -> dict[str, Any]:
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
        names = [row[0] for row in connection.execute(query)]
        return {name: _table(connection, name) for name in names if name not in NOT_OURS}


def _table(connection: sqlite3.Connection, name: str) -> dict[str, Any]:
    sql = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", [name]).fetchone()[0]
    columns = connection.execute(f'PRAGMA table_xinfo("{name}")').fetchall()
    indexes = connection.execute(f'PRAGMA index_list("{name}")').fetchall()
    return {
        "columns": {row[1]: tuple(row[2:]) for row in columns},
        "generated": sorted(re.findall(r"(\w+) \w+ GENERATED ALWAYS AS (.*?) STORED", sql)),
        "checks": sorted(re.findall(r"CHECK \((.*)\)", sql)),
        "foreign keys": sorted(tuple(row[2:]) for row in connection.execute(f'PRAGMA foreign_key_list("{name}")')),
        "indexes": sorted(
            (
                row[1] if row[3] == "c" else row[3],
                row[2],
                row[4],
                tuple(column[2:5] for column in connection.execute(f'PRAGMA index_xinfo("{row[1]}")') if column[5]),
            )
            for row in indexes
        ),
    }
