"""Take commands over: journalled before the broker is told, carried out at most once, answered once, also over a crash."""

import asyncio
import hashlib
import json
import uuid
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from bms_iot.domain.commands import (
    Command,
    CommandResult,
    CommandState,
    Reboot,
    SetValue,
    without_secrets,
)
from bms_iot.domain.ports import Broker, Clock, Message
from bms_iot.errors import CommandRejected, DatabaseLocked, RestartRequested, StorageError
from bms_iot.gateway.answer import Answer
from bms_iot.gateway.obey import Obey
from bms_iot.gateway.persist import Persist
from bms_iot.gateway.recover import Recover
from bms_iot.gateway.release import Release
from bms_iot.gateway.state import GatewayState
from bms_iot.gateway.write import Carried
from bms_iot.mqtt.payload import answer_body
from bms_iot.mqtt.requests import command_id_of, decode_command, too_large
from bms_iot.mqtt.topics import Topics
from bms_iot.storage import commands
from bms_iot.storage.commands import Arrival, Entry
from bms_iot.storage.database import Database

log = structlog.get_logger()

MAX_UNDER_WAY = 100
REBOOT_PATIENCE_SECONDS = 10.0
"""How long a restart waits for what is under way, and for the broker to take the answer."""
JOURNAL_TRIES = 3
"""A command that cannot be journalled is refused, rather than those behind it held up."""
MAX_NAME = 64
"""Bytes of a name that the journal keeps; no command has a longer one."""
UNNAMED = "unnamed-"
"""Before the made id of a command that came without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """A message as a command: one to carry out, or the refusal it gets. Without an id it cannot be told from another."""

    name: str
    command_id: str | None
    command: Command | None = None
    refused: CommandResult | None = None


class Execute:
    """The life of a command; `Obey` knows what each of them does."""

    def __init__(
        self,
        *,
        broker: Broker,
        topics: Topics,
        database: Database,
        clock: Clock,
        state: GatewayState,
        answer: Answer,
        obey: Obey,
        recover: Recover,
        release: Release,
    ) -> None:
        self._broker, self._topics, self._clock, self._state = broker, topics, clock, state
        self._database, self._journal = Persist(database, clock), Persist(database, clock, tries=JOURNAL_TRIES)
        self._answer, self._obey, self._recover, self._release = answer, obey, recover, release
        self._under_way: dict[tuple[str, str], asyncio.Event] = {}
        self._room = asyncio.Semaphore(MAX_UNDER_WAY)
        self._running: set[asyncio.Task[None]] = set()
        self._is_leaving = False

    async def run(self) -> None:
        """Take commands until cancelled. Raises RestartRequested for the command `reboot`."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._answer.run(), name="answer")
            left = await self._database.read(commands.unfinished)
            recovering = [self._follow(await self._begin(tasks, self._end_left(entry))) for entry in left]
            tasks.create_task(self._release_after(recovering), name="release")
            while True:
                message = await self._broker.receive()
                await self._take(tasks, message)

    async def _begin(self, tasks: asyncio.TaskGroup, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task, when there is room for one."""
        await self._room.acquire()
        task = tasks.create_task(work, name="command")
        task.add_done_callback(lambda _: self._room.release())
        return task

    def _follow(self, task: asyncio.Task[None]) -> asyncio.Task[None]:
        """A restart waits for its end."""
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def _release_after(self, recovering: list[asyncio.Task[None]]) -> None:
        """What a newer command wrote must be known before leases are released."""
        if recovering:
            await asyncio.wait(recovering)
        await self._release.run()

    async def _take(self, tasks: asyncio.TaskGroup, message: Message) -> None:
        if self._is_leaving:  # not acknowledged: it comes again after the restart
            return
        name = self._topics.command_name(message.topic)
        if name is None or not message.payload:  # an empty one clears what was retained
            self._broker.acknowledge(message)
            return
        request = self._read(name, message)
        if request.command is None and (request.command_id is None or len(name) > MAX_NAME):
            await self._begin(tasks, self._refuse(request, message))
            return
        arrival = self._arrival(request)
        try:
            entry, is_new = await self._journal.write(commands.receive, arrival, self._clock.now())
        except (StorageError, DatabaseLocked) as error:
            refused = _rejected(f"it cannot be journalled, so it is not carried out: {error}", request.command_id)
            await self._begin(tasks, self._refuse(replace(request, refused=refused), message))
            return
        if not is_new:
            log.info("command_repeated", command=name, command_id=entry.command_id, state=entry.state.value)
            await self._begin(tasks, self._repeat(entry, message, is_same=entry.digest == arrival.digest))
            return
        self._broker.acknowledge(message)
        if request.command is None or request.refused is not None:
            self._answer.wake()
            return
        log.info("command_received", command=name, command_id=entry.command_id)
        self._under_way[name, entry.command_id] = asyncio.Event()
        self._follow(await self._begin(tasks, self._carry_out(entry, request.command)))

    def _read(self, name: str, message: Message) -> _Request:
        try:
            if message.cut_from:
                raise too_large(message.payload, message.cut_from)
            command = decode_command(name, message.payload)
        except CommandRejected as error:
            command_id = error.command_id or command_id_of(message.payload)
            return _Request(name=name, command_id=command_id, refused=_rejected(str(error), command_id))
        refused = None
        if message.retain:
            refused = _rejected("the command was retained; a command must be published without retain", command.command_id)
        else:
            refused = self._too_late(command)
        return _Request(name=name, command_id=command.command_id, command=command, refused=refused)

    def _too_late(self, command: Command) -> CommandResult | None:
        """The refusal of a command that may not be carried out any more."""
        if not isinstance(command, SetValue) or command.expires_at is None:
            return None
        if not self._clock.is_trusted:
            return _rejected("expiresAt: this gateway does not know the time yet", command.command_id)
        if command.expires_at > self._clock.now():
            return None
        message = f"expired at {command.expires_at.isoformat(timespec='milliseconds').replace('+00:00', 'Z')}; nothing was done"
        return CommandResult(success=False, message=message, state=CommandState.EXPIRED, command_id=command.command_id)

    def _arrival(self, request: _Request) -> Arrival:
        asked = None if request.command is None else without_secrets(request.command)
        refused = request.refused
        return Arrival(
            name=request.name,
            command_id=request.command_id or f"{UNNAMED}{uuid.uuid4()}",
            boot=self._state.boot,
            request=asked,
            digest=None if asked is None else hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest(),
            expires_at=request.command.expires_at if isinstance(request.command, SetValue) else None,
            iot_device_point_id=request.command.iot_device_point_id if isinstance(request.command, SetValue) else None,
            refused=None if refused is None else refused.journal_state,
            refusal=None if refused is None else answer_body(refused),
        )

    async def _refuse(self, request: _Request, message: Message) -> None:
        """Answer what cannot be journalled; the broker is told after the answer."""
        assert request.refused is not None
        await self._answer.say(request.name, answer_body(request.refused))
        log.info("command_answered", command=request.name, state=request.refused.state.value, reason=request.refused.message)
        self._broker.acknowledge(message)

    async def _repeat(self, entry: Entry, message: Message, *, is_same: bool) -> None:
        """The first outcome once more, after it: marked as a duplicate, which is no other final answer."""
        if (under_way := self._under_way.get((entry.name, entry.command_id))) is not None:
            await under_way.wait()
        await self._answer.until_answered(entry.id)
        outcome = (await self._database.read(commands.find, entry.id)).outcome or {}
        body = {**outcome, "state": CommandState.DUPLICATE.value, "first_state": outcome.get("state")}
        if not is_same:
            body["message"] = f"this commandId asked for something else before, which ended: {outcome.get('message')}"
        await self._answer.say(entry.name, body)
        self._broker.acknowledge(message)

    async def _end_left(self, entry: Entry) -> None:
        self._under_way[entry.name, entry.command_id] = asyncio.Event()
        await self._end(entry, await self._recover.decide(entry), self._clock.monotonic())

    async def _carry_out(self, entry: Entry, command: Command) -> None:
        started = self._clock.monotonic()
        if isinstance(command, Reboot):
            await self._restart(entry, command)
            return
        async with self._obey.lane(command):
            if (refused := self._too_late(command)) is not None:
                carried = Carried(result=refused)
            else:
                carried = await self._obey.carry_out(entry, command)
            await self._end(entry, carried, started)

    async def _end(self, entry: Entry, carried: Carried, started: float) -> None:
        duration_ms = round((self._clock.monotonic() - started) * 1000)
        result = replace(
            carried.result,
            command_id=None if entry.command_id.startswith(UNNAMED) else entry.command_id,
            details={**carried.result.details, "duration_ms": duration_ms},
        )

        async def journal(connection: AsyncConnection) -> None:
            await commands.finish(connection, entry.id, result.journal_state, answer_body(result), self._clock.now())
            if carried.settle is not None:
                await carried.settle(connection)

        await self._database.write(journal)
        carried.after()
        self._under_way.pop((entry.name, entry.command_id)).set()
        self._answer.wake()

    async def _restart(self, entry: Entry, command: Reboot) -> None:
        """Let the others end, answer, and go."""
        self._is_leaving = True
        others = self._running - {asyncio.current_task()}
        if others:
            await asyncio.wait(others, timeout=REBOOT_PATIENCE_SECONDS)
        await self._end(entry, await self._obey.carry_out(entry, command), self._clock.monotonic())
        answered = asyncio.create_task(self._answer.until_answered(entry.id))
        await asyncio.wait((answered,), timeout=REBOOT_PATIENCE_SECONDS)
        answered.cancel()
        await asyncio.gather(answered, return_exceptions=True)
        raise RestartRequested(f"restarting, as the command {entry.command_id} asked")


def _rejected(message: str, command_id: str | None) -> CommandResult:
    return CommandResult(success=False, message=message, state=CommandState.REJECTED, command_id=command_id)
