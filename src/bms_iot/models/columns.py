"""Columns that several tables share."""

import enum
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, Column, Computed, Enum
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class UnixMilliseconds(FunctionElement[int]):
    """`created_at` in whole seconds since 1970, times 1000."""

    name = "unix_milliseconds"
    inherit_cache = True


@compiles(UnixMilliseconds, "sqlite")
def _sqlite(_element: UnixMilliseconds, _compiler: SQLCompiler, **_options: Any) -> str:
    return "(strftime('%s', created_at) * 1000)"


@compiles(UnixMilliseconds, "postgresql")
def _postgresql(_element: UnixMilliseconds, _compiler: SQLCompiler, **_options: Any) -> str:
    return "(floor(EXTRACT(epoch FROM created_at)))::bigint * 1000"


def created_at_milliseconds() -> Column[int]:
    """The generated column `created_at_unix_milli_timestamp`."""
    return Column("created_at_unix_milli_timestamp", BigInteger, Computed(UnixMilliseconds(), persisted=True))


def by_name(members: type[enum.Enum], length: int) -> Enum:
    """A text column that holds the NAME of an enum's member: no native type and no CHECK, so that a new member is no migration."""
    return Enum(members, native_enum=False, create_constraint=False, length=length)


def now() -> datetime:
    """Naive UTC, as all tables store it."""
    return datetime.now(UTC).replace(tzinfo=None)


def naive(moment: datetime) -> datetime:
    """An aware moment as all tables store it: naive UTC."""
    return moment.astimezone(UTC).replace(tzinfo=None)
