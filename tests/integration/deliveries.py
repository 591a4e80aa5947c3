"""What delivers, over a real database, with a broker and a clock that the test owns."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bms_iot.domain.delivery import Bounds, HistoryBounds
from bms_iot.domain.points import ObjectType
from bms_iot.domain.readings import Condition, Quality, Reading
from bms_iot.errors import BrokerUnavailable
from bms_iot.gateway.image import CurrentImage
from bms_iot.gateway.monitor import keep_configuration
from bms_iot.gateway.publish import COMPRESSED, Publish
from bms_iot.gateway.record import Record
from bms_iot.gateway.spare import Spare
from bms_iot.gateway.state import GatewayState
from bms_iot.gateway.store import Store
from bms_iot.mqtt.topics import Topics
from bms_iot.storage.database import Database
from bms_iot.storage.outbox import Outbox
from bms_iot.storage.points import load_points
from tests.clock import VirtualClock
from tests.fakes import FakeBroker
from tests.integration.gateways import DEPLOYMENT, configured

NORMAL = Condition(quality=Quality.GOOD, event_state="normal", out_of_service=False, reliability="no-fault-detected")
POINTS_OF_A_DEVICE = 50


class Listener(FakeBroker):
    """A broker that keeps what it took as the consumer sees it, and when."""

    def __init__(self, clock: VirtualClock, *, is_connected: bool = True) -> None:
        super().__init__(is_connected=is_connected)
        self._clock = clock
        self.took: list[tuple[datetime, dict[str, Any]]] = []
        self.refuses: Callable[[bytes], Exception | None] = lambda _payload: None
        self.hangs_up: Callable[[bytes], bool] = lambda _payload: False
        self.hang_ups = 0
        self.content_types: set[str | None] = set()

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False, content_type: str | None = None) -> None:
        await asyncio.sleep(0)
        if not self.is_connected:
            raise BrokerUnavailable("the broker is away")
        if self.hangs_up(payload):
            self.hang_ups += 1
            self.go()
            asyncio.get_running_loop().call_later(0.01, self.come)
        await asyncio.sleep(0)
        if not self.is_connected:
            raise BrokerUnavailable("the connection was lost before the acknowledgement")
        if error := self.refuses(payload):
            raise error
        self.content_types.add(content_type)
        body = gzip.decompress(payload) if content_type == COMPRESSED else payload
        self.took.append((self._clock.now(), json.loads(body)))

    def messages(self) -> list[dict[str, Any]]:
        return [message for _, message in self.took if "points" in message]

    def gaps(self) -> list[tuple[int, int, int]]:
        """(first_seq, last_seq, readings)"""
        found = [message["gap"] for _, message in self.took if "gap" in message]
        return [(gap["first_seq"], gap["last_seq"], gap["readings"]) for gap in found]

    def seqs(self, boot: int = 1) -> list[int]:
        return [message["seq"] for message in self.messages() if message["boot"] == boot]


@dataclass(kw_only=True)
class Delivery:
    """One start of what delivers."""

    database: Database
    outbox: Outbox
    store: Store
    publish: Publish
    record: Record
    state: GatewayState
    clock: VirtualClock
    broker: Listener
    ids: list[int]
    polls: int = field(default=0)

    async def poll(self, count: int | None = None, text: str = "") -> None:
        """A reading of each point, or of the first `count`, whose value tells which poll it was; kept at once."""
        self.polls += 1
        now = self.clock.now()
        await self.store.put([Reading.of(i, now, text or f"{self.polls}.5", NORMAL, None) for i in self.ids[:count]])
        await self.store.flush()

    async def run_until(
        self, holds: Callable[[], bool], *, step: float = 0.25, seconds: float = 3600.0, polls: bool = False
    ) -> float:
        """Deliver until this holds, with a poll every 10 s where it `polls`; the answer is the time it took, the virtual one."""
        began = self.clock.monotonic()
        due = began + 10.0 if polls else float("inf")
        task = asyncio.create_task(self.publish.run())
        try:
            while not holds():
                assert self.clock.monotonic() - began < seconds
                assert not task.done()
                await self.clock.advance(step)
                await asyncio.sleep(0.01)
                if self.clock.monotonic() >= due:
                    due += 10.0
                    await self.poll()
        finally:
            task.cancel()
            await asyncio.wait((task,))
        return self.clock.monotonic() - began


@asynccontextmanager
async def open_delivery(
    database: Database,
    *,
    devices: int = 1,
    boot: int = 1,
    bounds: Bounds | None = None,
    clock: VirtualClock | None = None,
    broker: Listener | None = None,
    connected: bool = True,
    compresses: bool = False,
) -> AsyncIterator[Delivery]:
    """A start over what earlier ones left; it ends as a crash does, with nothing written down."""
    clock = clock or VirtualClock()
    broker = broker or Listener(clock, is_connected=connected)
    if boot == 1:
        objects = [(ObjectType.ANALOG_INPUT, number) for number in range(POINTS_OF_A_DEVICE)]
        await database.write(keep_configuration, [configured(n, *objects) for n in range(1, devices + 1)], clock.now())
    stored = await database.read(load_points)
    state = GatewayState(deployment=DEPLOYMENT, boot=boot, started_at=clock.now(), version="test", schema_revision="head")
    outbox, image = Outbox(database, boot, bounds or Bounds()), CurrentImage(stored)
    await outbox.open()
    record = Record(database=database, image=image, clock=clock, bounds=HistoryBounds())
    store = Store(
        database=database, outbox=outbox, image=image, record=record, spare=Spare(rules=(), clock=clock, state=state),
        clock=clock, state=state, image_interval=60.0, commit_seconds=10.0, max_payload_bytes=131_072,
    )  # fmt: skip
    publish = Publish(
        broker=broker, outbox=outbox, image=image, clock=clock,
        topics=Topics(organization_id="org_test", site_id="site", iot_device_id="gateway"),
        state=state, drain_readings_per_second=4000, max_payload_bytes=131_072, compresses=compresses,
    )  # fmt: skip
    yield Delivery(
        database=database, outbox=outbox, store=store, publish=publish, record=record, state=state, clock=clock, broker=broker,
        ids=[row.point.id for row in stored],
    )  # fmt: skip
