"""What delivery wears the disk: 1,000 points every 10 s, 20 % changing at each poll, for half an hour of a clock that hurries."""

import asyncio
import gzip
import os
import random
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from benchmarks.record import publish, table
from bms_iot.domain.configuration import ConfiguredDevice, ConfiguredObject, Deployment
from bms_iot.domain.delivery import Bounds, HistoryBounds
from bms_iot.domain.points import Device, DeviceAddress, ObjectIdentifier, ObjectType
from bms_iot.domain.ports import Broker, Message
from bms_iot.domain.readings import Condition, Quality, Reading
from bms_iot.gateway.flows import first_failure
from bms_iot.gateway.image import CurrentImage
from bms_iot.gateway.monitor import keep_configuration
from bms_iot.gateway.prune import Prune
from bms_iot.gateway.publish import Publish
from bms_iot.gateway.record import Record
from bms_iot.gateway.spare import Spare
from bms_iot.gateway.state import GatewayState
from bms_iot.gateway.store import Store
from bms_iot.mqtt.topics import Topics
from bms_iot.schema import commands
from bms_iot.storage.database import Database, open_database
from bms_iot.storage.outbox import Outbox

MINUTES = float(os.environ.get("BMS_BENCH_MINUTES", "30"))
HURRY = float(os.environ.get("BMS_BENCH_HURRY", "10"))
DEVICES, POINTS, INTERVAL, CHANGING = 20, 50, 10.0, 0.2
DAY = 86_400
NORMAL = Condition(quality=Quality.GOOD, event_state="normal", out_of_service=False, reliability="no-fault-detected")


class RealClock:
    """`domain.ports.Clock`, `hurry` times as fast as time."""

    def __init__(self, hurry: float = 1.0) -> None:
        self._hurry, self._began, self._start = hurry, time.monotonic(), datetime.now(UTC)

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self.monotonic())

    @property
    def is_trusted(self) -> bool:
        return True

    def monotonic(self) -> float:
        return (time.monotonic() - self._began) * self._hurry

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self._hurry)


@dataclass
class Taker:
    """A broker that takes everything at once."""

    messages: int = 0
    octets: int = 0
    gzipped: int = 0
    is_connected: bool = True
    protocol: str | None = "5"
    _never: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait_connected(self) -> None: ...

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False, content_type: str | None = None) -> None:
        await asyncio.sleep(0.01 / HURRY)
        self.messages += 1
        self.octets += len(payload)
        self.gzipped += len(gzip.compress(payload, 6))

    async def receive(self) -> Message:
        await self._never.wait()
        raise AssertionError

    def acknowledge(self, message: Message) -> None: ...

    def renew(self) -> None: ...


@dataclass(kw_only=True)
class Site:
    """What delivers, and what it delivers."""

    database: Database
    outbox: Outbox
    store: Store
    record: Record
    publish: Publish
    prune: Prune
    clock: RealClock
    devices: list[list[int]]


def main(*, record: bool) -> None:
    with tempfile.TemporaryDirectory(dir=os.environ.get("BMS_BENCH_DIRECTORY")) as directory:
        publish("performance.md", "wear", table(asyncio.run(_measure(Path(directory)))), record=record)


@asynccontextmanager
async def open_delivery(directory: Path, *, devices: int, points: int, clock: RealClock, broker: Broker) -> AsyncIterator[Site]:
    """Everything between a poll and the broker."""
    url = f"sqlite+aiosqlite:///{directory / 'bms_bacnet.db'}"
    commands.upgrade(url)
    state = GatewayState(
        deployment=Deployment(organization_id="org_bench", site_id="site", device_id="gateway"), boot=1, started_at=clock.now(),
        version="bench", schema_revision="head",
    )  # fmt: skip
    topics = Topics(organization_id="org_bench", site_id="site", iot_device_id="gateway")
    async with open_database(url) as database:
        _, stored = await database.write(keep_configuration, [_configured(n, points) for n in range(1, devices + 1)], clock.now())
        outbox, image = Outbox(database, 1, Bounds()), CurrentImage(stored)
        await outbox.open()
        record = Record(database=database, image=image, clock=clock, bounds=HistoryBounds())
        store = Store(
            database=database, outbox=outbox, image=image, record=record, spare=Spare(rules=(), clock=clock, state=state),
            clock=clock, state=state, image_interval=60.0, commit_seconds=10.0, max_payload_bytes=131_072,
        )  # fmt: skip
        publisher = Publish(
            broker=broker, outbox=outbox, image=image, topics=topics, clock=clock, state=state, drain_readings_per_second=4000,
            max_payload_bytes=131_072,
        )  # fmt: skip
        ids = [s.point.id for s in stored]
        yield Site(
            database=database, outbox=outbox, store=store, record=record, publish=publisher, clock=clock,
            prune=Prune(database=database, outbox=outbox, record=record, clock=clock),
            devices=[ids[at : at + points] for at in range(0, len(ids), points)],
        )  # fmt: skip


def _configured(instance: int, points: int) -> ConfiguredDevice:
    objects = (ObjectIdentifier(type=ObjectType.ANALOG_INPUT, instance=number) for number in range(points))
    return ConfiguredDevice(
        device=Device(address=DeviceAddress(host=f"10.0.0.{instance}"), instance=instance, controller_id=f"controller-{instance}"),
        objects=tuple(ConfiguredObject(object=known, iot_device_point_id=None) for known in objects),
    )


async def _measure(directory: Path) -> dict[str, str]:
    broker = Taker()
    async with open_delivery(directory, devices=DEVICES, points=POINTS, clock=RealClock(HURRY), broker=broker) as site:
        process = psutil.Process()
        before, began = process.io_counters().write_bytes, site.clock.monotonic()
        flows = asyncio.create_task(
            first_failure(
                site.store.run(), site.record.run(), site.publish.run(), site.prune.run(),
                *(poll(site, n) for n in range(len(site.devices))),
            )
        )  # fmt: skip
        await site.clock.sleep(MINUTES * 60)
        flows.cancel()
        await asyncio.wait((flows,))
        seconds = site.clock.monotonic() - began
        written = process.io_counters().write_bytes - before
        payload = await site.database.read(_payload_bytes)
        return {
            "points, interval, changing at each poll": f"{DEVICES * POINTS:,}, {INTERVAL:g} s, {CHANGING:.0%}",
            "measured": f"{seconds / 60:.0f} minutes, {HURRY:g} times as fast",
            "readings delivered": f"{site.publish.delivered:,} of {site.outbox.committed:,}",
            "outbox": f"{payload / site.outbox.committed:.1f} octets a reading",
            "written to disk in all, checkpoints included": f"{written / seconds * DAY / 1e9:.3f} GB a day",
            "payload on the wire": f"{broker.octets / seconds * DAY / 1e9:.2f} GB a day in {broker.messages:,} messages",
            "the same where it is compressed": f"{broker.gzipped / seconds * DAY / 1e9:.2f} GB a day",
        }


async def poll(site: Site, number: int) -> None:
    source = random.Random(number)
    ids = site.devices[number]
    values = [round(source.uniform(15, 30), 1) for _ in ids]
    due = site.clock.monotonic() + number * INTERVAL / len(site.devices)
    while True:
        await site.clock.sleep(max(0.0, due - site.clock.monotonic()))
        due += INTERVAL
        now = site.clock.now()
        for at in source.sample(range(len(ids)), int(len(ids) * CHANGING)):
            values[at] = round(values[at] + source.choice((-0.3, -0.2, -0.1, 0.1, 0.2, 0.3)), 1)
        await site.store.put([Reading.of(i, now, str(value), NORMAL, None) for i, value in zip(ids, values, strict=True)])


async def _payload_bytes(connection: AsyncConnection) -> int:
    return int((await connection.execute(text("SELECT sum(length(payload)) FROM outbox"))).scalar_one())
