"""Carry out one command, whichever it is."""

import asyncio

import structlog

from bms_iot.domain.commands import (
    Command,
    CommandResult,
    CommandState,
    GetConfig,
    Reboot,
    Resend,
    SetValue,
    StartMonitoring,
    StopMonitoring,
)
from bms_iot.domain.ports import Clock
from bms_iot.errors import BmsError, CommandRejected
from bms_iot.gateway.configure import Configure
from bms_iot.gateway.lanes import CONFIGURATION, STREAM, Lanes
from bms_iot.gateway.monitor import Monitor
from bms_iot.gateway.write import Carried, Write
from bms_iot.storage import commands
from bms_iot.storage.commands import Entry
from bms_iot.storage.database import Database
from bms_iot.storage.outbox import Outbox

log = structlog.get_logger()


class Obey:
    """Every command but `reboot`, which `Execute` itself has to end with."""

    def __init__(
        self,
        *,
        database: Database,
        monitor: Monitor,
        configure: Configure,
        write: Write,
        outbox: Outbox,
        lanes: Lanes,
        clock: Clock,
    ) -> None:
        self._database, self._monitor, self._configure = database, monitor, configure
        self._write, self._outbox, self._lanes, self._clock = write, outbox, lanes, clock

    def lane(self, command: Command) -> asyncio.Lock:
        """What a command has to itself while it is carried out: a device, the configuration, or the stream."""
        match command:
            case SetValue():
                found = self._monitor.find(command.iot_device_point_id)
                return asyncio.Lock() if found is None else self._lanes.of(found[0].device)
            case Resend():
                return self._lanes.at(STREAM)
        return self._lanes.at(CONFIGURATION)

    async def carry_out(self, entry: Entry, command: Command) -> Carried:
        """What came of it; whatever goes wrong is an answer."""
        try:
            if isinstance(command, SetValue):
                return await self._write.carry_out(entry, command)
            await self._database.write(commands.start, entry.id, self._clock.now())
            return Carried(result=await self._simple(command))
        except CommandRejected as error:
            state, message = CommandState.REJECTED, str(error)
        except BmsError as error:
            state, message = CommandState.FAILED, str(error)
        except Exception:
            log.exception("command_failed", command=entry.name, command_id=command.command_id)
            state, message = CommandState.FAILED, "the gateway could not carry it out; its log says why"
        return Carried(result=CommandResult(success=False, message=message, state=state, command_id=command.command_id))

    async def _simple(self, command: GetConfig | StartMonitoring | StopMonitoring | Resend | Reboot) -> CommandResult:
        match command:
            case StartMonitoring():
                await self._monitor.start()
                return done("monitoring is on", command.command_id)
            case StopMonitoring():
                await self._monitor.stop()
                return done("monitoring is off", command.command_id)
            case GetConfig():
                return await self._configure.carry_out(command)
            case Resend():
                raise CommandRejected("resend is not available in this release")
            case Reboot():
                return done("the gateway restarts", command.command_id)


def done(message: str, command_id: str | None) -> CommandResult:
    """Success."""
    return CommandResult(success=True, message=message, state=CommandState.DONE, command_id=command_id)
