"""Follow the changes of value that devices report by themselves (COV), beside polling, which goes on slowly for those points."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

import structlog

from bms_iot.domain.classes import PointPattern
from bms_iot.domain.points import Device, Point
from bms_iot.domain.ports import Clock, ControllerNetwork
from bms_iot.domain.readings import Condition, Reading, StatusFlag
from bms_iot.domain.subscriptions import Coverage, CovTerms
from bms_iot.errors import BacnetError
from bms_iot.gateway.image import CurrentImage
from bms_iot.gateway.monitor import Monitor
from bms_iot.gateway.poll import Poll
from bms_iot.gateway.state import GatewayState
from bms_iot.gateway.store import Store

log = structlog.get_logger()

SETTLE_SECONDS = 1.0
"""Changes of coverage come many at once; polling is told so much later."""
RETRY_SECONDS = 30.0
MAX_CHANGES = 20_000
"""So many changes wait for the store; then only the newest of each point do, since memory is small."""

Followed = dict[Device, tuple[Point, ...]]


class Subscribe:
    """Follows the chosen points of the plan: those that a pattern fits, and those behind routers where that is wanted."""

    def __init__(
        self,
        *,
        network: ControllerNetwork,
        monitor: Monitor,
        poll: Poll,
        store: Store,
        image: CurrentImage,
        clock: Clock,
        state: GatewayState,
        terms: CovTerms,
        patterns: Sequence[PointPattern] = (),
        behind_routers: bool = True,
    ) -> None:
        self._network, self._monitor, self._poll, self._store = network, monitor, poll, store
        self._image, self._clock, self._state = image, clock, state
        self._terms, self._patterns, self._behind_routers = terms, patterns, behind_routers
        self._changes: list[Reading] = []
        self._changed = asyncio.Event()
        self._coverage: dict[int, Coverage] = {}
        self._coverage_changed = asyncio.Event()
        self._wake = asyncio.Event()
        self._last_put: asyncio.Task[None] | None = None
        monitor.on_plan = self._wake.set

    async def run(self) -> None:
        """Follow until cancelled; then the subscriptions are cancelled, in a bounded time. Raises StorageError."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._hand_over(), name="changes")
            group.create_task(self._tell_polling(), name="coverage")
            following: dict[Device, tuple[tuple[Point, ...], asyncio.Task[None]]] = {}
            while True:
                self._wake.clear()
                wanted = self._chosen() if self._state.is_monitoring else {}
                ended = {device for device, (points, _) in following.items() if wanted.get(device) != points}
                await _end([following.pop(device)[1] for device in ended])
                for device, points in wanted.items():
                    if device not in following:
                        task = group.create_task(self._follow(device, points), name=f"follow {device.instance}")
                        following[device] = points, task
                await self._wake.wait()

    def _chosen(self) -> Followed:
        chosen: defaultdict[Device, list[Point]] = defaultdict(list)
        for point, name in self._monitor.planned():
            is_behind_router = ":" in point.device.address.host
            if (self._behind_routers and is_behind_router) or any(pattern.fits(point, name) for pattern in self._patterns):
                chosen[point.device].append(point)
        return {device: tuple(points) for device, points in chosen.items()}

    async def _follow(self, device: Device, points: Sequence[Point]) -> None:
        try:
            while True:
                try:
                    await self._network.follow(device, points, self._terms, deliver=self._take, report=self._note)
                except BacnetError as error:
                    log.warning("cov_not_possible", device=device.instance, address=str(device.address), reason=str(error))
                await self._clock.sleep(RETRY_SECONDS)
        finally:
            for point in points:
                self._coverage.pop(point.id, None)
            self._coverage_changed.set()

    def _take(self, change: Reading) -> None:
        if len(self._changes) >= MAX_CHANGES:
            self._changes = list({each.point_id: each for each in self._changes}.values())
        self._changes.append(change)
        self._changed.set()

    def _note(self, point: Point, coverage: Coverage, reason: str) -> None:
        log.debug("cov", device=point.device.instance, object=str(point.object), coverage=coverage.value, reason=reason)
        self._coverage[point.id] = coverage
        self._coverage_changed.set()

    async def _hand_over(self) -> None:
        """Keep changes as they come, until cancelled."""
        try:
            while True:
                await self._changed.wait()
                await self._store.put(self._taken())
        finally:
            if self._changes:  # the last ones go to the store as well, which is flushed after us
                self._last_put = asyncio.create_task(self._store.put(self._taken()))
                await asyncio.wait((self._last_put,), timeout=0)

    def _taken(self) -> list[Reading]:
        self._changed.clear()
        changes, self._changes = self._changes, []
        return [complete(change, self._image.condition(change.point_id)) for change in changes]

    async def _tell_polling(self) -> None:
        """Points whose changes are notified are polled slowly, all others as before; until cancelled."""
        while True:
            await self._coverage_changed.wait()
            await self._clock.sleep(SETTLE_SECONDS)
            self._coverage_changed.clear()
            counts = Counter(coverage.value for coverage in self._coverage.values())
            log.info("cov_coverage", **{coverage.value: counts[coverage.value] for coverage in Coverage})
            covered = frozenset(point_id for point_id, coverage in self._coverage.items() if coverage is Coverage.COVERED)
            self._image.reported = covered
            self._poll.report(covered)


def complete(change: Reading, known: Condition | None) -> Reading:
    """The change with what its notification left open: in alarm or fault, what was read last of event-state and reliability."""
    condition = change.condition
    if known is None or (condition.event_state is not None and condition.reliability is not None):
        return change
    in_alarm, in_fault = (flag in condition.status_flags for flag in (StatusFlag.IN_ALARM, StatusFlag.FAULT))
    event_state = known.event_state if in_alarm and known.event_state != "normal" else condition.event_state
    reliability = known.reliability if in_fault and known.reliability != "no-fault-detected" else condition.reliability
    if (event_state, reliability) == (condition.event_state, condition.reliability):
        return change
    completed = replace(condition, event_state=event_state, reliability=reliability)
    return Reading.of(change.point_id, change.acquired_at, change.present_value, completed)


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
