"""Rules against what loses values or rows, or fails where there are any, or takes from older releases what they rely on."""

import ast
import re
from collections.abc import Iterator

from bms_iot.authoring.calls import Call, ColumnArgument, is_false
from bms_iot.authoring.kinds import loses, shown, type_of
from bms_iot.authoring.parsed import REBUILT, Found, Revision, earlier, is_rebuild, is_refused, type_at

_CAST = re.compile(
    r"CAST\s*\([^():]+\s+AS\s+(?:INT|BIGINT|REAL|FLOAT|NUMERIC|BOOL|DATE)\w*\s*\)|::(?:int|bigint|real|float|numeric|bool|date)\w*",
    re.IGNORECASE,
)


def not_null(revision: Revision) -> Iterator[Found]:
    for call in revision.calls:
        column = ColumnArgument.of(call.argument("column"), call.names) if call.name == "add_column" else None
        if (
            column
            and is_false(column.keyword("nullable"))
            and column.keyword("server_default") is None
            and not column.has("Computed")
        ):
            yield Found(
                node=call.node,
                message=f"{call.table}.{column.name} is NOT NULL without a server default: it passes on an empty table only",
                remedy="make it nullable, or give it a server_default",
            )
    for call in (c for c in revision.upgrade if c.name == "alter_column" and is_false(c.argument("nullable"))):
        filled = (c.sql for c in earlier(revision.upgrade, call))
        if not any("UPDATE" in sql.upper() and (call.text("column_name") or "?") in sql for sql in filled):
            yield Found(
                node=call.node,
                message=f"{call.table}.{call.text('column_name')} becomes NOT NULL while rows may have none",
                remedy="UPDATE … SET … WHERE … IS NULL before it",
            )


def rename(revision: Revision) -> Iterator[Found]:
    calls = revision.upgrade
    for drop in (c for c in calls if c.name == "drop_column"):
        old = drop.text("column_name")
        kind = type_at(revision.before, drop.table, old)
        for add in (c for c in calls if c.name == "add_column" and c.table_source == drop.table_source):
            column = ColumnArgument.of(add.argument("column"), add.names)
            carried = any(old and column and column.name and old in c.sql and column.name in c.sql for c in calls)
            if column and not carried and (kind is None or column.kind is None or not loses(kind, column.kind)):
                yield Found(
                    node=drop.node,
                    message=f"{drop.table}.{old} goes and {column.name} comes: a rename done so loses every value",
                    remedy="a rename takes two releases: add and copy now, drop in the next (docs/migrations.md)",
                )
    created = {
        c.table: {getattr(ColumnArgument.of(a, c.names), "name", None) for a in c.node.args[1:]} - {None}
        for c in calls
        if c.name == "create_table"
    }
    for drop in (c for c in calls if c.name == "drop_table" and not is_rebuild(calls, c)):
        known = revision.before.tables.get(drop.table or "")
        gone = set(known.columns) if known else set()
        for table, columns in created.items():
            carried = any(drop.table and table and drop.table in c.sql and table in c.sql for c in calls)
            if gone and not carried and len(gone & columns) * 2 > max(len(gone), len(columns)):
                yield Found(
                    node=drop.node,
                    message=f"table {drop.table} goes and {table} comes with most of its columns: a rename done so loses every row",
                    remedy="a rename takes two releases: create and copy now, drop in the next (docs/migrations.md)",
                )


def lossy_cast(revision: Revision) -> Iterator[Found]:
    for calls, facts in revision.directions:
        for call in (c for c in calls if c.name == "alter_column" and c.argument("type_") is not None):
            column, new = call.text("column_name"), type_of(call.argument("type_"))
            old = type_of(call.argument("existing_type")) or type_at(facts, call.table, column)
            if (old is None or new is None or loses(old, new)) and not is_refused(calls, call, column):
                yield Found(
                    node=call.node,
                    message=f"{call.table}.{column} from {shown(old)} to {shown(new)} can lose values, or fail on PostgreSQL",
                    remedy="run.refuse_rows(table, condition) before it for the values that do not fit, or a new column",
                )
        for call in calls:
            if match := _CAST.search(call.sql):
                yield Found(
                    node=call.node,
                    message=f"{match[0]} turns what it cannot read into something else, without an error on SQLite",
                    remedy="run.refuse_rows(table, condition) before it, then allow it",
                )


def contract(revision: Revision) -> Iterator[Found]:
    steps = list(_contracting(revision))
    expanded = {
        c.table_source
        for other in (revision, *revision.siblings)
        for c in other.upgrade
        if c.name == "add_column" or (c.name == "create_table" and not (c.table or "").startswith(REBUILT))
    }
    for call, message in steps:
        if call.table_source in expanded or (call.name == "drop_table" and expanded):
            yield Found(
                node=call.node,
                message=f"{message}, in the release that adds what comes instead: the older release can no longer run beside it",
                remedy="ship the addition first, this in the release after it",
            )
        elif revision.compat_floor is None or revision.compat_floor != revision.revision:
            yield Found(
                node=call.node,
                message=f"{message}, on which older releases rely",
                remedy="ship it one release after the last use, and set compat_floor to this revision",
            )


def downgrade(revision: Revision) -> Iterator[Found]:
    functions = {node.name: node for node in revision.tree.body if isinstance(node, ast.FunctionDef)}
    does_something = [c for c in revision.upgrade if c.name != "text"]
    if does_something and not revision.downgrade:
        yield Found(
            node=functions.get("downgrade") or functions["upgrade"],
            message="the upgrade does something, the downgrade nothing",
            remedy='undo it, or refuse: op.get_context().opts["run"].refuse_loss(why)',
        )


def silent_loss(revision: Revision) -> Iterator[Found]:
    for call in revision.downgrade:
        is_column = call.name == "drop_column"
        if not is_column and (call.name != "drop_table" or is_rebuild(revision.downgrade, call)):
            continue
        if not is_refused(revision.downgrade, call, call.text("column_name") if is_column else None):
            yield Found(
                node=call.node,
                message=f"the downgrade drops {ast.unparse(call.node)[:60]} whatever is in it",
                remedy='op.get_context().opts["run"].refuse_rows(table, "column IS NOT NULL") before it',
            )


def _contracting(revision: Revision) -> Iterator[tuple[Call, str]]:
    calls = revision.upgrade
    own = {c.table_source for c in calls if c.name == "create_table"}
    for call in (c for c in calls if c.table_source not in own):
        column = f"{call.table}.{call.text('column_name')}"
        match call.name:
            case "drop_column":
                yield call, f"drops {column}"
            case "drop_table" if not is_rebuild(calls, call):
                yield call, f"drops table {call.table}"
            case "rename_table":
                yield call, f"renames table {call.table}"
            case "alter_column" if call.argument("new_column_name") is not None:
                yield call, f"renames {column}"
            case "alter_column" if is_false(call.argument("nullable")):
                yield call, f"makes {column} NOT NULL"
