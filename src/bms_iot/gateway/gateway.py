"""The running gateway: its verbs as named tasks of one TaskGroup."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import structlog

from bms_iot.domain.ports import Broker
from bms_iot.errors import RestartRequested
from bms_iot.gateway.beat import Beat
from bms_iot.gateway.date import Date
from bms_iot.gateway.execute import Execute
from bms_iot.gateway.meter import Meter
from bms_iot.gateway.mirror import Mirror
from bms_iot.gateway.monitor import Monitor
from bms_iot.gateway.poll import Poll
from bms_iot.gateway.prune import Prune
from bms_iot.gateway.publish import Publish
from bms_iot.gateway.readers import Readers
from bms_iot.gateway.record import Record
from bms_iot.gateway.remember import Remember
from bms_iot.gateway.state import GatewayState
from bms_iot.gateway.store import Store
from bms_iot.gateway.subscribe import Subscribe
from bms_iot.gateway.watch import Watch
from bms_iot.storage.database import Database

log = structlog.get_logger()

STOP_PATIENCE_SECONDS, FAREWELL_SECONDS = 1.0, 0.7
DRAIN_SECONDS = 1.5
"""How long a stop waits for what is already read to be delivered; the rest is delivered after the next start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """Everything that runs. A task that raises something unexpected ends the process; the supervisor starts it again."""

    poll: Poll
    monitor: Monitor
    watch: Watch
    remember: Remember
    subscribe: Subscribe
    store: Store
    record: Record
    meter: Meter | None
    publish: Publish
    execute: Execute
    beat: Beat
    prune: Prune
    date: Date
    broker: Broker
    database: Database
    readers: Readers
    state: GatewayState
    mirror: Mirror | None = None

    async def run(self) -> None:
        """Run until cancelled: then stop reading, keep and deliver what was read, and say `offline`.

        Returns when the command `reboot` asked for a restart, with `state.restart` set.
        """
        try:
            await self._run()
        except* RestartRequested:
            self.state.restart = True

    async def _run(self) -> None:
        log.info("gateway_started", boot=self.state.boot, version=self.state.version, schema_revision=self.state.schema_revision)
        try:
            async with asyncio.TaskGroup() as delivery:
                delivery.create_task(self.store.run(), name="store")
                delivery.create_task(self.record.run(), name="record")
                if self.meter is not None:
                    delivery.create_task(self.meter.run(), name="meter")
                delivery.create_task(self.publish.run(), name="publish")
                try:
                    async with asyncio.TaskGroup() as sources:
                        sources.create_task(self.poll.run(), name="poll")
                        sources.create_task(self.subscribe.run(), name="subscribe")
                        sources.create_task(self.monitor.run(), name="monitor")
                        sources.create_task(self.watch.run(), name="watch")
                        sources.create_task(self.remember.run(), name="remember")
                        sources.create_task(self.execute.run(), name="execute")
                        sources.create_task(self.beat.run(), name="beat")
                        sources.create_task(self.date.run(), name="date")
                        if self.mirror is not None:
                            sources.create_task(self.mirror.run(), name="mirror")
                        sources.create_task(self.prune.run(), name="prune")
                        sources.create_task(self.readers.keep_open(), name="readers")
                finally:
                    await self._stop()
        finally:
            log.info("gateway_stopped", boot=self.state.boot, **self.publish.account())

    async def _stop(self) -> None:
        self.database.patience_seconds = STOP_PATIENCE_SECONDS
        await self.store.flush()
        if not self.broker.is_connected:
            return
        if not await _ended_within(DRAIN_SECONDS, self.publish.drained()):
            log.info("stopped_with_backlog", **self.publish.account())
        if not await _ended_within(FAREWELL_SECONDS, self.beat.announce_offline()):
            log.warning("offline_not_announced", reason="the broker did not acknowledge in time")


async def _ended_within(seconds: float, work: Coroutine[Any, Any, None]) -> bool:
    """Whether it came to its end in time. Not asyncio.timeout, which Python 3.11 does not keep inside a cancelled task."""
    task = asyncio.create_task(work)
    done, _ = await asyncio.wait((task,), timeout=seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return bool(done)
