"""The tables, one file each, as they are at head. `metadata()` has all of them, found by walking this package."""

import importlib
import pkgutil

from sqlalchemy import MetaData
from sqlmodel import SQLModel

from bms_iot.errors import SchemaError

# Constraints are found again by name in a later revision, on PostgreSQL as on SQLite: none may be left to the database.
SQLModel.metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


def metadata() -> MetaData:
    """Every table of every module of this package: a file put here is a table known. Raises SchemaError for a broken one."""
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        try:
            importlib.import_module(module.name)
        except Exception as error:  # a file half written may fail in any way, and then nothing may go on without it
            raise SchemaError(f"{module.name} cannot be imported: {type(error).__name__}: {error}") from error
    return SQLModel.metadata
