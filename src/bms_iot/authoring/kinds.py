"""Column types as a revision's source spells them, and what a change of type loses."""

import ast
from typing import Any

import sqlalchemy as sa

Kind = sa.types.TypeEngine[Any]


def type_of(node: ast.expr | None) -> Kind | None:
    """The SQLAlchemy type that a `sa.String(length=12)` in the source makes; None for what is no such thing."""
    call = node if isinstance(node, ast.Call) else ast.Call(func=node, args=[], keywords=[]) if node else None
    kind = getattr(sa, getattr(call.func, "attr", ""), None) if call else None
    if call is None or not (isinstance(kind, type) and issubclass(kind, sa.types.TypeEngine)):
        return None
    try:
        arguments = [ast.literal_eval(argument) for argument in call.args]
        return kind(*arguments, **{keyword.arg or "": ast.literal_eval(keyword.value) for keyword in call.keywords})
    except (ValueError, TypeError, sa.exc.ArgumentError):
        return None


def loses(old: Kind, new: Kind) -> bool:
    """Whether a value of the old type may not fit the new one."""
    if isinstance(new, sa.String):
        return new.length is not None and not (isinstance(old, sa.String) and old.length is not None and old.length <= new.length)
    if isinstance(new, sa.Integer):
        return not isinstance(old, sa.Boolean | sa.Integer) or _width(old) > _width(new)
    if isinstance(new, sa.Float):
        return not isinstance(old, sa.Float) and not (isinstance(old, sa.Integer) and _width(old) <= 4)
    if isinstance(new, sa.DateTime):
        return not isinstance(old, sa.DateTime | sa.Date)
    return old._type_affinity is not new._type_affinity or isinstance(new, sa.Numeric)


def _width(kind: Kind) -> int:
    return 8 if isinstance(kind, sa.BigInteger) else 2 if isinstance(kind, sa.SmallInteger | sa.Boolean) else 4


def shown(kind: Kind | None) -> str:
    return "a type the source does not say" if kind is None else str(kind)
