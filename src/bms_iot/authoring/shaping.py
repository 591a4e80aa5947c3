"""From what Alembic's comparison finds to what a good revision does."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import sqlalchemy as sa
from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.dialects.sqlite.base import SQLiteDialect

from bms_iot.authoring import facts

_CONSTANT = re.compile(r"\(?(-?[\d.]+|'(?:[^']|'')*'|NULL|TRUE|FALSE)\)?", re.IGNORECASE)


class RefuseRows(ops.MigrateOperation):
    """`run.refuse_rows(table, condition)` in the file that is written."""

    def __init__(self, table: str, condition: str | None) -> None:
        self.table, self.condition = table, condition

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """As every operation has it."""
        return "refuse_rows", self.table, self.condition


@renderers.dispatch_for(RefuseRows)
def _render_refusal(_context: AutogenContext, op: RefuseRows) -> str:
    arguments = f'"{op.table}"' if op.condition is None else f'"{op.table}", {_literal(op.condition)}'
    return f'op.get_context().opts["run"].refuse_rows({arguments})'


def native(operations: Iterable[ops.MigrateOperation]) -> list[ops.MigrateOperation]:
    """Take out of batch mode what SQLite can do by itself, so that no table is rebuilt for it."""
    shaped: list[ops.MigrateOperation] = []
    for op in operations:
        if not isinstance(op, ops.ModifyTableOps):
            shaped.append(op)
        elif _is_native(op.ops):
            shaped.extend(op.ops)
        else:  # indexes outside, since the machine misses one that went with a rebuilt table
            shaped.extend(inner for inner in op.ops if isinstance(inner, ops.DropIndexOp))
            rest = [inner for inner in op.ops if not isinstance(inner, ops.DropIndexOp | ops.CreateIndexOp)]
            shaped.append(ops.ModifyTableOps(op.table_name, rest, schema=op.schema))
            shaped.extend(inner for inner in op.ops if isinstance(inner, ops.CreateIndexOp))
    return shaped


def refusals(upgrade: Iterable[ops.MigrateOperation]) -> list[ops.MigrateOperation]:
    """What the downgrade must refuse before it drops what the upgrade added."""
    conditions: dict[str, list[str]] = {}
    for op in _flat(upgrade):
        if isinstance(op, ops.CreateTableOp):
            conditions[op.table_name] = []
        elif isinstance(op, ops.AddColumnOp) and op.column.computed is None:
            default = _default_text(op.column)
            condition = f"{op.column.name} IS NOT NULL" + (f" AND {op.column.name} <> {default}" if default else "")
            conditions.setdefault(op.table_name, []).append(condition)
    return [
        RefuseRows(table, (parts[0] if len(parts) == 1 else " OR ".join(f"({part})" for part in parts)) if parts else None)
        for table, parts in conditions.items()
    ]


def is_contract(upgrade: Iterable[ops.MigrateOperation]) -> bool:
    """Whether an older release can no longer run on what comes out."""
    return any(
        isinstance(op, ops.DropColumnOp | ops.DropTableOp)
        or (isinstance(op, ops.AlterColumnOp) and (op.modify_nullable is False or op.modify_name is not None))
        for op in _flat(upgrade)
    )


def expression_indexes(metadata: sa.MetaData, known: facts.Facts, connection: sa.Connection | None) -> Iterator[ops.CreateIndexOp]:
    """Indexes of models on expressions that no revision makes: on SQLite the comparison does not see them."""
    if connection is None or connection.dialect.name != "sqlite":
        return
    for table in metadata.sorted_tables:
        if table.name in known.tables:
            for index in sorted(table.indexes, key=lambda i: str(i.name)):
                if any(not isinstance(part, sa.Column) for part in index.expressions) and index.name not in known.objects:
                    yield ops.CreateIndexOp.from_index(index)


def rendered_default(default: Any) -> str | None:
    """A server default or generated column whose text differs between SQLite and PostgreSQL, as source; None for others."""
    if isinstance(default, sa.Computed):
        texts = _texts(default.sqltext)
        persisted = "" if default.persisted is None else f", persisted={default.persisted}"
        return None if texts is None else f"sa.Computed({texts}{persisted})"
    clause = getattr(default, "arg", None)
    if not isinstance(clause, sa.ClauseElement):
        return None
    if isinstance(clause, sa.True_ | sa.False_):
        return "sa.true()" if isinstance(clause, sa.True_) else "sa.false()"
    texts = _texts(clause)
    return None if texts is None else f"sa.text({texts})"


def _texts(clause: sa.ClauseElement) -> str | None:
    """An expression that picks the text for the dialect at hand; None where it is one text for both."""
    on_sqlite = _compiled(clause, SQLiteDialect())
    on_postgresql = _compiled(clause, PGDialect())  # type: ignore[no-untyped-call]
    if on_sqlite == on_postgresql:
        return None
    return f'{{"sqlite": {_literal(on_sqlite)}, "postgresql": {_literal(on_postgresql)}}}[op.get_context().dialect.name]'


def _compiled(clause: sa.ClauseElement, dialect: sa.Dialect) -> str:
    return str(clause.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


def _is_native(operations: Iterable[ops.MigrateOperation]) -> bool:
    drops = 0
    for op in operations:
        if isinstance(op, ops.AddColumnOp):
            default = _default_text(op.column)
            if op.column.computed is not None or op.column.primary_key or (default and not _CONSTANT.fullmatch(default)):
                return False
        elif isinstance(op, ops.DropColumnOp):
            drops += 1
        elif not isinstance(op, ops.CreateIndexOp | ops.DropIndexOp):
            return False
    return drops <= 1


def _default_text(column: sa.Column[Any]) -> str | None:
    clause = getattr(column.server_default, "arg", None)
    if clause is None:
        return None
    if isinstance(clause, sa.True_ | sa.False_):
        return "true" if isinstance(clause, sa.True_) else "false"
    return "'" + clause.replace("'", "''") + "'" if isinstance(clause, str) else _compiled(clause, SQLiteDialect())


def _flat(operations: Iterable[ops.MigrateOperation]) -> Iterator[ops.MigrateOperation]:
    for op in operations:
        if isinstance(op, ops.OpContainer):
            yield from _flat(op.ops)
        else:
            yield op


def _literal(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") + '"'
