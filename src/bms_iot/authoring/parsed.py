"""A revision as its source says it, and what the rules ask of it."""

import ast
from dataclasses import dataclass

from bms_iot.authoring.calls import Call
from bms_iot.authoring.facts import Facts, Table
from bms_iot.authoring.kinds import Kind

REBUILT = "_alembic_tmp_"
"""How the table is called that takes another's place."""


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


def earlier(calls: list[Call], call: Call) -> list[Call]:
    return calls[: calls.index(call)]


def is_rebuild(calls: list[Call], drop: Call) -> bool:
    """Whether the dropped table comes back under its name."""
    return any(c.name == "rename_table" and c.text("new_table_name") == drop.table for c in calls)


def is_refused(calls: list[Call], call: Call, column: str | None) -> bool:
    """Whether rows were refused before; a condition that is put together at run time is trusted."""
    for before in earlier(calls, call):
        if before.name == "refuse_loss":
            return True
        if before.name == "refuse_rows" and before.table_source == call.table_source:
            condition = before.text("condition")
            if column is None or condition is None or column in condition:
                return True
    return False


def type_at(facts: Facts, table: str | None, column: str | None) -> Kind | None:
    known: Table | None = facts.tables.get(table or "")
    return known.columns.get(column or "") if known else None
