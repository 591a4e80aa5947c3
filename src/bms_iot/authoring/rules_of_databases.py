"""Rules against what SQLite, PostgreSQL or the migration machine refuse, lose or do slowly."""

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator

import sqlalchemy as sa

from bms_iot.authoring.calls import SQLITE, Call, ColumnArgument, is_false
from bms_iot.authoring.parsed import Found, Revision, is_rebuild

_NATIVE_IN_BATCH = {"add_column", "create_index", "drop_index"}

_FORBIDDEN = re.compile(
    r"\s*(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|END|PRAGMA|ATTACH|DETACH|VACUUM|SET|START\s+TRANSACTION)\b", re.IGNORECASE
)


def many_drops(revision: Revision) -> Iterator[Found]:
    for calls, _ in revision.directions:
        drops = [c for c in calls if c.name == "drop_column" and c.batch is None and SQLITE in c.dialects]
        count = Counter[str]()
        for call in drops:
            count[call.table_source] += 2 if call.is_repeated else 1
        for table in (table for table, number in count.items() if number > 1):
            yield Found(
                node=next(c for c in drops if c.table_source == table).node,
                message=f"several native DROP COLUMNs on {table}: on SQLite each writes the whole table again",
                remedy="one op.batch_alter_table for all of them, or one rebuild by hand",
            )


def batch(revision: Revision) -> Iterator[Found]:
    for calls, facts in revision.directions:
        for block in (c for c in calls if c.name == "batch_alter_table" and SQLITE in c.dialects):
            table = facts.tables.get(block.table or "")
            inner = [c for c in calls if c.batch is not None and c.batch.node is block.node]
            is_rebuilt = block.text("recreate") == "always" or any(_rebuilds(c) for c in inner)
            if table and table.hazards and is_rebuilt and block.text("recreate") != "never":
                yield Found(
                    node=block.node,
                    message=f"batch mode rebuilds {block.table}, and refuses or loses: {', '.join(table.hazards)}",
                    remedy="rebuild by hand for SQLite: create, INSERT … SELECT of stored columns, drop, rename, indexes",
                )


def transaction(revision: Revision) -> Iterator[Found]:
    for call in revision.calls:
        word = _FORBIDDEN.match(call.sql)
        if word or call.name in ("commit", "rollback", "begin", "begin_nested", "autocommit_block", "executescript"):
            yield Found(
                node=call.node,
                message=f"{word[1].upper() if word else call.name + '()'}: the machine owns transaction and connection",
                remedy="leave it out; the whole upgrade is one transaction",
            )


def imported(revision: Revision) -> Iterator[Found]:
    for node in ast.walk(revision.tree):
        names, level = [], 0
        if isinstance(node, ast.ImportFrom):
            names, level = [node.module or "."], node.level
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            root = name.split(".")[0]
            if level or root not in sys.stdlib_module_names | {"alembic", "sqlalchemy"}:
                yield Found(
                    node=node,
                    message=f"imports {name}, which changes while a released revision may not",
                    remedy="alembic, sqlalchemy and the standard library only; copy what is needed into the revision",
                )


def enum_check(revision: Revision) -> Iterator[Found]:
    for call in revision.calls:
        for node in ast.walk(call.node):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            options = {keyword.arg: keyword.value for keyword in node.keywords}
            is_checked = isinstance(flag := options.get("create_constraint"), ast.Constant) and flag.value is True
            if call.name == "add_column" and (is_checked or node.func.attr == "CheckConstraint"):
                message = "a CHECK that comes with a new column: SQLite cannot add it, and a later member of an enum is a rebuild"
            elif (
                node.func.attr == "Enum"
                and call.name in ("add_column", "create_table", "alter_column")
                and not is_false(options.get("native_enum"))
            ):
                message = "sa.Enum freezes the members and makes a type of its own on PostgreSQL"
            else:
                continue
            yield Found(node=node, message=message, remedy="sa.String(length=…) here, models.columns.by_name in the model")


def unnamed(revision: Revision) -> Iterator[Found]:
    for call in revision.calls:
        name = call.argument("constraint_name")
        if call.name.endswith("_constraint") and (name is None or (isinstance(name, ast.Constant) and name.value is None)):
            yield Found(
                node=call.node,
                message=f"{call.name} without a name: no database finds that constraint again",
                remedy="op.f(name), as the naming convention spells it",
            )


def boolean_default(revision: Revision) -> Iterator[Found]:
    for call in revision.calls:
        for node in ast.walk(call.node):
            column = ColumnArgument.of(node, call.names) if isinstance(node, ast.Call) else None
            default = column.keyword("server_default") if column and isinstance(column.kind, sa.Boolean) else None
            if column and default and any(isinstance(part, ast.Constant) and str(part.value) in "01" for part in ast.walk(default)):
                yield Found(
                    node=default,
                    message=f"a boolean {column.name} whose default is a number: PostgreSQL refuses it",
                    remedy="server_default=sa.false() or sa.true(), in the model too",
                )


def expression_index(revision: Revision) -> Iterator[Found]:
    for calls, facts in revision.directions:
        made = {c.text("index_name") for c in calls if c.name == "create_index"}
        for drop in (c for c in calls if c.name == "drop_table" and SQLITE in c.dialects and is_rebuild(calls, c)):
            table = facts.tables.get(drop.table or "")
            for index in sorted((table.expression_indexes if table else frozenset()) - made):
                yield Found(
                    node=drop.node,
                    message=f"the rebuild of {drop.table} loses {index}, an index on an expression, which nothing reflects",
                    remedy="an explicit op.create_index after the rename",
                )
        for call in (c for c in calls if c.name == "create_table"):
            for node in ast.walk(call.node):
                if (
                    isinstance(node, ast.Call)
                    and getattr(node.func, "attr", "") == "Index"
                    and any(isinstance(a, ast.Call) for a in node.args[1:])
                ):
                    yield Found(
                        node=node,
                        message="an index on an expression inside create_table, where no comparison sees it",
                        remedy="an explicit op.create_index after it",
                    )


def _rebuilds(call: Call) -> bool:
    """Whether batch mode rebuilds the table for this operation."""
    column = ColumnArgument.of(call.argument("column"), call.names)
    default = column.keyword("server_default") if column else None
    return call.name not in _NATIVE_IN_BATCH or isinstance(default, ast.Call) or bool(column and column.has("Computed"))
