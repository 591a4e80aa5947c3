"""What a revision must not do. Each rule is a generator of findings over one parsed revision; `RULES` has them all."""

import ast
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from bms_iot.authoring.calls import SQLITE, Call, ColumnArgument, is_false
from bms_iot.authoring.facts import Facts, Table
from bms_iot.authoring.kinds import Kind, loses, shown, type_of

_REBUILT = "_alembic_tmp_"
_NATIVE_IN_BATCH = {"add_column", "create_index", "drop_index"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A revision as its source says it. `before` and `after` are the schemas around it, `siblings` those of the same release."""

    revision: str | None
    tree: ast.Module
    upgrade: list[Call]
    downgrade: list[Call]
    before: Facts
    after: Facts
    compat_floor: str | None = None
    siblings: tuple["Revision", ...] = ()

    @property
    def directions(self) -> tuple[tuple[list[Call], Facts], ...]:
        return (self.upgrade, self.before), (self.downgrade, self.after)

    @property
    def calls(self) -> list[Call]:
        return self.upgrade + self.downgrade


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is wrong at a place of the source, and what to do."""

    node: ast.AST
    message: str
    remedy: str


Rule = Callable[[Revision], Iterator[Found]]


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
        filled = (c.sql for c in _before(revision.upgrade, call))
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
        kind = _type_before(revision.before, drop.table, old)
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
    for drop in (c for c in calls if c.name == "drop_table" and not _is_rebuild(calls, c)):
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


def lossy_cast(revision: Revision) -> Iterator[Found]:
    for calls, facts in revision.directions:
        for call in (c for c in calls if c.name == "alter_column" and c.argument("type_") is not None):
            column, new = call.text("column_name"), type_of(call.argument("type_"))
            old = type_of(call.argument("existing_type")) or _type_before(facts, call.table, column)
            if (old is None or new is None or loses(old, new)) and not _refused(calls, call, column):
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


def contract(revision: Revision) -> Iterator[Found]:
    steps = list(_contracting(revision))
    expanded = {
        c.table_source
        for other in (revision, *revision.siblings)
        for c in other.upgrade
        if c.name == "add_column" or (c.name == "create_table" and not (c.table or "").startswith(_REBUILT))
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


def expression_index(revision: Revision) -> Iterator[Found]:
    for calls, facts in revision.directions:
        made = {c.text("index_name") for c in calls if c.name == "create_index"}
        for drop in (c for c in calls if c.name == "drop_table" and SQLITE in c.dialects and _is_rebuild(calls, c)):
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
        if not is_column and (call.name != "drop_table" or _is_rebuild(revision.downgrade, call)):
            continue
        if not _refused(revision.downgrade, call, call.text("column_name") if is_column else None):
            yield Found(
                node=call.node,
                message=f"the downgrade drops {ast.unparse(call.node)[:60]} whatever is in it",
                remedy='op.get_context().opts["run"].refuse_rows(table, "column IS NOT NULL") before it',
            )


RULES: dict[str, Rule] = {
    "not-null": not_null,
    "rename": rename,
    "many-drops": many_drops,
    "batch": batch,
    "lossy-cast": lossy_cast,
    "transaction": transaction,
    "import": imported,
    "enum-check": enum_check,
    "unnamed": unnamed,
    "boolean-default": boolean_default,
    "contract": contract,
    "expression-index": expression_index,
    "downgrade": downgrade,
    "silent-loss": silent_loss,
}

_CAST = re.compile(
    r"CAST\s*\([^():]+\s+AS\s+(?:INT|BIGINT|REAL|FLOAT|NUMERIC|BOOL|DATE)\w*\s*\)|::(?:int|bigint|real|float|numeric|bool|date)\w*",
    re.IGNORECASE,
)
_FORBIDDEN = re.compile(
    r"\s*(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|END|PRAGMA|ATTACH|DETACH|VACUUM|SET|START\s+TRANSACTION)\b", re.IGNORECASE
)


def _before(calls: list[Call], call: Call) -> list[Call]:
    return calls[: calls.index(call)]


def _is_rebuild(calls: list[Call], drop: Call) -> bool:
    """Whether the dropped table comes back under its name."""
    return any(c.name == "rename_table" and c.text("new_table_name") == drop.table for c in calls)


def _rebuilds(call: Call) -> bool:
    """Whether batch mode rebuilds the table for this operation."""
    column = ColumnArgument.of(call.argument("column"), call.names)
    default = column.keyword("server_default") if column else None
    return call.name not in _NATIVE_IN_BATCH or isinstance(default, ast.Call) or bool(column and column.has("Computed"))


def _refused(calls: list[Call], call: Call, column: str | None) -> bool:
    """Whether rows were refused before; a condition that is put together at run time is trusted."""
    for earlier in _before(calls, call):
        if earlier.name == "refuse_loss":
            return True
        if earlier.name == "refuse_rows" and earlier.table_source == call.table_source:
            condition = earlier.text("condition")
            if column is None or condition is None or column in condition:
                return True
    return False


def _contracting(revision: Revision) -> Iterator[tuple[Call, str]]:
    calls = revision.upgrade
    own = {c.table_source for c in calls if c.name == "create_table"}
    for call in (c for c in calls if c.table_source not in own):
        column = f"{call.table}.{call.text('column_name')}"
        match call.name:
            case "drop_column":
                yield call, f"drops {column}"
            case "drop_table" if not _is_rebuild(calls, call):
                yield call, f"drops table {call.table}"
            case "rename_table":
                yield call, f"renames table {call.table}"
            case "alter_column" if call.argument("new_column_name") is not None:
                yield call, f"renames {column}"
            case "alter_column" if is_false(call.argument("nullable")):
                yield call, f"makes {column} NOT NULL"


def _type_before(facts: Facts, table: str | None, column: str | None) -> Kind | None:
    known: Table | None = facts.tables.get(table or "")
    return known.columns.get(column or "") if known else None
