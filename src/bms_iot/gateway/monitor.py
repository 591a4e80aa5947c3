"""What is monitored: on or off, and which points. Both survive a restart."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from bms_iot.domain.classes import ClassRule, PollingClass, choose, object_name
from bms_iot.domain.configuration import ConfiguredDevice, Place
from bms_iot.domain.health import MonitoringStatus
from bms_iot.domain.points import Device, DeviceAddress, Point
from bms_iot.domain.ports import Clock
from bms_iot.gateway.discover import devices_of, moved_to
from bms_iot.gateway.image import CurrentImage
from bms_iot.gateway.poll import Poll
from bms_iot.gateway.state import GatewayState
from bms_iot.storage.classes import load_classes
from bms_iot.storage.configuration import distinct, load_configuration, load_monitoring, save_configuration, save_monitoring
from bms_iot.storage.database import Database
from bms_iot.storage.points import StoredPoint, load_points, register

log = structlog.get_logger()

CHOICES_EVERY_SECONDS = 30.0
NO_PROPERTIES: Mapping[str, object] = MappingProxyType({})


class Monitor:
    """Starts, stops and re-plans polling."""

    def __init__(
        self,
        *,
        database: Database,
        image: CurrentImage,
        poll: Poll,
        clock: Clock,
        state: GatewayState,
        rules: Sequence[ClassRule] = (),
    ) -> None:
        self._database, self._image, self._poll, self._clock, self._state = database, image, poll, clock, state
        self._rules = rules
        self._planned: Sequence[StoredPoint] = ()
        self._configured: Sequence[ConfiguredDevice] = ()
        self._on_site: dict[str, PollingClass] = {}
        self._changing = asyncio.Lock()
        self.on_plan: Callable[[], None] = lambda: None
        """Called when other points are to be read, or monitoring was started or stopped."""

    async def open(self) -> None:
        """Take up what was configured: the newest configuration, or every known point where there is none."""
        taken = await self._database.write(_take_up, self._clock.now())
        self._image.learn(taken.known)
        self._state.is_monitoring = taken.monitoring is not MonitoringStatus.STOPPED
        self._on_site = taken.on_site
        self._plan(taken.planned, taken.configuration)

    async def run(self) -> None:
        """Take up what is chosen on site meanwhile, until cancelled."""
        while True:
            await self._clock.sleep(CHOICES_EVERY_SECONDS)
            on_site = await self._database.read(load_classes)
            if on_site != self._on_site:
                self._on_site = on_site
                self._replan()

    async def configuration(self) -> list[ConfiguredDevice]:
        return await self._database.read(load_configuration)

    async def reconfigure(self, devices: Sequence[ConfiguredDevice]) -> list[ConfiguredDevice]:
        """Keep this configuration (at least one device) and poll by it; it comes back with every point's key."""
        async with self._changing:
            return await self._keep(devices)

    async def _keep(self, devices: Sequence[ConfiguredDevice]) -> list[ConfiguredDevice]:
        keyed, stored = await self._database.write(keep_configuration, devices, self._clock.now())
        self._plan(stored, keyed)
        return keyed

    def planned(self) -> list[tuple[Point, str | None]]:
        """The points that are read, each with its object-name as discovery saw it."""
        said = properties_by_place(self._configured)
        return [(row.point, object_name(said.get(place_of(row.point), NO_PROPERTIES))) for row in self._planned]

    def find(self, iot_device_point_id: str) -> tuple[Point, str | None] | None:
        """The point of this key among those that are read, and its object-name as discovery saw it."""
        point = next((row.point for row in self._planned if row.point.iot_device_point_id == iot_device_point_id), None)
        if point is None:
            return None
        of_device = [c for c in self._configured if (c.device.controller_id, c.device.instance) == place_of(point)[:2]]
        return point, object_name(properties_by_place(of_device).get(place_of(point), NO_PROPERTIES))

    def vendor_of(self, device: Device) -> int | None:
        """The vendor as it was seen when the device was configured."""
        place = device.controller_id, device.instance
        return next((c.device.vendor_id for c in self._configured if (c.device.controller_id, c.device.instance) == place), None)

    async def move(self, device: Device, address: DeviceAddress) -> None:
        """Read a device at another address from now on, also after a restart; its points keep their rows, keys and history."""
        place = device.controller_id, device.instance
        async with self._changing:
            devices = self._configured or devices_of([row.point for row in self._planned])
            await self._keep(
                [
                    replace(c, device=moved_to(c.device, address)) if (c.device.controller_id, c.device.instance) == place else c
                    for c in devices
                ]
            )

    async def start(self) -> None:
        await self._set(MonitoringStatus.ACTIVE)

    async def stop(self) -> None:
        await self._set(MonitoringStatus.STOPPED)

    async def _set(self, status: MonitoringStatus) -> None:
        await self._database.write(save_monitoring, self._state.deployment, status, self._clock.now())
        self._state.is_monitoring = status is MonitoringStatus.ACTIVE
        self._state.changed.set()
        self._poll.resume()
        self.on_plan()

    def _plan(self, stored: Sequence[StoredPoint], devices: Sequence[ConfiguredDevice]) -> None:
        self._image.learn(stored)
        self._planned, self._configured = stored, devices
        self._replan()
        if not stored:
            log.warning("nothing_to_read", hint="bms-iot bacnet discover --save, or the command get_config")

    def _replan(self) -> None:
        plan: dict[Device, list[Point]] = defaultdict(list)
        classes: dict[int, PollingClass] = {}
        said = properties_by_place(self._configured)
        for point in (row.point for row in self._planned):
            plan[point.device].append(point)
            properties = said.get(place_of(point), NO_PROPERTIES)
            classes[point.id] = choose(point, properties, on_site=self._on_site, rules=self._rules).polling_class
        self._poll.replan(plan, classes)
        self.on_plan()
        self._state.changed.set()
        counts = {known.value: number for known, number in Counter(classes.values()).items()}
        log.info("monitoring_planned", devices=len(plan), points=len(classes), monitoring=self._state.is_monitoring, **counts)


def place_of(point: Point) -> Place:
    """What tells a point of the configuration apart."""
    return point.device.controller_id, point.device.instance, point.object


def properties_by_place(devices: Sequence[ConfiguredDevice]) -> dict[Place, Mapping[str, object]]:
    """What the configuration says of each object."""
    return {
        (configured.device.controller_id, configured.device.instance, wanted.object): wanted.properties
        for configured in devices
        for wanted in configured.objects
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taken:
    """What the database has at the start: every known point, those to be polled, and what is said of them."""

    known: list[StoredPoint]
    planned: list[StoredPoint]
    configuration: list[ConfiguredDevice]
    on_site: dict[str, PollingClass]
    monitoring: MonitoringStatus | None


async def _take_up(connection: AsyncConnection, now: datetime) -> _Taken:
    devices = await load_configuration(connection)
    known = await load_points(connection)
    return _Taken(
        known=known,
        planned=await register(connection, devices, now) if devices else known,
        configuration=devices,
        on_site=await load_classes(connection),
        monitoring=await load_monitoring(connection),
    )


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
