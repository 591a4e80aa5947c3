"""What commands read in the database, whether the gateway runs or not."""

from collections.abc import AsyncIterator
from datetime import datetime

from bms_iot.gateway.points import KnownPoint, known_points, select
from bms_iot.provisioning import check_schema
from bms_iot.settings import Settings
from bms_iot.storage import history, traffic
from bms_iot.storage.database import open_database
from bms_iot.storage.history import Entry
from bms_iot.storage.traffic import DayTraffic


async def read_history(
    settings: Settings, which: str, *, since: datetime, until: datetime
) -> AsyncIterator[tuple[KnownPoint, Entry]]:
    """What the points that `which` means were, point by point, oldest first, as it is read. Raises InvalidInput, SchemaError."""
    check_schema(settings)
    async with open_database(settings.url) as database:
        for known in select(await database.read(known_points, settings.polling.rules), which):
            async for entry in history.read(database, known.point.id, since=since, until=until):
                yield known, entry


async def read_traffic(settings: Settings, days: int) -> list[DayTraffic]:
    """What went over the wire on the newest days, the newest first. Raises SchemaError."""
    check_schema(settings)
    async with open_database(settings.url) as database:
        return await database.read(traffic.load, days)
