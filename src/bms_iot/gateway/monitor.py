"""What is monitored: on or off, and which points. Both survive a restart."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from bms_iot.domain.configuration import ConfiguredDevice
from bms_iot.domain.health import MonitoringStatus
from bms_iot.domain.points import Device, Point
from bms_iot.domain.ports import Clock
from bms_iot.gateway.image import CurrentImage
from bms_iot.gateway.poll import Poll
from bms_iot.gateway.state import GatewayState
from bms_iot.storage.configuration import distinct, load_configuration, load_monitoring, save_configuration, save_monitoring
from bms_iot.storage.database import Database
from bms_iot.storage.points import StoredPoint, load_points, register

log = structlog.get_logger()


class Monitor:
    """Starts, stops and re-plans polling."""

    def __init__(self, *, database: Database, image: CurrentImage, poll: Poll, clock: Clock, state: GatewayState) -> None:
        self._database, self._image, self._poll, self._clock, self._state = database, image, poll, clock, state

    async def open(self) -> None:
        """Take up what was configured: the newest configuration, or every known point where there is none."""
        known, planned, monitoring = await self._database.write(_take_up, self._clock.now())
        self._image.learn(known)
        self._state.is_monitoring = monitoring is not MonitoringStatus.STOPPED
        self._plan(planned)

    async def configuration(self) -> list[ConfiguredDevice]:
        return await self._database.read(load_configuration)

    async def reconfigure(self, devices: Sequence[ConfiguredDevice]) -> list[ConfiguredDevice]:
        """Keep this configuration (at least one device) and poll by it; it comes back with every point's key."""
        keyed, stored = await self._database.write(keep_configuration, devices, self._clock.now())
        self._plan(stored)
        return keyed

    async def start(self) -> None:
        await self._set(MonitoringStatus.ACTIVE)

    async def stop(self) -> None:
        await self._set(MonitoringStatus.STOPPED)

    async def _set(self, status: MonitoringStatus) -> None:
        await self._database.write(save_monitoring, self._state.deployment, status, self._clock.now())
        self._state.is_monitoring = status is MonitoringStatus.ACTIVE
        self._state.changed.set()
        self._poll.resume()

    def _plan(self, stored: Sequence[StoredPoint]) -> None:
        self._image.learn(stored)
        plan: dict[Device, list[Point]] = defaultdict(list)
        for row in stored:
            plan[row.point.device].append(row.point)
        self._poll.replan(plan)
        self._state.changed.set()
        if not plan:
            log.warning("nothing_to_read", hint="bms-iot bacnet discover --save, or the command get_config")
        log.info("monitoring_planned", devices=len(plan), points=len(stored), monitoring=self._state.is_monitoring)


async def _take_up(
    connection: AsyncConnection, now: datetime
) -> tuple[list[StoredPoint], list[StoredPoint], MonitoringStatus | None]:
    """Every known point, those to be polled, and whether monitoring was stopped."""
    devices = await load_configuration(connection)
    known = await load_points(connection)
    planned = await register(connection, devices, now) if devices else known
    return known, planned, await load_monitoring(connection)


async def keep_configuration(
    connection: AsyncConnection, devices: Sequence[ConfiguredDevice], now: datetime
) -> tuple[list[ConfiguredDevice], list[StoredPoint]]:
    """Make this (at least one device) the newest configuration; both it and its points come back with every point's key."""
    devices = distinct(devices)
    stored = await register(connection, devices, now)
    keys = {(s.point.device.address, s.point.device.instance, s.point.object): s.point.iot_device_point_id for s in stored}
    keyed = [
        configured.with_keys(
            {o.object: keys[configured.device.address, configured.device.instance, o.object] for o in configured.objects}
        )
        for configured in devices
    ]
    await save_configuration(connection, keyed, now)
    return keyed, stored
