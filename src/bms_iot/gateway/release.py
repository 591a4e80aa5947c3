"""Release overrides at the end of their leases, and at the start those that an earlier start left."""

import asyncio
from dataclasses import dataclass

import structlog

from bms_iot.domain.ports import Clock, ControllerNetwork
from bms_iot.domain.writing import PointWrite, WriteOutcome, WriteState
from bms_iot.errors import BacnetError
from bms_iot.gateway.image import CurrentImage
from bms_iot.gateway.lanes import Lanes
from bms_iot.gateway.persist import Persist
from bms_iot.gateway.state import GatewayState
from bms_iot.storage import leases
from bms_iot.storage.database import Database
from bms_iot.storage.leases import Lease

log = structlog.get_logger()

RETRY_SECONDS, RETRY_MAX_SECONDS = 2.0, 60.0
LOOKS_EVERY_SECONDS = 60.0
AT_ONCE = 16

Key = tuple[str, int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Retry:
    """When a release that failed is tried again, and how long is waited after that."""

    due: float
    pause: float


class Release:
    """Relinquishes what leases hold. It needs neither the broker nor the time of day: leases count on the monotonic clock.

    What a newer command wrote at the same priority of the same point is not released: its journalling ends the lease.
    """

    def __init__(
        self,
        *,
        network: ControllerNetwork,
        database: Database,
        image: CurrentImage,
        lanes: Lanes,
        clock: Clock,
        state: GatewayState,
    ) -> None:
        self._network, self._image, self._lanes = network, image, lanes
        self._database = Persist(database, clock)
        self._clock, self._state = clock, state
        self._ends: dict[Key, float] = {}
        self._retries: dict[Key, _Retry] = {}
        self._busy: set[Key] = set()
        self._changed = asyncio.Event()

    def hold(self, lease: Lease, *, until: float) -> None:
        """Release it at `until` on the monotonic clock."""
        self._ends[lease.key] = until
        self._changed.set()

    def wake(self) -> None:
        """Leases have changed."""
        self._changed.set()

    async def run(self) -> None:
        """Release until cancelled."""
        limit = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._changed.clear()
                active = await self._database.read(leases.active)
                self._forget_others(active)
                now = self._clock.monotonic()
                idle = [lease for lease in active if lease.key not in self._busy]
                for lease in idle:
                    if self._due_at(lease) <= now:
                        self._busy.add(lease.key)
                        tasks.create_task(self._release(lease, limit), name="release")
                next_at = min((due for due in map(self._due_at, idle) if due > now), default=now + LOOKS_EVERY_SECONDS)
                await self._pause(min(next_at - now, LOOKS_EVERY_SECONDS))

    def _due_at(self, lease: Lease) -> float:
        """On the monotonic clock: at once for what an earlier start left, never for what is being written just now."""
        if (retry := self._retries.get(lease.key)) is not None:
            return retry.due
        if lease.boot != self._state.boot:
            return 0.0
        return self._ends.get(lease.key, float("inf"))

    def _forget_others(self, active: list[Lease]) -> None:
        """Of leases that are over nothing is remembered; one that is put back has its row again before this is called."""
        known = {lease.key for lease in active}
        self._retries = {key: retry for key, retry in self._retries.items() if key in known}
        if len(self._ends) > len(known) + AT_ONCE:
            now = self._clock.monotonic()
            self._ends = {key: end for key, end in self._ends.items() if key in known or end > now}

    async def _release(self, lease: Lease, limit: asyncio.Semaphore) -> None:
        try:
            async with limit:
                await self._try(lease)
        finally:
            self._busy.discard(lease.key)
            self._changed.set()

    async def _try(self, lease: Lease) -> None:
        point = next((p for p in self._image.points() if p.iot_device_point_id == lease.iot_device_point_id), None)
        if point is None:
            await self._failed(lease, "the point is not known any more")
            return
        async with self._lanes.of(point.device):
            now_there = await self._database.read(leases.active_at, *lease.place)
            if now_there is None or now_there.key != lease.key or self._due_at(lease) > self._clock.monotonic():
                return
            write = PointWrite(point=point, value=None, priority=lease.priority)
            try:
                (outcome,) = await self._network.write_points(point.device, [write])
            except BacnetError as error:
                await self._failed(lease, str(error))
                return
            if outcome.state is WriteState.DONE:
                await self._released(lease, outcome)
            else:
                await self._failed(lease, outcome.reason)

    async def _released(self, lease: Lease, outcome: WriteOutcome) -> None:
        said = {"released": True, "message": outcome.reason, "after": outcome.after}
        await self._database.write(leases.end, lease.place, said, self._clock.now())
        self._ends.pop(lease.key, None)
        self._retries.pop(lease.key, None)
        self._report(lease, overdue=False)
        log.info("lease_released", **_named(lease), attempts=lease.attempts + 1, reason=outcome.reason)

    async def _failed(self, lease: Lease, reason: str) -> None:
        before = self._retries.get(lease.key)
        pause = RETRY_SECONDS if before is None else min(before.pause * 2, RETRY_MAX_SECONDS)
        self._retries[lease.key] = _Retry(due=self._clock.monotonic() + pause, pause=pause)
        await self._database.write(leases.note_failure, lease, reason, self._clock.now())
        self._report(lease, overdue=True)
        log.warning("lease_not_released", **_named(lease), attempts=lease.attempts + 1, reason=reason, retry_seconds=pause)

    def _report(self, lease: Lease, *, overdue: bool) -> None:
        """The heartbeat tells how many overrides ought to be released and are not."""
        before = len(self._state.overdue_leases)
        (self._state.overdue_leases.add if overdue else self._state.overdue_leases.discard)(lease.place)
        if len(self._state.overdue_leases) != before:
            self._state.changed.set()

    async def _pause(self, seconds: float) -> None:
        """Until then, or until there is a new lease."""
        waits = [asyncio.ensure_future(self._clock.sleep(max(0.0, seconds))), asyncio.ensure_future(self._changed.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)


def _named(lease: Lease) -> dict[str, object]:
    return {"point": lease.iot_device_point_id, "priority": lease.priority, "command_id": lease.command_id}
