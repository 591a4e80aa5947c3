"""Transactions that have to happen: a disk that is full, or a database that somebody copies, is waited for."""

from collections.abc import Awaitable, Callable
from typing import Concatenate, ParamSpec, TypeVar

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from bms_iot.domain.ports import Clock
from bms_iot.errors import DatabaseLocked, StorageError
from bms_iot.storage.database import Database

log = structlog.get_logger()
P = ParamSpec("P")
T = TypeVar("T")

FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 1.0, 30.0


class Persist:
    """A `Database` that tries again, with pauses that double, until it succeeds; `tries` times where that is given."""

    def __init__(self, database: Database, clock: Clock, *, tries: int | None = None) -> None:
        self._database, self._clock, self._tries = database, clock, tries

    async def write(self, work: Callable[Concatenate[AsyncConnection, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `Database.write`. Raises StorageError, DatabaseLocked after the last of `tries`."""
        return await self._again(lambda: self._database.write(work, *args, **kwargs))

    async def read(self, work: Callable[Concatenate[AsyncConnection, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `Database.read`, and as `write`."""
        return await self._again(lambda: self._database.read(work, *args, **kwargs))

    async def _again(self, once: Callable[[], Awaitable[T]]) -> T:
        pause, tries = FIRST_PAUSE_SECONDS, 0
        while True:
            tries += 1
            try:
                return await once()
            except (StorageError, DatabaseLocked) as error:
                if tries == self._tries:
                    raise
                log.error("database_waited_for", tries=tries, reason=str(error), retry_seconds=pause)
            await self._clock.sleep(pause)
            pause = min(pause * 2, MAX_PAUSE_SECONDS)
