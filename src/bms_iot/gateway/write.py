"""`set_value_to_point`: write a point by the site's rules, once, and hold leases to their word."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from bms_iot.domain.commands import CommandResult, CommandState, SetValue
from bms_iot.domain.points import ObjectType, Point
from bms_iot.domain.ports import Clock, ControllerNetwork
from bms_iot.domain.readings import typed_value
from bms_iot.domain.write_rules import RateLimit, WriteRules
from bms_iot.domain.writing import PointWrite, WriteOutcome, WriteState, is_output
from bms_iot.errors import CommandRejected, DeviceUnreachable
from bms_iot.gateway.look import Sight, has_slots, look
from bms_iot.gateway.monitor import Monitor
from bms_iot.gateway.release import Release
from bms_iot.gateway.state import GatewayState
from bms_iot.storage import commands, leases
from bms_iot.storage.commands import Entry
from bms_iot.storage.database import Database
from bms_iot.storage.leases import Lease

log = structlog.get_logger()

WRITE_SECONDS = 120.0
"""More than a write may take with everything that belongs to it."""

Settle = Callable[[AsyncConnection], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What came of a command; `settle` belongs into the transaction that journals it, `after` follows its commit."""

    result: CommandResult
    settle: Settle | None = None
    after: Callable[[], None] = lambda: None


class Write:
    """Carries out `set_value_to_point`."""

    def __init__(
        self,
        *,
        network: ControllerNetwork,
        database: Database,
        monitor: Monitor,
        release: Release,
        clock: Clock,
        state: GatewayState,
        rules: WriteRules,
        per_minute: int,
    ) -> None:
        self._network, self._database, self._monitor, self._release = network, database, monitor, release
        self._clock, self._state, self._rules, self._rate = clock, state, rules, RateLimit(per_minute)

    async def carry_out(self, entry: Entry, command: SetValue) -> Carried:
        """Write once. Raises CommandRejected, DeviceUnreachable: nothing was written then."""
        write = self.planned(command)
        lease = self._lease(write, command)
        if lease is not None and not is_output(write.point.object.type) and not await has_slots(self._network, write.point):
            raise CommandRejected("leaseSeconds: the point shows no priority array, so that nothing could be released")
        self._rate.take(self._clock.monotonic())
        if lease is not None:  # whatever goes wrong from here on, it is released
            self._release.hold(lease, until=self._clock.monotonic() + lease.seconds + WRITE_SECONDS)
        before = await self._database.write(self._begin, entry, write, lease)
        try:
            (outcome,) = await self._network.write_points(write.point.device, [write])
        except DeviceUnreachable as error:
            result = _nothing_written(command, f"the device did not answer, nothing was written: {error}")
            return self._carried(result, write, lease, before, was_written=False)
        except Exception:  # the write may have been sent, whatever went wrong
            log.exception("write_interrupted", command_id=command.command_id)
            sight = await look(self._network, write)
            return self._carried(
                decided(command.command_id, write, sight), write, lease, before, was_written=sight.is_there is not False
            )
        return self._carried(_result(command, outcome, lease), write, lease, before, was_written=_may_be_written(outcome))

    def planned(self, command: SetValue) -> PointWrite:
        """What the command would write. Raises CommandRejected."""
        found = self._monitor.find(command.iot_device_point_id)
        if found is None:
            raise CommandRejected(f"iotDevicePointId: no point that is read has the id {command.iot_device_point_id}")
        return self._rules.write(command, *found)

    def _lease(self, write: PointWrite, command: SetValue) -> Lease | None:
        if command.lease_seconds is None:
            return None
        return Lease(
            iot_device_point_id=write.point.iot_device_point_id,
            priority=write.priority,
            command_id=command.command_id,
            boot=self._state.boot,
            value=str(write.value),
            seconds=command.lease_seconds,
            granted_at=self._clock.now(),
        )

    async def _begin(self, connection: AsyncConnection, entry: Entry, write: PointWrite, lease: Lease | None) -> Lease | None:
        """Note that from now on the write may have been sent; the answer is the lease that held its place before."""
        before = await leases.active_at(connection, write.point.iot_device_point_id, write.priority)
        planned = {"value": write.value, "priority": write.priority}
        request = {**entry.request, "write": planned}
        if not await commands.start(connection, entry.id, self._clock.now(), request=request, writes=True):
            raise CommandRejected("it has ended before")
        if lease is not None:
            await leases.grant(connection, lease)
        return before

    def _carried(
        self, result: CommandResult, write: PointWrite, lease: Lease | None, before: Lease | None, *, was_written: bool
    ) -> Carried:
        """Keep the lease that was granted, or put back the one before it where nothing was written."""

        async def settle(connection: AsyncConnection) -> None:
            if was_written and lease is None and before is not None:
                await leases.end(connection, before.place, {"superseded_by": result.command_id}, self._clock.now())
            if not was_written and lease is not None:
                await leases.forget(connection, lease)
                if before is not None:
                    await leases.grant(connection, before)

        def after() -> None:
            if was_written and lease is not None:
                self._release.hold(lease, until=self._clock.monotonic() + lease.seconds)
            self._release.wake()

        return Carried(result=result, settle=settle, after=after)


def decided(command_id: str | None, write: PointWrite, sight: Sight) -> CommandResult:
    """What reading back says of a write that may have been sent."""
    verb = "relinquished" if write.value is None else "written"
    shown = typed_value(write.point.object.type, sight.present_value)
    match sight.is_there:
        case True:
            state, message = CommandState.DONE, f"interrupted; reading back shows it {verb}"
        case False:
            state, message = CommandState.FAILED, f"interrupted; reading back shows it not {verb}"
        case _:
            state, message = CommandState.UNKNOWN, f"interrupted; whether it was {verb} cannot be told: {sight.reason}"
    return CommandResult(
        success=state is CommandState.DONE,
        message=message,
        state=state,
        command_id=command_id,
        details={"after": shown, "priority": write.priority},
    )


def _may_be_written(outcome: WriteOutcome) -> bool:
    match outcome.state:
        case WriteState.REFUSED:
            return False
        case WriteState.FAILED:
            return outcome.is_acknowledged
    return True


def _nothing_written(command: SetValue, message: str) -> CommandResult:
    return CommandResult(success=False, message=message, state=CommandState.FAILED, command_id=command.command_id)


def _result(command: SetValue, outcome: WriteOutcome, lease: Lease | None) -> CommandResult:
    match outcome.state:
        case WriteState.DONE:
            state = CommandState.DONE
        case WriteState.REFUSED if outcome.error is None:
            state = CommandState.REJECTED
        case WriteState.UNKNOWN:
            state = CommandState.UNKNOWN
        case _:
            state = CommandState.FAILED
    return CommandResult(
        success=state is CommandState.DONE,
        message=outcome.reason,
        state=state,
        command_id=command.command_id,
        details={**_details(outcome), **_lease_details(outcome, lease)},
    )


def _details(outcome: WriteOutcome) -> dict[str, object]:
    point, kind = outcome.write.point, outcome.write.point.object.type
    details: dict[str, object] = {
        "before": typed_value(kind, outcome.before),
        "after": typed_value(kind, outcome.after),
        "priority": outcome.priority,
        **_place(point),
    }
    if outcome.holder is not None:
        details["holder"] = {"priority": outcome.holder.priority, "value": _value(kind, outcome.holder.value)}
    if outcome.error is not None:
        details |= {"error_class": outcome.error.error_class, "error_code": outcome.error.error_code}
    return details


def _place(point: Point) -> dict[str, object]:
    return {"iotDevicePointId": point.iot_device_point_id, "controllerId": point.device.controller_id}


def _lease_details(outcome: WriteOutcome, lease: Lease | None) -> Mapping[str, object]:
    if lease is None or not _may_be_written(outcome):
        return {}
    return {"lease": {"seconds": lease.seconds, "expires_at": lease.granted_at + timedelta(seconds=lease.seconds)}}


def _value(kind: ObjectType, text: str) -> object:
    return typed_value(kind, text) if text else None
