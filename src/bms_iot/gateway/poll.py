"""Read every device on its own beat and hand the readings to the store."""

import asyncio
import random
from collections.abc import Mapping, Sequence

import structlog

from bms_iot.domain import schedule
from bms_iot.domain.points import Device, Point
from bms_iot.domain.ports import Clock, ControllerNetwork
from bms_iot.domain.readings import Quality, Reading, ReadingError
from bms_iot.domain.schedule import Pace, Turn
from bms_iot.errors import BacnetError
from bms_iot.gateway.state import GatewayState
from bms_iot.gateway.store import Store

log = structlog.get_logger()

NO_ANSWER = ReadingError(error_class="communication", error_code="timeout")


class Poll:
    """Polls the devices of a plan. A device that does not answer backs off alone; its points are reported bad once."""

    def __init__(self, *, network: ControllerNetwork, store: Store, clock: Clock, pace: Pace, state: GatewayState) -> None:
        self._network, self._store, self._clock, self._pace, self._state = network, store, clock, pace, state
        self._plan: dict[Device, tuple[Point, ...]] = {}
        self._turns: dict[Device, Turn] = {}
        self._busy: set[Device] = set()
        self._wake = asyncio.Event()

    def replan(self, plan: Mapping[Device, Sequence[Point]]) -> None:
        """Read these points from now on; devices already known keep their beat."""
        now = self._clock.monotonic()
        self._plan = {device: tuple(points) for device, points in plan.items() if points}
        self._turns = {device: self._turns.get(device, Turn(due=now, optional_due=now)) for device in self._plan}
        self._state.devices_monitored = len(self._plan)
        self._state.points_monitored = sum(map(len, self._plan.values()))
        self._state.heard_devices &= self._plan.keys()
        self._state.silent_devices &= self._plan.keys()
        self._wake.set()

    def resume(self) -> None:
        """Look again whether monitoring is on; after a pause every device is due at once."""
        self._wake.set()

    async def run(self) -> None:
        """Poll until cancelled. Raises StorageError when readings cannot be kept."""
        async with asyncio.TaskGroup() as devices:
            while True:
                self._wake.clear()
                now = self._clock.monotonic()
                if self._state.is_monitoring:
                    for device in schedule.due(self._turns, now):
                        if device not in self._busy:
                            self._busy.add(device)
                            polling = self._poll_device(device, self._turns[device], self._plan[device])
                            devices.create_task(polling, name=f"poll {device.instance}")
                await self._until(self._next_due(now))

    def _next_due(self, now: float) -> float:
        if not self._state.is_monitoring:
            return now + 3600.0
        return schedule.next_due({device: turn for device, turn in self._turns.items() if device not in self._busy}, now)

    async def _until(self, moment: float) -> None:
        pause = asyncio.create_task(self._clock.sleep(max(0.0, moment - self._clock.monotonic())))
        wake = asyncio.create_task(self._wake.wait())
        try:
            await asyncio.wait((pause, wake), return_when=asyncio.FIRST_COMPLETED)
        finally:
            pause.cancel()
            wake.cancel()

    async def _poll_device(self, device: Device, turn: Turn, points: Sequence[Point]) -> None:
        now = self._clock.monotonic()
        with_optional = turn.optional_due <= now
        self._state.poll_lag_seconds = max(0.0, now - turn.due) if not turn.failures else self._state.poll_lag_seconds
        try:
            readings = await self._network.read_points(device, points, optional=with_optional)
        except BacnetError as error:
            next_turn = await self._silent(device, points, turn, error)
        else:
            await self._store.put(readings)
            self._heard(device, turn)
            next_turn = schedule.after_answer(turn, self._pace, self._clock.monotonic(), with_optional=with_optional)
        finally:
            self._busy.discard(device)
            self._wake.set()
        if device in self._turns:
            self._turns[device] = next_turn

    async def _silent(self, device: Device, points: Sequence[Point], turn: Turn, error: BacnetError) -> Turn:
        if not turn.failures:
            log.warning("device_silent", device=device.instance, address=str(device.address), reason=str(error))
            now = self._clock.now()
            await self._store.put(
                [
                    Reading(point_id=point.id, acquired_at=now, present_value=None, quality=Quality.BAD, error=NO_ANSWER)
                    for point in points
                ]
            )
        self._state.device_silent(device)
        jitter = random.random()  # noqa: S311 - spreads probes, keeps no secret
        return schedule.after_silence(turn, self._pace, self._clock.monotonic(), jitter=jitter)

    def _heard(self, device: Device, turn: Turn) -> None:
        if turn.failures:
            log.info("device_answers_again", device=device.instance, address=str(device.address), silent_probes=turn.failures)
        self._state.device_answered(device)
