"""Triggers, views and indexes that the database's owner added: a rebuild would stumble over them or take them along."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from bms_iot.errors import SchemaError
from bms_iot.schema import connection
from bms_iot.schema.preflight import Plan


@contextmanager
def set_aside(opened: Connection, plan: Plan) -> Iterator[None]:
    """Take triggers and views away while a run rebuilds tables, and put back afterwards what is missing, indexes too.

    Raises SchemaError naming what does not fit any more.
    """
    raw = connection.driver(opened)
    if not plan.is_additive:
        for thing in plan.owners:
            kind, _, name = thing.partition(" ")
            if kind != "index":
                raw.execute(f'DROP {kind} IF EXISTS "{name}"')
    yield
    there = {row[0] for row in raw.execute("SELECT type || ' ' || name FROM sqlite_master")}
    for thing, sql in plan.owners.items():
        if thing not in there:
            try:
                raw.execute(sql)
            except sqlite3.Error as error:
                raise SchemaError(f"the migration was rolled back, since your {thing} does not fit any more: {error}") from error
