"""Keep what only grows inside its bounds."""

import structlog

from bms_iot.domain.ports import Clock
from bms_iot.errors import DatabaseLocked
from bms_iot.gateway.record import Record
from bms_iot.storage import commands, configuration, leases
from bms_iot.storage.database import Database
from bms_iot.storage.outbox import Outbox

log = structlog.get_logger()

EVERY_SECONDS = 60.0
ROUNDS_AN_HOUR = 60


class Prune:
    """Forgets old messages each minute, old history, configurations, boots, answered commands and ended leases each hour."""

    def __init__(self, *, database: Database, outbox: Outbox, record: Record, clock: Clock) -> None:
        self._database, self._outbox, self._record, self._clock = database, outbox, record, clock

    async def run(self) -> None:
        """Prune until cancelled."""
        rounds = 0
        while True:
            try:
                await self._outbox.prune(self._clock.now())
                if rounds % ROUNDS_AN_HOUR == 0:
                    await self._record.prune(self._clock.now())
                    await self._database.write(configuration.prune)
                    await self._database.write(commands.prune, self._clock.now())
                    await self._database.write(leases.prune, self._clock.now())
            except DatabaseLocked as error:  # somebody makes a copy, perhaps; there is no hurry
                log.info("pruning_put_off", reason=str(error))
            else:
                rounds += 1
            await self._clock.sleep(EVERY_SECONDS)
