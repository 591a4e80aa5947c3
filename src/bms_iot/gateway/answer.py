"""Answer commands: each ended one from the journal, in order, until the broker has it."""

import asyncio
from collections.abc import Mapping

import structlog

from bms_iot.domain.ports import Broker, Clock
from bms_iot.errors import BrokerUnavailable, PublishRefused
from bms_iot.gateway.persist import Persist
from bms_iot.mqtt.payload import encode_answer
from bms_iot.mqtt.topics import Topics
from bms_iot.storage import commands
from bms_iot.storage.commands import Entry
from bms_iot.storage.database import Database

log = structlog.get_logger()

AT_ONCE = 50


class Answer:
    """Publishes `B/command/<name>/response`. The journal says what is still to be answered, also after a restart."""

    def __init__(self, *, broker: Broker, topics: Topics, database: Database, clock: Clock) -> None:
        self._broker, self._topics, self._clock = broker, topics, clock
        self._database = Persist(database, clock)
        self._ended = asyncio.Event()
        self._answered = asyncio.Condition()

    def wake(self) -> None:
        """A command has ended."""
        self._ended.set()

    async def run(self) -> None:
        """Answer until cancelled."""
        while True:
            self._ended.clear()
            while waiting := await self._database.read(commands.unanswered, AT_ONCE):
                for entry in waiting:
                    await self._answer(entry)
            await self._ended.wait()

    async def until_answered(self, entry_id: int) -> None:
        """Returns when the broker has the answer to a command, or has refused it."""
        async with self._answered:
            while (await self._database.read(commands.find, entry_id)).answered_at is None:
                await self._answered.wait()

    async def say(self, name: str, body: Mapping[str, object]) -> int:
        """Publish an answer, as often as it takes; the result is how often. Waits for the broker to come back."""
        payload, attempts = encode_answer(body), 0
        while True:
            attempts += 1
            try:
                await self._broker.publish(self._topics.command_response(name), payload)
            except BrokerUnavailable:
                await self._broker.wait_connected()
                continue
            except PublishRefused as error:
                log.error("answer_refused_by_broker", command=name, command_id=body.get("commandId"), reason=str(error))
            return attempts

    async def _answer(self, entry: Entry) -> None:
        outcome = entry.outcome or {}
        attempts = await self.say(entry.name, outcome)
        await self._database.write(commands.mark_answered, entry.id, attempts, self._clock.now())
        log.info(
            "command_answered", command=entry.name, command_id=outcome.get("commandId"), state=entry.state.value,
            reason=outcome.get("message"),
        )  # fmt: skip
        async with self._answered:
            self._answered.notify_all()
