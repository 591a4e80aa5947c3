"""`--sql`: on SQLite, run the revisions on an empty schema in memory and print what ran, rebuilds included."""

from collections.abc import Iterator
from typing import Any, TextIO

from alembic import context
from alembic.runtime.migration import MigrationInfo
from alembic.script import ScriptDirectory

from bms_iot.database import connection, ledger
from bms_iot.schema import rehearsal
from bms_iot.schema.run import REFUSAL, Run
from bms_iot.schema.transaction import conclude


def print_script(dialect: str, options: dict[str, Any], configure: dict[str, Any], output: TextIO) -> None:
    """Print the statements that lead from the command's starting revision to its destination."""
    if dialect == "postgresql":
        _print_postgresql(options, configure)
    else:
        _print_sqlite(options, configure, output)


def _print_sqlite(options: dict[str, Any], configure: dict[str, Any], output: TextIO) -> None:
    """What a run in memory did.

    The script refuses a database at another revision, and tables whose rows SQL cannot carry over: it then undoes itself in the
    end, also where the shell was not told to stop at the first error.
    """
    script: ScriptDirectory = context.script
    start = options.pop("starting_rev", None)
    start = None if start in (None, "base") else script.as_revision_number(start)
    recorded: list[str] = []
    is_recording = False

    def record(statement: str) -> None:
        if is_recording:
            recorded.append(statement)

    with connection.in_memory(record) as memory, memory.begin():
        if start is not None:
            rehearsal.build(memory, script, str(start))
        memory.exec_driver_sql(f"CREATE TEMP TABLE {REFUSAL} (reason TEXT)")
        is_recording = True
        ledger.ensure(memory)
        run, steps = Run(memory, rehearsing=True), list[MigrationInfo]()
        options |= {"as_sql": False, "on_version_apply": (lambda step, **_: steps.append(step),)}
        context.configure(connection=memory, run=run, **{**configure, **options})
        context.run_migrations()
        if steps:
            conclude(memory, script, steps)
        is_recording = False
    for line in _script(recorded, None if start is None else str(start)):
        output.write(f"{line}\n")


def _print_postgresql(options: dict[str, Any], configure: dict[str, Any]) -> None:
    """As Alembic does: one transaction, which fails on a database at another revision or with such rows.

    psql undoes it at COMMIT then, also where it was not told to stop at the first error.
    """
    script: ScriptDirectory = context.script
    start, steps = options.get("starting_rev"), list[MigrationInfo]()
    run = Run(None, rehearsing=True)
    collect: Any = lambda step, **_: steps.append(step)  # noqa: E731
    context.configure(dialect_name="postgresql", literal_binds=True, on_version_apply=collect, run=run, **configure)
    with context.begin_transaction():
        if start not in (None, "base"):
            at = f"SELECT 1 FROM alembic_version WHERE version_num = '{script.as_revision_number(start)}'"
            context.execute(f"DO $$ BEGIN IF NOT EXISTS ({at}) THEN RAISE 'the database is not at {start}'; END IF; END $$")
        printing: Any = context.get_context()  # has the one method of a connection that the ledger needs
        ledger.ensure(printing)
        context.run_migrations()
        if steps:
            conclude(printing, script, steps)


def _script(recorded: list[str], start: str | None) -> Iterator[str]:
    yield "-- Stop at the first error: sqlite3 -bail FILE < this"
    yield "PRAGMA foreign_keys=OFF;"
    yield "BEGIN IMMEDIATE;"
    yield f"CREATE TEMP TABLE {REFUSAL} (reason TEXT);"
    yield f"INSERT INTO temp.{REFUSAL} VALUES ('the database is not at {start or 'base'}');"
    if start is None:
        tables = f"SELECT 1 FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name <> '{ledger.NAME}'"
        yield f"DELETE FROM temp.{REFUSAL} WHERE NOT EXISTS ({tables});"
    else:
        yield f"DELETE FROM temp.{REFUSAL} WHERE (SELECT version_num FROM alembic_version) = '{start}';"
    for statement in recorded:
        if not rehearsal.LOOKS.match(statement):
            yield f"{statement.strip().removesuffix(' RETURNING version_num')};"
    yield f"CREATE TEMP TABLE {REFUSAL}_final (reason TEXT CONSTRAINT this_database_cannot_be_migrated_by_this_script CHECK (0));"
    yield f"INSERT OR ROLLBACK INTO temp.{REFUSAL}_final SELECT reason FROM temp.{REFUSAL};"
    yield "COMMIT;"
