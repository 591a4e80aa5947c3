"""One poll of a plan: a chunk after the other by callback, and the tolerant way for each that brings a surprise."""

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import datetime
from functools import partial

from bms_iot.bacnet.apdu import ComplexAck
from bms_iot.bacnet.network.npdu import Station
from bms_iot.bacnet.polling.convert import state_of
from bms_iot.bacnet.polling.layouts import Layouts
from bms_iot.bacnet.polling.meanings import Meanings
from bms_iot.bacnet.polling.plans import Chunk, Plan
from bms_iot.bacnet.polling.poller import Begun, Ended, resume, tries_of_batch
from bms_iot.bacnet.polling.profile import Profile
from bms_iot.bacnet.transactions.client import Client, Transaction
from bms_iot.bacnet.values.codec import ObjectId
from bms_iot.domain.readings import Sweep
from bms_iot.errors import MalformedReply, TransportError


class Sweeper:
    """Polls plans through one client; what it learns of replies serves all its devices. `now` stamps the answers."""

    def __init__(self, client: Client, now: Callable[[], datetime]) -> None:
        self._client = client
        self._now = now
        self.layouts = Layouts()
        self.meanings = Meanings()

    async def sweep(self, station: Station, profile: Profile, plan: Plan) -> Sweep:
        """The readings of the plan's points. Raises DeviceUnreachable when nothing answers, TransportError when we are closed."""
        run = _Run(self._client, station, profile, plan, self)
        try:
            await run.finished
        finally:
            run.withdraw()
        if run.left:
            await self._resume(station, profile, plan, run)
        return plan.sweep()

    def take(self, chunk: Chunk, end: Ended, plan: Plan) -> bool:
        """Whether the end of a request was an answer that could be taken over at once."""
        if not isinstance(end, ComplexAck) or not chunk.take(end.parameters, plan.states, self.layouts, self.meanings):
            return False
        plan.states.acquired_at[chunk.start : chunk.stop] = [self._now()] * (chunk.stop - chunk.start)
        return True

    async def _resume(self, station: Station, profile: Profile, plan: Plan, run: "_Run") -> None:
        for chunk in run.left:
            chunk.forget()
        answers = await resume(self._client, station, profile, run.begun, self._now)
        now, states = self._now(), plan.states
        for chunk in run.left:
            for place in range(chunk.start, chunk.stop):
                wanted = plan.points[place].object
                identifier = ObjectId(wanted.type.number, wanted.instance)
                states.texts[place], states.conditions[place] = state_of(wanted.type, identifier, answers.outcomes)
                states.acquired_at[place] = answers.arrived_at(wanted, now)


class _Run:
    """The requests of one sweep. `left` are the chunks for the tolerant way, and `begun` what it is told of them."""

    def __init__(self, client: Client, station: Station, profile: Profile, plan: Plan, sweeper: Sweeper) -> None:
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.left: list[Chunk] = []
        self.begun = Begun()
        self._client, self._station, self._profile = client, station, profile
        self._plan, self._sweeper = plan, sweeper
        self._tries = tries_of_batch(client)
        self._waiting = deque(plan.chunks)
        self._on_the_way: dict[Chunk, Transaction] = {}
        for _ in range(min(client.in_flight_per_device, len(plan.chunks))):
            self._ask_next()
        self._finish()

    def withdraw(self) -> None:
        """Forget what is on its way; nothing is when the sweep has finished."""
        while self._on_the_way:
            _, transaction = self._on_the_way.popitem()
            self._client.withdraw(transaction)

    def _ask_next(self) -> None:
        if self._waiting:
            chunk = self._waiting.popleft()
            try:
                self._on_the_way[chunk] = self._client.submit(
                    self._station, chunk.request, partial(self._ended, chunk), tries=self._tries
                )
            except TransportError as error:
                self._leave(chunk, error)

    def _ended(self, chunk: Chunk, end: Ended) -> None:
        del self._on_the_way[chunk]
        if self._sweeper.take(chunk, end, self._plan):
            self._profile.succeeded()
            self.begun.heard = True
        else:
            self._leave(chunk, end)
        self._ask_next()
        self._finish()

    def _leave(self, chunk: Chunk, end: Ended) -> None:
        """A surprise. One that is no answer about this chunk only ends the sweep, since it is about the rest as well."""
        self.left.append(chunk)
        self.begun.surprises.append((chunk.references(), end))
        if not isinstance(end, (ComplexAck, MalformedReply)):
            self.left.extend(self._waiting)
            self.begun.rest.extend(rest.references() for rest in self._waiting)
            self._waiting.clear()

    def _finish(self) -> None:
        if not self._on_the_way and not self._waiting and not self.finished.done():
            self.finished.set_result(None)
