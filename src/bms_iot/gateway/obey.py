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
from bms_iot.domain.ports import Broker, Clock
from bms_iot.errors import BmsError, BrokerUnavailable, CommandRejected
from bms_iot.gateway.configure import Configure
from bms_iot.gateway.lanes import CONFIGURATION, STREAM, Lanes
from bms_iot.gateway.monitor import Monitor
from bms_iot.gateway.publish import Publish, Resent
from bms_iot.gateway.write import Carried, Write
from bms_iot.storage import commands
from bms_iot.storage.commands import Entry
from bms_iot.storage.database import Database

log = structlog.get_logger()

RESEND_TRIES = 10


class Obey:
    """Every command but `reboot`, which `Execute` itself has to end with."""

    def __init__(
        self,
        *,
        database: Database,
        monitor: Monitor,
        configure: Configure,
        write: Write,
        publish: Publish,
        broker: Broker,
        lanes: Lanes,
        clock: Clock,
    ) -> None:
        self._database, self._monitor, self._configure = database, monitor, configure
        self._write, self._publish, self._broker = write, publish, broker
        self._lanes, self._clock = lanes, clock

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

    async def _resend(self, command: Resend) -> CommandResult:
        """Once more from the beginning where the connection breaks off: consumers know what they have."""
        for _ in range(RESEND_TRIES):
            try:
                return _resent(await self._publish.resend(command.boot, command.first_seq, command.last_seq), command.command_id)
            except BrokerUnavailable as error:
                log.info("resend_broken_off", command_id=command.command_id, reason=str(error))
                await self._broker.wait_connected()
        raise BrokerUnavailable(f"the connection broke off {RESEND_TRIES} times")

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
                return await self._resend(command)
            case Reboot():
                return done("the gateway restarts", command.command_id)


def _resent(resent: Resent, command_id: str) -> CommandResult:
    """What is not there any more is named, and the rest was sent: done in any case."""
    message = f"{resent.messages} messages with {resent.readings} readings were sent again"
    if resent.missing:
        message += f"; {sum(last - first + 1 for first, last in resent.missing)} are not there any more"
    missing = [{"first_seq": first, "last_seq": last} for first, last in resent.missing]
    details = {"messages": resent.messages, "readings": resent.readings, "missing": missing}
    return CommandResult(success=True, message=message, state=CommandState.DONE, command_id=command_id, details=details)


def done(message: str, command_id: str | None) -> CommandResult:
    """Success."""
    return CommandResult(success=True, message=message, state=CommandState.DONE, command_id=command_id)
