"""Carry out the cloud's commands, one after the other; each gets its answer before it is acknowledged to the broker."""

import time

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
from bms_iot.domain.ports import Broker, Message
from bms_iot.errors import BmsError, BrokerUnavailable, CommandRejected, PublishRefused
from bms_iot.gateway.configure import Configure
from bms_iot.gateway.monitor import Monitor
from bms_iot.mqtt.payload import encode_response
from bms_iot.mqtt.requests import decode_command
from bms_iot.mqtt.topics import Topics

log = structlog.get_logger()


class Execute:
    """Answers `get_config`, `start_monitoring` and `stop_monitoring`; refuses the others with a reason."""

    def __init__(self, *, broker: Broker, topics: Topics, monitor: Monitor, configure: Configure) -> None:
        self._broker, self._topics, self._monitor, self._configure = broker, topics, monitor, configure

    async def run(self) -> None:
        """Answer until cancelled."""
        while True:
            message = await self._broker.receive()
            name = self._topics.command_name(message.topic)
            if name is not None and message.payload:  # an empty one clears what was retained
                await self._answer(name, message)
            self._broker.acknowledge(message)

    async def _answer(self, name: str, message: Message) -> None:
        started = time.monotonic()
        result = await self._carry_out(name, message)
        duration_ms = round((time.monotonic() - started) * 1000)
        log.info("command_answered", command=name, command_id=result.command_id, state=result.state.value, reason=result.message)
        payload = encode_response(
            CommandResult(
                success=result.success,
                message=result.message,
                state=result.state,
                command_id=result.command_id,
                details={**result.details, "duration_ms": duration_ms},
            )
        )
        while True:
            try:
                await self._broker.publish(self._topics.command_response(name), payload)
            except BrokerUnavailable:
                await self._broker.wait_connected()
                continue
            except PublishRefused as error:
                log.error("answer_refused_by_broker", command=name, reason=str(error))
            return

    async def _carry_out(self, name: str, message: Message) -> CommandResult:
        command_id = None
        try:
            if message.retain:
                raise CommandRejected("the command was retained; a command must be published without retain")
            command = decode_command(name, message.payload)
            command_id = command.command_id
            return await self._dispatch(command)
        except CommandRejected as error:
            return CommandResult(
                success=False, message=str(error), state=CommandState.REJECTED, command_id=error.command_id or command_id
            )
        except BmsError as error:
            return CommandResult(success=False, message=str(error), state=CommandState.FAILED, command_id=command_id)
        except Exception:
            log.exception("command_failed", command=name, command_id=command_id)
            said = "the gateway could not carry it out; its log says why"
            return CommandResult(success=False, message=said, state=CommandState.FAILED, command_id=command_id)

    async def _dispatch(self, command: Command) -> CommandResult:
        match command:
            case StartMonitoring():
                await self._monitor.start()
                return _done("monitoring is on", command.command_id)
            case StopMonitoring():
                await self._monitor.stop()
                return _done("monitoring is off", command.command_id)
            case GetConfig():
                return await self._configure.carry_out(command)
            case SetValue() | Reboot() | Resend():
                raise CommandRejected("it is not available in this release", command_id=command.command_id)


def _done(message: str, command_id: str) -> CommandResult:
    return CommandResult(success=True, message=message, state=CommandState.DONE, command_id=command_id)
