"""A gateway over a real database, with fakes at its two network edges and a clock that the test owns."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from bms_iot.domain.classes import ClassRule, PointPattern
from bms_iot.domain.configuration import ConfiguredDevice, ConfiguredObject, Deployment, Reader
from bms_iot.domain.delivery import Bounds, HistoryBounds
from bms_iot.domain.points import Device, DeviceAddress, ObjectIdentifier, ObjectType, Point
from bms_iot.domain.reporting import ReportRule
from bms_iot.domain.schedule import Pace
from bms_iot.domain.subscriptions import CovTerms
from bms_iot.gateway.beat import Beat
from bms_iot.gateway.commanding import compose_execute
from bms_iot.gateway.configure import Configure
from bms_iot.gateway.date import Date
from bms_iot.gateway.gateway import Gateway
from bms_iot.gateway.image import CurrentImage
from bms_iot.gateway.monitor import Monitor, keep_configuration
from bms_iot.gateway.poll import Poll
from bms_iot.gateway.prune import Prune
from bms_iot.gateway.publish import Publish
from bms_iot.gateway.readers import Readers
from bms_iot.gateway.record import Record
from bms_iot.gateway.remember import Remember
from bms_iot.gateway.spare import Spare
from bms_iot.gateway.state import GatewayState
from bms_iot.gateway.store import Store
from bms_iot.gateway.subscribe import Subscribe
from bms_iot.gateway.watch import Watch
from bms_iot.mqtt.topics import Topics
from bms_iot.sections import UploadSettings, WritesSettings
from bms_iot.storage.configuration import next_boot
from bms_iot.storage.database import Database
from bms_iot.storage.early_dates import EarlyDatesFile
from bms_iot.storage.outbox import Outbox
from tests.clock import VirtualClock
from tests.fakes import FakeBroker, FakeNetwork

DEPLOYMENT = Deployment(organization_id="org_test", site_id="site", device_id="gateway")
BASE = "iot/global/org_test/site/gateway"


def configured(
    instance: int, *objects: tuple[ObjectType, int], host: str | None = None, controller: str | None = None
) -> ConfiguredDevice:
    """A device of that instance with these objects, none of which has a key yet."""
    return ConfiguredDevice(
        device=Device(
            address=DeviceAddress(host=host or f"10.0.0.{instance % 250}"),
            instance=instance,
            controller_id=controller or f"controller-{instance}",
        ),
        objects=tuple(ConfiguredObject(object=ObjectIdentifier(type=t, instance=i), iot_device_point_id=None) for t, i in objects),
    )


@dataclass
class Running:
    """A gateway that runs, and what surrounds it."""

    gateway: Gateway
    monitor: Monitor
    outbox: Outbox
    image: CurrentImage
    database: Database
    network: FakeNetwork
    broker: FakeBroker
    clock: VirtualClock
    readers: Readers
    task: asyncio.Task[None]

    @property
    def state(self) -> GatewayState:
        return self.gateway.state

    async def until(self, holds: Callable[[], bool]) -> None:
        """Let what is under way (a database in its thread) come to the point where this holds; the clock stands still."""
        async with asyncio.timeout(10):
            while not holds():
                await asyncio.sleep(0.005)

    async def poll_round(self, seconds: float = 10.0) -> None:
        """Let one interval pass, in steps, so that what waits for the database is not overtaken by the clock."""
        for _ in range(int(seconds / 0.5)):
            await self.clock.advance(0.5)
            await asyncio.sleep(0.01)
            while any(getattr(task.get_coro(), "__name__", "") == Database._work.__name__ for task in asyncio.all_tasks()):
                await asyncio.sleep(0.001)

    def bulk(self) -> list[dict[str, Any]]:
        return [json.loads(payload) for topic, payload, _ in self.broker.published if topic == f"{BASE}/bulk"]

    def on(self, topic: str) -> list[dict[str, Any]]:
        return [json.loads(payload) for name, payload, _ in self.broker.published if name == f"{BASE}/{topic}"]


@asynccontextmanager
async def running_gateway(
    database: Database,
    directory: Path,
    devices: Sequence[ConfiguredDevice],
    *,
    connected: bool = True,
    upload: UploadSettings | None = None,
    rules: Sequence[ClassRule] = (),
    cov: Sequence[PointPattern] = (),
    wrong_time: timedelta | None = None,
    writes: WritesSettings | None = None,
    value: Callable[[Point], str | None] | None = None,
    bounds: Bounds | None = None,
    report: Sequence[ReportRule] = (),
) -> AsyncIterator[Running]:
    """The verbs wired together as the composition root wires them; cancelled on leaving."""
    clock, broker = VirtualClock(), FakeBroker(is_connected=connected)
    if wrong_time is not None:
        clock.forget_the_time(wrong_time)
    network = FakeNetwork(clock)
    if value is not None:
        network.value = value
    boot = await database.write(next_boot, floor=0, version="test", now=clock.now())
    if devices:
        await database.write(keep_configuration, devices, clock.now())
    state = GatewayState(deployment=DEPLOYMENT, boot=boot, started_at=clock.now(), version="test", schema_revision="head")
    topics = Topics(organization_id="org_test", site_id="site", iot_device_id="gateway")
    outbox, image = Outbox(database, boot, bounds or Bounds()), CurrentImage()
    outbox.dates = lambda: state.dates
    await outbox.open()
    async with Readers(lambda _reader: _opened(network)) as readers:
        await readers.use([Reader(id="r", host="10.0.0.1")])
        record = Record(database=database, image=image, clock=clock, bounds=HistoryBounds())
        store = Store(
            database=database, outbox=outbox, image=image, record=record, spare=Spare(rules=report, clock=clock, state=state),
            clock=clock, state=state, image_interval=60.0, commit_seconds=10.0, max_payload_bytes=131_072,
        )  # fmt: skip
        poll = Poll(
            network=readers,
            store=store,
            clock=clock,
            pace=Pace(interval=10.0, optional_interval=3600.0, backoff_max=40.0),
            state=state,
        )
        monitor = Monitor(database=database, image=image, poll=poll, clock=clock, state=state, rules=rules)
        await monitor.open()
        remember = Remember(network=readers, poll=poll, database=database, clock=clock)
        await remember.recall()
        configure = Configure(
            database=database,
            readers=readers,
            monitor=monitor,
            clock=clock,
            state=state,
            upload=upload or UploadSettings(patience_seconds=0.1),
        )
        date = Date(
            clock=clock, store=store, image=image, record=record, state=state, file=EarlyDatesFile(directory),
            newest_seq=lambda: outbox.newest()[1],
        )  # fmt: skip
        date.open()
        publish = Publish(
            broker=broker, outbox=outbox, image=image, topics=topics, clock=clock, state=state, drain_readings_per_second=4000,
            max_payload_bytes=131_072,
        )  # fmt: skip
        gateway = Gateway(
            poll=poll,
            monitor=monitor,
            watch=Watch(network=readers, poll=poll, monitor=monitor, clock=clock, state=state),
            remember=remember,
            subscribe=Subscribe(
                network=readers, monitor=monitor, poll=poll, store=store, image=image, clock=clock, state=state, terms=CovTerms(),
                patterns=cov,
            ),
            store=store,
            record=record,
            meter=None,
            publish=publish,
            execute=compose_execute(
                writes or WritesSettings(), broker=broker, topics=topics, database=database, network=readers, image=image,
                monitor=monitor, configure=configure, publish=publish, clock=clock, state=state,
            ),
            beat=Beat(
                broker=broker, database=database, outbox=outbox, topics=topics, clock=clock, state=state, every_seconds=30.0,
                data_directory=directory,
            ),
            prune=Prune(database=database, outbox=outbox, record=record, clock=clock),
            date=date,
            broker=broker,
            database=database,
            readers=readers,
            state=state,
        )  # fmt: skip
        task = asyncio.create_task(gateway.run())
        running = Running(gateway, monitor, outbox, image, database, network, broker, clock, readers, task)
        try:
            yield running
        finally:
            task.cancel()
            ticking = asyncio.create_task(_tick(clock))
            await asyncio.wait((task,), timeout=20)
            ticking.cancel()
            assert task.done()
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error


async def _tick(clock: VirtualClock) -> None:
    while True:
        await clock.advance(0.1)
        await asyncio.sleep(0.005)


@asynccontextmanager
async def _opened(network: FakeNetwork) -> AsyncIterator[FakeNetwork]:
    yield network
