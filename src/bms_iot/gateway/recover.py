"""Decide what became of commands that an earlier start journalled and did not end."""

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from bms_iot.domain.commands import CommandName, CommandResult, CommandState
from bms_iot.domain.ports import Clock, ControllerNetwork
from bms_iot.domain.writing import LOWEST_PRIORITY, PointWrite, written_value
from bms_iot.errors import InvalidInput
from bms_iot.gateway.image import CurrentImage
from bms_iot.gateway.lanes import Lanes
from bms_iot.gateway.look import Sight, look
from bms_iot.gateway.state import GatewayState
from bms_iot.gateway.write import Carried, Settle, decided
from bms_iot.storage import leases
from bms_iot.storage.commands import Entry

log = structlog.get_logger()

UNTOUCHED = "interrupted before it was begun: nothing was done; send it again under a new commandId"
CUT_SHORT = "interrupted: the gateway stopped before it was done; send it again under a new commandId"


class Recover:
    """A write that may have been sent is decided by reading back; nothing is carried out again."""

    def __init__(self, *, network: ControllerNetwork, image: CurrentImage, lanes: Lanes, clock: Clock, state: GatewayState) -> None:
        self._network, self._image, self._lanes, self._clock, self._state = network, image, lanes, clock, state

    async def decide(self, entry: Entry) -> Carried:
        """How `entry` ended."""
        command_id = entry.command_id
        match entry.name:
            case CommandName.REBOOT.value:
                result = _result(command_id, CommandState.DONE, "the gateway was restarted")
            case CommandName.START_MONITORING.value | CommandName.STOP_MONITORING.value if entry.started_at is not None:
                result = self._monitoring(entry, command_id)
            case CommandName.SET_VALUE_TO_POINT.value if entry.written_at is not None:
                return await self._write(entry)
            case _:
                result = _result(command_id, CommandState.FAILED, UNTOUCHED if entry.started_at is None else CUT_SHORT)
        return Carried(result=result)

    def _monitoring(self, entry: Entry, command_id: str) -> CommandResult:
        is_done = self._state.is_monitoring is (entry.name == CommandName.START_MONITORING.value)
        word = "on" if self._state.is_monitoring else "off"
        return _result(command_id, CommandState.DONE if is_done else CommandState.FAILED, f"interrupted; monitoring is {word}")

    async def _write(self, entry: Entry) -> Carried:
        write = self._write_of(entry)
        if write is None:
            message = "interrupted; whether it was written cannot be told: the point is not known any more"
            return Carried(result=_result(entry.command_id, CommandState.UNKNOWN, message))
        async with self._lanes.of(write.point.device):
            sight = await look(self._network, write)
        log.info("write_decided", command_id=entry.command_id, is_there=sight.is_there, present_value=sight.present_value)
        return Carried(result=decided(entry.command_id, write, sight), settle=self._settle(entry, write, sight))

    def _write_of(self, entry: Entry) -> PointWrite | None:
        planned = entry.request.get("write") or {}
        point = next((p for p in self._image.points() if p.iot_device_point_id == entry.iot_device_point_id), None)
        if point is None:
            return None
        try:
            value = written_value(point.object.type, planned.get("value"))
        except InvalidInput:
            return None
        return PointWrite(point=point, value=value, priority=int(planned.get("priority") or LOWEST_PRIORITY))

    def _settle(self, entry: Entry, write: PointWrite, sight: Sight) -> Settle:
        """What this command wrote must not be released at the end of an earlier one's lease; its own lease is released."""

        async def settle(connection: AsyncConnection) -> None:
            held = await leases.active_at(connection, write.point.iot_device_point_id, write.priority)
            if held is not None and held.command_id != entry.command_id and sight.is_there is not False:
                await leases.end(connection, held.place, {"superseded_by": entry.command_id}, self._clock.now())

        return settle


def _result(command_id: str, state: CommandState, message: str) -> CommandResult:
    return CommandResult(success=state is CommandState.DONE, message=message, state=state, command_id=command_id)
