"""Databases for tests: made by the migrations, never by create_all."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bms_iot.schema import commands
from bms_iot.storage.database import Database, open_database


def make_database(directory: Path) -> str:
    """The URL of a fresh SQLite database at head."""
    url = f"sqlite+aiosqlite:///{directory / 'bms_bacnet.db'}"
    commands.upgrade(url)
    return url


@asynccontextmanager
async def fresh_database(directory: Path) -> AsyncIterator[Database]:
    """A fresh SQLite database at head, open."""
    async with open_database(make_database(directory)) as database:
        yield database
