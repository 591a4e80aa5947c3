"""The operations of a revision file, in order, read from its source without running it."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from bms_iot.authoring.kinds import Kind, type_of

SQLITE, OTHER = "sqlite", "other"
BOTH = frozenset({SQLITE, OTHER})

_SIGNATURES: dict[str, tuple[str, ...]] = {
    "add_column": ("table_name", "column"),
    "alter_column": ("table_name", "column_name"),
    "batch_alter_table": ("table_name",),
    "create_check_constraint": ("constraint_name", "table_name", "condition"),
    "create_foreign_key": ("constraint_name", "table_name", "referent_table"),
    "create_index": ("index_name", "table_name", "columns"),
    "create_table": ("table_name",),
    "create_unique_constraint": ("constraint_name", "table_name", "columns"),
    "drop_column": ("table_name", "column_name"),
    "drop_constraint": ("constraint_name", "table_name", "type_"),
    "drop_index": ("index_name", "table_name"),
    "drop_table": ("table_name",),
    "refuse_loss": ("message",),
    "refuse_rows": ("table_name", "condition"),
    "rename_table": ("table_name", "new_table_name"),
}
"""Positional arguments; in a batch there is no table name."""

_EXECUTING = {"execute", "exec_driver_sql", "executescript", "executemany", "text"}
_TRANSACTION = {"commit", "rollback", "begin", "begin_nested", "autocommit_block"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call in a revision; what cannot be known from the source alone is None."""

    name: str
    node: ast.Call
    names: Mapping[str, str | None]
    dialects: frozenset[str] = BOTH
    is_repeated: bool = False
    batch: "Call | None" = None

    @property
    def table(self) -> str | None:
        return self.batch.table if self.batch else self.text("table_name")

    @property
    def table_source(self) -> str:
        """The table as a name, or as the source spells it: enough to tell whether two calls mean the same."""
        node = self.batch.argument("table_name") if self.batch else self.argument("table_name")
        return self.table or (ast.unparse(node) if node else "")

    def argument(self, name: str) -> ast.expr | None:
        for keyword in self.node.keywords:
            if keyword.arg == name:
                return keyword.value
        positions = [p for p in _SIGNATURES.get(self.name, ()) if not (self.batch and p == "table_name")]
        if name in positions and positions.index(name) < len(self.node.args):
            return self.node.args[positions.index(name)]
        return None

    def text(self, name: str) -> str | None:
        """A text argument, where the source says it."""
        return text_of(self.argument(name), self.names)

    @property
    def sql(self) -> str:
        """The statement of an execute, empty where it is not spelled out; `{}` stands for what is put in at run time."""
        return text_of(self.node.args[0], self.names) or "" if self.node.args and self.name in _EXECUTING else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnArgument:
    """A `sa.Column(…)` in the source."""

    name: str | None
    kind: Kind | None
    node: ast.Call

    @classmethod
    def of(cls, node: ast.expr | None, names: Mapping[str, str | None]) -> "ColumnArgument | None":
        if not (isinstance(node, ast.Call) and _last_name(node.func) == "Column"):
            return None
        kinds = [kind for argument in node.args[1:] if (kind := type_of(argument)) is not None]
        return cls(name=text_of(node.args[0], names) if node.args else None, kind=kinds[0] if kinds else None, node=node)

    def keyword(self, name: str) -> ast.expr | None:
        return next((keyword.value for keyword in self.node.keywords if keyword.arg == name), None)

    def has(self, kind: str) -> bool:
        """Whether a `sa.<kind>(…)` is among its arguments."""
        return any(isinstance(argument, ast.Call) and _last_name(argument.func) == kind for argument in self.node.args)


def text_of(node: ast.expr | None, names: Mapping[str, str | None]) -> str | None:
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.Name(id=name):
            return names.get(name)
        case ast.Call(args=[inner, *_]) if _last_name(node.func) in ("f", "text"):
            return text_of(inner, names)
        case ast.JoinedStr(values=parts):
            return "".join(
                (text_of(part.value, names) or "{}") if isinstance(part, ast.FormattedValue) else text_of(part, names) or ""
                for part in parts
            )
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return (text_of(left, names) or "{}") + (text_of(right, names) or "{}")
    return None


def is_false(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def calls_of(tree: ast.Module, function: str) -> list[Call]:
    """What the function does, with the functions of the file that it calls written out in their place."""
    return list(_Walk(tree).function(function, {}))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Where:
    dialects: frozenset[str] = BOTH
    is_repeated: bool = False
    batches: Mapping[str, Call]
    inside: tuple[str, ...]


class _Walk:
    def __init__(self, tree: ast.Module) -> None:
        self._functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
        self._constants = dict(_assigned(tree.body, {}))

    def function(self, name: str, arguments: Mapping[str, str | None], where: _Where | None = None) -> Iterator[Call]:
        node = self._functions.get(name)
        if node is None or (where and name in where.inside):
            return
        where = where or _Where(batches={}, inside=())
        names = {**self._constants, **arguments}
        yield from self._block(node.body, names, replace(where, inside=(*where.inside, name)))

    def _block(self, statements: list[ast.stmt], names: dict[str, str | None], where: _Where) -> Iterator[Call]:
        for statement in statements:
            names |= _assigned([statement], names)
            match statement:
                case ast.If(test=test, body=body, orelse=orelse):
                    yield from self._expressions(test, names, where)
                    then, otherwise = _split(test, where.dialects)
                    yield from self._block(body, names, replace(where, dialects=then))
                    yield from self._block(orelse, names, replace(where, dialects=otherwise))
                    if isinstance(body[-1], ast.Return | ast.Raise) and not orelse:
                        where = replace(where, dialects=otherwise)
                case ast.For(iter=head, body=body) | ast.While(test=head, body=body):
                    yield from self._expressions(head, names, where)
                    yield from self._block(body, names, replace(where, is_repeated=True))
                case ast.With(items=items, body=body):
                    batches = dict(where.batches)
                    for item in items:
                        for call in self._expressions(item.context_expr, names, where):
                            yield call
                            if call.name == "batch_alter_table" and isinstance(item.optional_vars, ast.Name):
                                batches[item.optional_vars.id] = call
                    yield from self._block(body, names, replace(where, batches=batches))
                case ast.Try(body=body, handlers=handlers, orelse=orelse, finalbody=finalbody):
                    for block in (body, *(handler.body for handler in handlers), orelse, finalbody):
                        yield from self._block(block, names, where)
                case ast.FunctionDef() | ast.ClassDef():
                    pass
                case _:
                    yield from self._expressions(statement, names, where)

    def _expressions(self, root: ast.AST, names: Mapping[str, str | None], where: _Where) -> Iterator[Call]:
        for node in ast.walk(root):
            if not isinstance(node, ast.Call):
                continue
            if isinstance(node.func, ast.Name) and node.func.id in self._functions:
                parameters = [argument.arg for argument in self._functions[node.func.id].args.args]
                bound = {name: text_of(value, names) for name, value in zip(parameters, node.args, strict=False)}
                bound |= {keyword.arg: text_of(keyword.value, names) for keyword in node.keywords if keyword.arg}
                yield from self.function(node.func.id, bound, where)
            elif isinstance(node.func, ast.Attribute) and (
                node.func.attr in _SIGNATURES or node.func.attr in _EXECUTING or node.func.attr in _TRANSACTION
            ):
                owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
                yield Call(
                    name=node.func.attr,
                    node=node,
                    names=dict(names),
                    dialects=where.dialects,
                    is_repeated=where.is_repeated,
                    batch=where.batches.get(owner),
                )


def _assigned(statements: list[ast.stmt], names: Mapping[str, str | None]) -> Iterator[tuple[str, str | None]]:
    for statement in statements:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) | ast.AnnAssign(target=ast.Name(id=name), value=value):
                yield name, text_of(value, names)


def _split(test: ast.expr, dialects: frozenset[str]) -> tuple[frozenset[str], frozenset[str]]:
    """The dialects for which an `if` is taken, and for which it is not."""
    match test:
        case ast.Compare(left=left, ops=[ast.Eq() | ast.NotEq() as operator], comparators=[ast.Constant(value=str() as name)]):
            if ast.unparse(left).endswith("dialect.name") or ast.unparse(left) == "dialect":
                named = frozenset({SQLITE if name == "sqlite" else OTHER})
                rest = BOTH - named
                then, otherwise = (named, rest) if isinstance(operator, ast.Eq) else (rest, named)
                return dialects & then, dialects & otherwise
    return dialects, dialects


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
