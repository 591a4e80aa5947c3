"""Triggers, views and indexes that the database's owner added: a rebuild would stumble over them or take them along."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy import Connection

from bms_iot.database import connection
from bms_iot.errors import SchemaError


def find(raw: sqlite3.Connection, ours: set[str]) -> dict[str, str]:
    """Those that are not in `ours`: `trigger name` → CREATE."""
    query = "SELECT type || ' ' || name, sql FROM sqlite_master WHERE type IN ('trigger', 'view', 'index') AND sql IS NOT NULL"
    return {name: sql for name, sql in raw.execute(query) if name not in ours}


@contextmanager
def set_aside(opened: Connection, things: Mapping[str, str], *, is_additive: bool) -> Iterator[None]:
    """Take triggers and views away while a run rebuilds tables, and put back afterwards what is missing, indexes too.

    Raises SchemaError naming what does not fit any more.
    """
    raw = connection.driver(opened)
    if not is_additive:
        for thing in things:
            kind, _, name = thing.partition(" ")
            if kind != "index":
                raw.execute(f'DROP {kind} IF EXISTS "{name}"')
    yield
    there = {row[0] for row in raw.execute("SELECT type || ' ' || name FROM sqlite_master")}
    for thing, sql in things.items():
        if thing not in there:
            try:
                raw.execute(sql)
            except sqlite3.Error as error:
                raise SchemaError(f"the migration was rolled back, since your {thing} does not fit any more: {error}") from error
