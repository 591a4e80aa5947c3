"""The package as the gateway sees it: domain values in, domain values out."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from bms_iot.bacnet.counters import Counters
from bms_iot.bacnet.cov.notifications import Notifications
from bms_iot.bacnet.cov.subscriptions import Following
from bms_iot.bacnet.discovery import describe_objects, hear, introduce_heard, read_object_list, who_is
from bms_iot.bacnet.identity import identify, prove
from bms_iot.bacnet.network.addresses import is_broadcast, station_of
from bms_iot.bacnet.network.foreign import parse_bbmd
from bms_iot.bacnet.network.npdu import Station
from bms_iot.bacnet.polling.convert import references_of, to_reading
from bms_iot.bacnet.polling.learned import take_over, to_learned
from bms_iot.bacnet.polling.plans import Plans
from bms_iot.bacnet.polling.poller import read_properties
from bms_iot.bacnet.polling.profile import Profile, Profiles
from bms_iot.bacnet.polling.sweep import Sweeper
from bms_iot.bacnet.services.who_is import WILDCARD_INSTANCE
from bms_iot.bacnet.shown import read_any
from bms_iot.bacnet.transactions.client import Client
from bms_iot.bacnet.writing.write import write_points
from bms_iot.domain.identifiers import AnyObject, AnyProperty, AnyValue
from bms_iot.domain.points import DEFAULT_PORT, Device, DeviceAddress, ObjectIdentifier, Point
from bms_iot.domain.ports import Clock, FoundDevice, ObjectDescription, ObjectList
from bms_iot.domain.profiles import LearnedProfile
from bms_iot.domain.readings import Reading
from bms_iot.domain.subscriptions import CovTerms, Deliver, Report
from bms_iot.domain.writing import PointWrite, WriteOutcome
from bms_iot.errors import DeviceUnreachable


class BacnetNetwork:
    """A `ControllerNetwork` on one UDP port.

    `host` and `port` are ours; `broadcast` and `broadcast_port` (default: `port`) are where broadcasts are sent and heard, None for
    none. With a `bbmd` (IP or IP:PORT) we are a foreign device there, for `bbmd_ttl_seconds` at a time, and broadcast through it as
    well. `timeout_seconds` is for each of `tries`. An async context manager: entering raises TransportError when the port is taken.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int = DEFAULT_PORT,
        broadcast: str | None = None,
        broadcast_port: int | None = None,
        timeout_seconds: float = 3.0,
        tries: int = 3,
        in_flight_per_device: int = 1,
        in_flight_total: int = 256,
        bbmd: str | None = None,
        bbmd_ttl_seconds: int = 300,
        clock: Clock,
    ) -> None:
        self._client = Client(
            host=host,
            port=port,
            broadcast=broadcast,
            broadcast_port=broadcast_port,
            timeout_seconds=timeout_seconds,
            tries=tries,
            in_flight_per_device=in_flight_per_device,
            in_flight_total=in_flight_total,
            bbmd=None if bbmd is None else parse_bbmd(bbmd, bbmd_ttl_seconds),
        )
        self._profiles = Profiles()
        self._clock = clock
        self._plans = Plans()
        self._sweeper = Sweeper(self._client, clock.now)
        introduce_heard(self._client, self._profiles)
        self._notifications = Notifications(self._client)

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, traceback)

    @property
    def counters(self) -> Counters:
        """What has been counted since the start; read it, do not write it."""
        return self._client.counters

    @property
    def address(self) -> tuple[str, int]:
        """The address and port that are bound. Raises TransportError when closed."""
        return self._client.port.address

    @property
    def open_transactions(self) -> int:
        """Requests on their way or waiting for their turn: none when every call has returned."""
        return self._client.open_transactions

    @property
    def registration(self) -> str | None:
        """How our registration with the BBMD stands: `asked`, `registered`, `refused` or `silent`; None without a BBMD."""
        return None if self._client.foreign is None else self._client.foreign.state.value

    async def who_is(
        self, *, low: int | None = None, high: int | None = None, address: DeviceAddress | None = None, wait_seconds: float = 3.0
    ) -> list[FoundDevice]:
        """See `ControllerNetwork`. Raises TransportError when broadcasting is not possible."""
        station = None if address is None else station_of(address)
        return await who_is(self._client, self._profiles, low=low, high=high, station=station, wait_seconds=wait_seconds)

    def listen(self, listener: Callable[[FoundDevice], None]) -> Callable[[], None]:
        """See `ControllerNetwork`."""
        return hear(self._client, listener)

    async def probe(self, device: Device, *, tries: int | None = None) -> None:
        """See `ControllerNetwork`."""
        station, _ = self._known(device)
        await prove(self._client, station, device.instance, tries=tries)

    async def identify(self, address: DeviceAddress) -> int:
        """See `ControllerNetwork`."""
        return await identify(self._client, station_of(address))

    def learned(self, device: Device) -> LearnedProfile | None:
        """See `ControllerNetwork`."""
        try:
            _, profile = self._known(device)
        except DeviceUnreachable:
            return None
        return to_learned(profile, now=self._clock.now(), monotonic=asyncio.get_running_loop().time())

    def recall(self, device: Device, profile: LearnedProfile) -> None:
        """See `ControllerNetwork`."""
        with suppress(DeviceUnreachable):
            _, known = self._known(device)
            take_over(known, profile, now=self._clock.now(), monotonic=asyncio.get_running_loop().time())

    async def read_object_list(self, device: Device) -> ObjectList:
        """See `ControllerNetwork`."""
        station, profile = self._known(device)
        return await read_object_list(self._client, station, profile, device.instance, self._clock.now)

    async def describe_objects(self, device: Device, objects: Sequence[ObjectIdentifier]) -> list[ObjectDescription]:
        """See `ControllerNetwork`."""
        station, profile = self._known(device)
        return await describe_objects(self._client, station, profile, objects, self._clock.now)

    async def read_points(self, device: Device, points: Sequence[Point], *, optional: bool = False) -> Sequence[Reading]:
        """See `ControllerNetwork`."""
        station, profile = self._known(device)
        plan = None if optional else self._plans.of(station, points, profile)
        if plan is not None:
            return await self._sweeper.sweep(station, profile, plan)
        references = [reference for point in points for reference in references_of(point, optional=optional)]
        answers = await read_properties(self._client, station, profile, references, self._clock.now)
        now = self._clock.now()
        return [to_reading(point, answers.outcomes, answers.arrived_at(point.object, now), optional=optional) for point in points]

    async def read_any(self, device: Device, wanted: Sequence[tuple[AnyObject, AnyProperty]]) -> list[AnyValue]:
        """See `ControllerNetwork`."""
        station, profile = self._known(device)
        return await read_any(self._client, station, profile, wanted, self._clock.now)

    async def write_points(self, device: Device, writes: Sequence[PointWrite]) -> list[WriteOutcome]:
        """See `ControllerNetwork`."""
        station, profile = self._known(device)
        return await write_points(self._client, station, profile, writes, self._clock.now)

    async def follow(self, device: Device, points: Sequence[Point], terms: CovTerms, *, deliver: Deliver, report: Report) -> None:
        """See `ControllerNetwork`."""
        station, profile = self._known(device)
        await Following(
            client=self._client,
            notifications=self._notifications,
            station=station,
            profile=profile,
            device=device,
            points=points,
            terms=terms,
            deliver=deliver,
            report=report,
            now=self._clock.now,
        ).run()

    def _known(self, device: Device) -> tuple[Station, Profile]:
        """Raises DeviceUnreachable for what no device can be."""
        if not 0 <= device.instance <= WILDCARD_INSTANCE:
            raise DeviceUnreachable(f"{device.instance} is no device instance", hint="device instances are 0 to 4194302")
        station = station_of(device.address)
        if is_broadcast(station):
            raise DeviceUnreachable(f"{device.address} is more than one device", hint="only Who-Is asks them all")
        return station, self._profiles.of(station, asyncio.get_running_loop().time())
