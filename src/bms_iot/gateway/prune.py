"""Keep what only grows inside its bounds."""

from bms_iot.domain.ports import Clock
from bms_iot.storage import configuration
from bms_iot.storage.database import Database

EVERY_SECONDS = 3600.0


class Prune:
    """Forgets old configurations and boots, hourly."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    async def run(self) -> None:
        """Prune until cancelled."""
        while True:
            await self._database.write(configuration.prune)
            await self._clock.sleep(EVERY_SECONDS)
