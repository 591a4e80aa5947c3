"""How models and database are compared, and how a revision is rendered."""

from typing import Any, Literal

from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Enum
from sqlalchemy.sql.schema import SchemaItem
from sqlmodel.sql.sqltypes import AutoString

from bms_iot.schema import ledger


def include_object(_item: SchemaItem, name: str | None, kind: str, _reflected: bool, _compared: SchemaItem | None) -> bool:
    return not (kind == "table" and name == ledger.NAME)


def render_item(kind: str, item: Any, _context: AutogenContext) -> str | Literal[False]:
    """Plain `sa.*` types: a revision must not import SQLModel, nor freeze the members of an enum that lives on."""
    if kind == "type" and (isinstance(item, AutoString) or (isinstance(item, Enum) and not item.native_enum)):
        return "sa.String()" if item.length is None else f"sa.String(length={item.length})"
    return False


OPTIONS: dict[str, Any] = {
    "compare_type": True,
    "compare_server_default": True,
    "render_as_batch": True,
    "include_object": include_object,
    "render_item": render_item,
    "user_module_prefix": "sa.",
}
"""For `context.configure`."""
