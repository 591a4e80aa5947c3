"""Reading many properties of one device: batches sized to what it can answer, and what to do when it does not like them.

- A batch of several properties is a ReadPropertyMultiple, a single one a ReadProperty.
- An Abort, a Reject or an Error for a whole batch: halve the budget, but not for an Error that is about one of it, and ask for the
  two halves.
- Silence: one ReadProperty as the last try. When that is answered the batch was too big.
- A malformed answer: ask for the two halves, so that one object cannot spoil the others. After many of them halve the budget; with
  no other answer to any batch, ReadProperty only.
- Unrecognized service, or a device that never answered one and is silent twice or refuses the smallest batch: ReadProperty only.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from bms_iot.bacnet.apdu import Abort, ComplexAck, Error, PropertyError, Reject, SimpleAck
from bms_iot.bacnet.network.npdu import Station
from bms_iot.bacnet.polling.profile import MIN_BUDGET, REPLY_HEADER_OCTETS, Profile, estimate
from bms_iot.bacnet.polling.trust import trusted
from bms_iot.bacnet.services.reading import (
    PropertyReference,
    PropertyValues,
    decode_read_property_ack,
    decode_read_property_multiple_ack,
    encode_read_property,
    encode_read_property_multiple,
)
from bms_iot.bacnet.transactions.client import Answer, Client, refusal
from bms_iot.bacnet.values import names
from bms_iot.bacnet.values.codec import DecodeError, ObjectId
from bms_iot.domain.points import ObjectIdentifier
from bms_iot.domain.readings import ReadingError
from bms_iot.errors import BacnetError, DeviceUnreachable, MalformedReply, TransportError

UNRECOGNIZED_SERVICE = 9
_ABOUT_ONE = frozenset({27, 31, 32})
"""Error codes read-access-denied, unknown-object, unknown-property: smaller batches would not do better."""
MAX_SILENCES = 3
"""So many requests may end in silence before the rest of the device's properties is not asked for any more."""
MAX_DROPPED = 6
"""So many batches may go unanswered by a device that answers single properties, before the rest waits for the next time."""
MAX_MALFORMED = 16
MAX_ALONE = 64
"""So many properties that answers leave out again and again are asked for alone."""

UNKNOWN_PROPERTY = ReadingError(error_class="property", error_code="unknown-property")
TIMED_OUT = ReadingError(error_class="communication", error_code="timeout")
MALFORMED = ReadingError(error_class="communication", error_code="malformed-message")
TOO_LONG = tuple(
    ReadingError(error_class="abort", error_code=code)
    for code in ("buffer-overflow", "segmentation-not-supported", "apdu-too-long")
)
"""A single value that the device cannot send in one piece; it will not next time either."""
NOT_ANSWERED = ReadingError(error_class="services", error_code="missing-required-parameter")

Outcome: TypeAlias = PropertyValues | ReadingError
Batch: TypeAlias = list[PropertyReference]
Ended: TypeAlias = Answer | BacnetError
"""How a request ended."""


@dataclass(slots=True)
class Answers:
    """What a device answered: an outcome for every reference asked, and when the last answer about each object came."""

    outcomes: dict[PropertyReference, Outcome] = field(default_factory=dict)
    arrived: dict[ObjectId, datetime] = field(default_factory=dict)

    def arrived_at(self, wanted: ObjectIdentifier, otherwise: datetime) -> datetime:
        """When the last answer about `wanted` came; `otherwise` when none did."""
        return self.arrived.get(ObjectId(wanted.type.number, wanted.instance), otherwise)


@dataclass(slots=True, kw_only=True)
class Begun:
    """What a prepared poll leaves to the tolerant way.

    `surprises` are batches that were asked and how each ended, `rest` those that were not asked; `heard` says that others were
    answered.
    """

    surprises: list[tuple[Batch, Ended]] = field(default_factory=list)
    rest: list[Batch] = field(default_factory=list)
    heard: bool = False


async def read_properties(
    client: Client, station: Station, profile: Profile, references: Sequence[PropertyReference], now: Callable[[], datetime]
) -> Answers:
    """Ask `station` for `references`; each has an outcome afterwards. `now` stamps the answers.

    Raises DeviceUnreachable when nothing at all was answered, TransportError when our port is closed.
    """
    job = _Job(client, station, profile, now)
    job.want(references)
    await job.run()
    return job.answers


async def resume(client: Client, station: Station, profile: Profile, begun: Begun, now: Callable[[], datetime]) -> Answers:
    """Go on where a prepared poll met something it does not know; raises as `read_properties` does."""
    job = _Job(client, station, profile, now, heard=begun.heard)
    for batch, _ in begun.surprises:
        job.expect(batch)
    for batch in begun.rest:
        job.want(batch)
    await job.run(begun.surprises)
    return job.answers


class _Job:
    """One call of `read_properties`: the batches that wait, and what came of the others."""

    def __init__(
        self, client: Client, station: Station, profile: Profile, now: Callable[[], datetime], *, heard: bool = False
    ) -> None:
        self.answers = Answers()
        self._client = client
        self._station = station
        self._profile = profile
        self._now = now
        self._heard = heard
        self._waiting: deque[Batch] = deque()
        self._asked_again: set[PropertyReference] = set()
        self._alone = 0
        self._silences = 0
        self._dropped = 0
        self._malformed = 0
        self._decoded = heard
        """A ReadPropertyMultiple was answered so that it could be read."""
        self._failure: DeviceUnreachable | TransportError | None = None

    def want(self, references: Sequence[PropertyReference]) -> None:
        """Ask for these, each once, but for those the device was found not to have."""
        absent = self._profile.absent
        wanted = [reference for reference in dict.fromkeys(references) if reference not in absent]
        self.answers.outcomes.update(dict.fromkeys(references, UNKNOWN_PROPERTY))
        self.expect(wanted)
        if wanted:
            self._waiting.append(wanted)

    def expect(self, references: Iterable[PropertyReference]) -> None:
        """These are asked for."""
        self.answers.outcomes.update(dict.fromkeys(references, NOT_ANSWERED))

    async def run(self, ended: Sequence[tuple[Batch, Ended]] = ()) -> None:
        """Judge how these requests ended, then ask for all that waits. Raises DeviceUnreachable, TransportError."""
        for batch, end in ended:
            await self._attempt(batch, self._judge(batch, end))
        if self._client.in_flight_per_device == 1:
            await self._work()
        else:
            await asyncio.gather(*(self._work() for _ in range(self._client.in_flight_per_device)))
        if isinstance(self._failure, TransportError) or (self._failure is not None and not self._was_heard()):
            raise self._failure

    def _was_heard(self) -> bool:
        return self._heard or bool(self.answers.arrived)

    async def _work(self) -> None:
        while self._waiting:
            batch = self._take()
            await self._attempt(batch, self._ask(batch))

    async def _attempt(self, batch: Batch, asking: Awaitable[None]) -> None:
        try:
            await asking
        except DeviceUnreachable as error:
            self._fall_silent(batch, error)
        except TransportError as error:
            self._failure = error
            self._waiting.clear()

    def _take(self) -> Batch:
        """The next batch, cut to what the device can answer at once."""
        batch = self._waiting.popleft()
        if not self._profile.has_rpm:
            size = 1
        else:
            room = self._profile.room
            size, previous = 0, None
            for reference in batch:
                room -= estimate(reference, previous)
                if room < 0:
                    break
                previous, size = reference.object, size + 1
        size = max(1, size)
        if size < len(batch):
            self._waiting.appendleft(batch[size:])
        return batch[:size]

    async def _ask(self, batch: Batch) -> None:
        if len(batch) == 1:
            await self._ask_one(batch[0])
            return
        request = encode_read_property_multiple(batch)
        end: Ended
        try:
            end = await self._client.transact(self._station, request, tries=tries_of_batch(self._client))
        except (DeviceUnreachable, MalformedReply) as error:
            end = error
        await self._judge(batch, end)

    async def _judge(self, batch: Batch, end: Ended) -> None:
        """What to make of how a ReadPropertyMultiple ended. Raises DeviceUnreachable, TransportError."""
        match end:
            case ComplexAck():
                self._take_over(batch, end)
            case MalformedReply() | SimpleAck():
                self._spoilt(batch)
            case DeviceUnreachable():
                await self._probe(batch, end)
            case Error() | Reject() | Abort():
                self._refused(batch, end)
            case BacnetError():
                raise end

    async def _probe(self, batch: Batch, silence: DeviceUnreachable) -> None:
        """The last try of a batch nobody answered is for one property; raises `silence` when that is not answered either."""
        try:
            await self._ask_one(batch[0], tries=1)
        except DeviceUnreachable:
            raise silence from None
        self._dropped += 1
        if self._dropped > 1 and not self._profile.rpm_proven:
            self._profile.has_rpm = False
        self._profile.shrink(_octets(batch))
        self._halve(batch[1:])
        if self._dropped >= MAX_DROPPED:
            self._give_up()

    async def _ask_one(self, reference: PropertyReference, *, tries: int | None = None) -> None:
        """ReadProperty. Raises DeviceUnreachable."""
        try:
            answer = await self._client.transact(self._station, encode_read_property(reference), tries=tries, segmented=True)
            if isinstance(answer, SimpleAck):
                raise DecodeError("no value")
            if isinstance(answer, (Error, Reject, Abort)):
                self._settle(reference, _refusal(self._station, answer))
                return
            result = decode_read_property_ack(answer.parameters)
            if result.reference != reference:
                raise DecodeError("another property than was asked for")
        except (MalformedReply, DecodeError) as error:
            self._client.counters.malformed += isinstance(error, DecodeError)
            self._settle(reference, MALFORMED)
            return
        self._settle(reference, outcome_of(result.outcome))

    def _take_over(self, batch: Batch, answer: ComplexAck) -> None:
        """Note what the answer says of what was asked; ask once more for what it leaves out."""
        try:
            answered = dict(trusted(batch, decode_read_property_multiple_ack(answer.parameters)))
        except DecodeError:
            self._client.counters.malformed += 1
            self._spoilt(batch)
            return
        self._profile.succeeded()
        self._decoded = True
        outcomes, at = self.answers.outcomes, self._now()
        left_out: Batch = []
        for reference in batch:
            outcome = answered.get(reference)
            if isinstance(outcome, tuple):
                outcomes[reference] = outcome
                self.answers.arrived[reference.object] = at
            elif outcome is not None:
                self._settle(reference, outcome_of(outcome))
            else:
                left_out.append(reference)
        self._ask_again(left_out, is_progress=len(left_out) < len(batch))

    def _ask_again(self, left_out: Batch, *, is_progress: bool) -> None:
        """Ask for what an answer left out: together as long as answers bring something, and then, within bounds, one by one."""
        alone = [] if is_progress else [reference for reference in left_out if reference in self._asked_again]
        together = left_out if is_progress else [reference for reference in left_out if reference not in self._asked_again]
        self._asked_again.update(together)
        if together:
            self._waiting.append(together)
        for reference in alone:
            if self._alone < MAX_ALONE:
                self._alone += 1
                self._waiting.append([reference])

    def _refused(self, batch: Batch, answer: Error | Reject | Abort) -> None:
        profile = self._profile
        unknown_service = isinstance(answer, Reject) and answer.reason == UNRECOGNIZED_SERVICE
        if unknown_service or (len(batch) == 2 and not profile.rpm_proven):
            profile.has_rpm = False
            self._waiting.appendleft(batch)
            return
        if not (isinstance(answer, Error) and answer.error.error_code in _ABOUT_ONE):
            profile.shrink(_octets(batch))
        self._halve(batch)

    def _spoilt(self, batch: Batch) -> None:
        """An answer nobody can decode: narrow it down, within bounds; with smaller batches, or none, when that does not help."""
        self._malformed += 1
        profile = self._profile
        if self._malformed <= MAX_MALFORMED:
            self._halve(batch)
        elif not self._decoded:
            profile.has_rpm = False
            self._waiting.appendleft(batch)
        elif profile.budget > MIN_BUDGET:
            self._malformed = 0
            profile.shrink(profile.budget)
            self._halve(batch)
        else:
            for reference in batch:
                self._settle(reference, MALFORMED)

    def _halve(self, batch: Batch) -> None:
        middle = (len(batch) + 1) // 2
        for half in (batch[middle:], batch[:middle]):
            if half:
                self._waiting.appendleft(half)

    def _settle(self, reference: PropertyReference, outcome: Outcome) -> None:
        self.answers.outcomes[reference] = outcome
        self.answers.arrived[reference.object] = self._now()
        if outcome == UNKNOWN_PROPERTY or outcome in TOO_LONG:
            self._profile.lacks(reference)

    def _fall_silent(self, batch: Batch, error: DeviceUnreachable) -> None:
        self._silences += 1
        for reference in batch:
            self.answers.outcomes[reference] = TIMED_OUT
        if not self._was_heard():
            self._failure = error
        if self._failure is not None or self._silences >= MAX_SILENCES:
            self._give_up()

    def _give_up(self) -> None:
        for rest in self._waiting:
            self.answers.outcomes.update(dict.fromkeys(rest, TIMED_OUT))
        self._waiting.clear()


def tries_of_batch(client: Client) -> int:
    """How often a batch is sent; the last try is for one property of it."""
    return max(1, client.tries - 1)


def _octets(batch: Batch) -> int:
    total, previous = REPLY_HEADER_OCTETS, None
    for reference in batch:
        total += estimate(reference, previous)
        previous = reference.object
    return total


def outcome_of(outcome: PropertyValues | PropertyError) -> Outcome:
    """The domain's spelling of an error; values as they are."""
    if isinstance(outcome, PropertyError):
        return ReadingError(
            error_class=names.name_of(names.ERROR_CLASSES, outcome.error_class),
            error_code=names.name_of(names.ERROR_CODES, outcome.error_code),
        )
    return outcome


def _refusal(station: Station, answer: Error | Reject | Abort) -> ReadingError:
    refused = refusal(station, answer)
    return ReadingError(error_class=refused.error_class, error_code=refused.error_code)
