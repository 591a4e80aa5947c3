"""The running gateway: its verbs as named tasks of one TaskGroup."""

import asyncio
from dataclasses import dataclass

import structlog

from bms_iot.domain.ports import Broker
from bms_iot.gateway.beat import Beat
from bms_iot.gateway.execute import Execute
from bms_iot.gateway.poll import Poll
from bms_iot.gateway.prune import Prune
from bms_iot.gateway.publish import Publish
from bms_iot.gateway.state import GatewayState
from bms_iot.gateway.store import Store

log = structlog.get_logger()

DRAIN_SECONDS = 2.0
"""How long a stop waits for what is already read to be delivered; the rest is delivered after the next start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """Everything that runs. A task that raises something unexpected ends the process; the supervisor starts it again."""

    poll: Poll
    store: Store
    publish: Publish
    execute: Execute
    beat: Beat
    prune: Prune
    broker: Broker
    state: GatewayState

    async def run(self) -> None:
        """Run until cancelled: then stop reading, keep and deliver what was read, and say `offline`."""
        log.info("gateway_started", boot=self.state.boot, version=self.state.version, schema_revision=self.state.schema_revision)
        try:
            async with asyncio.TaskGroup() as delivery:
                delivery.create_task(self.store.run(), name="store")
                delivery.create_task(self.publish.run(), name="publish")
                try:
                    async with asyncio.TaskGroup() as sources:
                        sources.create_task(self.poll.run(), name="poll")
                        sources.create_task(self.execute.run(), name="execute")
                        sources.create_task(self.beat.run(), name="beat")
                        sources.create_task(self.prune.run(), name="prune")
                finally:
                    await self._stop()
        finally:
            log.info("gateway_stopped", boot=self.state.boot, **self.publish.account())

    async def _stop(self) -> None:
        await self.store.flush()
        if not self.broker.is_connected:
            return
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await self.publish.drained()
        except TimeoutError:
            log.info("stopped_with_backlog", **self.publish.account())
        try:
            async with asyncio.timeout(1.0):
                await self.beat.announce_offline()
        except TimeoutError:
            log.warning("offline_not_announced", reason="the broker did not acknowledge in time")
