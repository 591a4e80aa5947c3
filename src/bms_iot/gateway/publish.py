"""Deliver the outbox: what is new first, the backlog paced beside it; a message leaves on its PUBACK only."""

import asyncio
import gzip
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat

import structlog

from bms_iot.domain.dates import NO_SHIFT
from bms_iot.domain.ports import Broker, Clock
from bms_iot.domain.readings import NO_OPTIONAL, Reading
from bms_iot.errors import BrokerUnavailable, PublishRefused, StorageError
from bms_iot.gateway.doubts import Doubts
from bms_iot.gateway.flows import first_failure
from bms_iot.gateway.image import CurrentImage
from bms_iot.gateway.state import GatewayState
from bms_iot.mqtt.bulk import BulkEncoder
from bms_iot.mqtt.payload import encode_gap
from bms_iot.mqtt.topics import Topics
from bms_iot.storage.outbox import FIRST, Key, Outbox, StoredMessage

log = structlog.get_logger()

LIVE_AT_ONCE = 20
BACKLOG_AT_ONCE = 10
DOUBTED_AT_MOST = 1000
"""More refusals than that are about us, not about messages."""
REFUSED_FIRST_SECONDS, REFUSED_MOST_SECONDS = 30.0, 300.0
SETTLE_SECONDS = 11.0
UNSPECIFIED, PACKET_TOO_LARGE = 0x80, 0x95
"""MQTT 5 reason codes (clause 3.4.2.1)."""
COMPRESSED = "application/json+gzip"
"""The content type of a compressed message; others have none."""
_UNENCODABLE = (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError)


class _Split(Exception):
    """A message became two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resent:
    """What `resend` could do: messages and readings sent again, and the ranges of seqs that are not there any more."""

    messages: int
    readings: int
    missing: tuple[tuple[int, int], ...]
    """(first_seq, last_seq)"""


class Publish:
    """Publishes the outbox on `B/bulk` while the broker is there. Consumers order by (boot, seq)."""

    def __init__(
        self,
        *,
        broker: Broker,
        outbox: Outbox,
        image: CurrentImage,
        topics: Topics,
        clock: Clock,
        state: GatewayState,
        drain_readings_per_second: int,
        max_payload_bytes: int,
        compresses: bool = False,
    ) -> None:
        self._broker, self._outbox, self._clock, self._state = broker, outbox, clock, state
        self._topic = topics.bulk
        self._encoder = BulkEncoder(iot_device_id=state.deployment.device_id, point=image.point, optional=image.optional)
        self._drain_readings_per_second = drain_readings_per_second
        self._max_payload_bytes, self._compresses = max_payload_bytes, compresses
        self._doubts = Doubts(clock)
        self._sending = asyncio.Lock()
        """One batch at a time: when the connection ends, what was under way is known."""
        self._refused_pause = REFUSED_FIRST_SECONDS
        self.delivered = self.delivered_messages = 0
        """Readings and messages acknowledged since the start."""

    async def run(self) -> None:
        """Deliver until cancelled; then write down what was acknowledged."""
        try:
            while True:
                await self._broker.wait_connected()
                newest = self._outbox.newest()
                error = await first_failure(
                    self._backlog(newest), self._live(newest), self._doubted(), self._announce_gaps(), self._settle()
                )
                await self._after(error)
        finally:
            await self._outbox.settle()

    async def _after(self, error: BaseException) -> None:
        if isinstance(error, BrokerUnavailable):
            log.info("delivery_paused", reason=str(error), waiting_messages=self._outbox.messages)
        elif isinstance(error, PublishRefused):
            log.error(
                "publish_refused", reason=str(error), waiting_messages=self._outbox.messages, retry_seconds=self._refused_pause
            )
            self._state.delivery_failed(str(error))
            await self._clock.sleep(self._refused_pause)
            self._refused_pause = min(self._refused_pause * 2, REFUSED_MOST_SECONDS)
        elif not isinstance(error, _Split):
            raise error

    def account(self) -> dict[str, int]:
        """What was kept and what was acknowledged since the start, and what waits, in readings and messages."""
        return {
            "committed_readings": self._outbox.committed,
            "delivered_readings": self.delivered,
            "given_up_readings": self._outbox.evicted,
            "waiting_readings": self._outbox.readings,
            "waiting_messages": self._outbox.messages,
            "last_seq": self._outbox.newest()[1],
        }

    async def drained(self) -> None:
        """Returns when nothing waits any more."""
        while self._outbox.messages:
            self._outbox.shrunk.clear()
            await self._outbox.shrunk.wait()

    async def resend(self, boot: int, first_seq: int, last_seq: int) -> Resent:
        """Publish a range of messages again, at the pace of the backlog. Raises BrokerUnavailable, PublishRefused, StorageError."""
        missing: list[tuple[int, int]] = []
        sent = readings = 0
        expected = first_seq
        while expected <= last_seq and (found := await self._outbox.kept(boot, expected, last_seq, limit=BACKLOG_AT_ONCE)):
            for message in found:
                if message.seq > expected:
                    missing.append((expected, message.seq - 1))
                expected = message.seq + 1
            async with self._sending:
                await asyncio.gather(*(self._send(self._encode(message)) for message in found))
            sent, readings = sent + len(found), readings + sum(message.count for message in found)
            await self._clock.sleep(sum(message.count for message in found) / self._drain_readings_per_second)
        if expected <= last_seq:
            missing.append((expected, last_seq))
        return Resent(messages=sent, readings=readings, missing=tuple(missing))

    async def _live(self, after: Key) -> None:
        while True:
            self._state.stored.clear()
            while messages := await self._deliver(after, at_most=LIVE_AT_ONCE):
                after = messages[-1].key
            await self._state.stored.wait()

    async def _backlog(self, until: Key) -> None:
        after, due = FIRST, self._clock.monotonic()
        while messages := await self._deliver(after, at_most=BACKLOG_AT_ONCE, until=until):
            after = messages[-1].key
            # From beat to beat, so that the time a batch takes does not slow the drain.
            due = max(due, self._clock.monotonic() - 1.0) + sum(m.count for m in messages) / self._drain_readings_per_second
            if (pause := due - self._clock.monotonic()) > 0:
                await self._clock.sleep(pause)

    async def _doubted(self) -> None:
        """Try those that did not get through, each alone."""
        while True:
            key = await self._doubts.next()
            async with self._sending, self._outbox.lend_one(key) as message:
                if message is None:
                    self._doubts.dispel(key)
                else:
                    await self._try_alone(message)

    async def _try_alone(self, message: StoredMessage) -> None:
        if not self._broker.is_connected:
            raise BrokerUnavailable("there is no connection to the broker")
        try:
            await self._publish_all([message])
        except BrokerUnavailable as error:
            # To split costs nothing; to give up must not be for a network that breaks by itself.
            if self._doubts.broke(message.key) and (message.count > 1 or self._doubts.is_to_blame(message.key)):
                await self._set_aside(message, f"the connection ends whenever it is sent: {error}")
            raise
        except PublishRefused as error:
            self._doubts.refused(message.key)
            self._state.delivery_failed(str(error))
            log.warning("message_refused", boot=message.boot, seq=message.seq, reason=str(error))

    async def _announce_gaps(self) -> None:
        while True:
            self._outbox.gapped.clear()
            while await self._announce_some():
                pass
            await self._outbox.gapped.wait()

    async def _announce_some(self) -> int:
        async with self._outbox.unannounced_gaps() as gaps:
            for gap in gaps:
                await self._broker.publish(self._topic, encode_gap(gap))
                await self._outbox.announce(gap, self._clock.now())
        return len(gaps)

    async def _settle(self) -> None:
        """Write down what was acknowledged, where no new message does it on the way."""
        while True:
            before = self._outbox.newest()
            await self._clock.sleep(SETTLE_SECONDS)
            if self._outbox.newest() == before:
                await self._outbox.settle()

    async def _deliver(self, after: Key, *, at_most: int, until: Key | None = None) -> list[StoredMessage]:
        """Publish the next together, in order, but for those in doubt; the answer is which they were.

        What was acknowledged stays so even when the rest was not.
        """
        async with self._sending, self._outbox.lend(after, limit=at_most, until=until) as messages:
            if sure := [message for message in messages if message.key not in self._doubts]:
                await self._deliver_together(sure)
            return messages

    async def _deliver_together(self, messages: Sequence[StoredMessage]) -> None:
        try:
            refused = await self._publish_all(messages)
        except BrokerUnavailable:
            for message in messages:
                if not self._outbox.is_acknowledged(message.key):
                    self._doubts.suspect(message.key)
            raise
        if len(refused) == len(messages) or len(self._doubts) + len(refused) > DOUBTED_AT_MOST:
            raise next(iter(refused.values()), PublishRefused("too many messages are refused", reason_code=UNSPECIFIED))
        for message in messages:
            if message.key in refused:
                self._doubts.refused(message.key)
                self._state.delivery_failed(str(refused[message.key]))

    async def _publish_all(self, messages: Sequence[StoredMessage]) -> dict[Key, PublishRefused]:
        """Those refused, where others were not. Raises BrokerUnavailable, and PublishRefused for a single message."""
        tasks: list[asyncio.Task[bool]] = []
        try:
            for message in messages:
                tasks.append(asyncio.create_task(self._publish(message)))
                await asyncio.sleep(0)  # what is encoded leaves while the next is being encoded
            await asyncio.wait(tasks)
        finally:  # what was acknowledged by then is not sent again
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            outcomes = list(zip(messages, results, strict=False))
            self._delivered([message for message, result in outcomes if result is True])
        refused = {message.key: error for message, error in outcomes if isinstance(error, PublishRefused)}
        for error in results:
            if isinstance(error, BaseException) and not isinstance(error, PublishRefused):
                raise error
        if len(messages) == 1 and refused:
            raise refused[messages[0].key]
        return refused

    def _delivered(self, messages: Sequence[StoredMessage]) -> None:
        if messages:
            self._outbox.acknowledge(messages, self._clock.now())
            self.delivered += sum(message.count for message in messages)
            self.delivered_messages += len(messages)
            self._doubts.acknowledged += len(messages)
            self._refused_pause = REFUSED_FIRST_SECONDS
            for message in messages:
                self._doubts.dispel(message.key)
            if not self._doubts:
                self._state.delivery_works()

    async def _publish(self, message: StoredMessage) -> bool:
        """One message. One that is too large is split; one that can never be delivered is set aside: then false."""
        try:
            payload = self._encode(message)
            if len(payload) > self._max_payload_bytes and message.count > 1:
                await self._set_aside(message, "it is too large")
            await self._send(payload)
        except StorageError as error:
            await self._park(message, str(error))
        except PublishRefused as error:
            if error.reason_code != PACKET_TOO_LARGE:
                raise
            await self._set_aside(message, str(error))
        else:
            return True
        return False

    async def _send(self, payload: bytes) -> None:
        if self._compresses and self._broker.protocol == "5":
            await self._broker.publish(self._topic, gzip.compress(payload, 6, mtime=0), content_type=COMPRESSED)
        else:
            await self._broker.publish(self._topic, payload)

    async def _set_aside(self, message: StoredMessage, reason: str) -> None:
        """Make two of it, or give it up. Raises _Split when two could be made of it: delivery then begins again."""
        if message.count == 1:
            await self._park(message, reason)
            return
        second = await self._outbox.split(message)
        if message.key in self._doubts:
            self._doubts.dispel(message.key)
            self._doubts.suspect(message.key)
            self._doubts.suspect(second)
        log.info("message_split", boot=message.boot, seq=message.seq, readings=message.count, reason=reason)
        raise _Split

    async def _park(self, message: StoredMessage, reason: str) -> None:
        self._doubts.dispel(message.key)
        log.error("message_given_up", boot=message.boot, seq=message.seq, readings=message.count, reason=reason)
        await self._outbox.park(message, reason, self._clock.now())

    def _encode(self, message: StoredMessage) -> bytes:
        """Raises StorageError when the payload cannot be decoded, names an unknown point or holds what has no JSON."""
        early = self._state.dates.of(message.boot, message.seq)
        shift = early.shift if early is not None and early.shift is not None else NO_SHIFT
        try:
            readings, columns = _carried(message)
            if shift:
                readings = [reading.later(shift) for reading in readings]
            clock = early.mark if early is not None else None
            return self._encoder.encode(message.boot, message.seq, readings, columns, clock=clock)
        except _UNENCODABLE as error:
            raise StorageError(f"an outbox message cannot be encoded: {error}") from error


def _carried(message: StoredMessage) -> tuple[Sequence[Reading], Iterable[Mapping[str, object]]]:
    """The readings, and the columns that differ from the point's row for each. Raises StorageError."""
    if message.fresh is not None:
        return message.fresh, repeat(NO_OPTIONAL)
    stored = message.readings()
    return [one.reading for one in stored], [one.columns for one in stored]
