"""Deliver the outbox: what is new first, the backlog paced beside it; a message leaves on its PUBACK only."""

import asyncio
from collections.abc import Coroutine, Sequence
from datetime import timedelta
from typing import Any

import structlog

from bms_iot.domain.dates import NO_SHIFT
from bms_iot.domain.ports import Broker, Clock
from bms_iot.errors import BrokerUnavailable, PublishRefused, StorageError
from bms_iot.gateway.image import CurrentImage
from bms_iot.gateway.state import GatewayState
from bms_iot.mqtt.payload import BulkPoint, encode_bulk, encode_gap
from bms_iot.mqtt.topics import Topics
from bms_iot.storage.compact import OutboxReading
from bms_iot.storage.outbox import Key, Outbox, StoredMessage

log = structlog.get_logger()

LIVE_AT_ONCE = 20
BACKLOG_AT_ONCE = 10
REFUSED_PAUSE_SECONDS = 30.0
PACKET_TOO_LARGE = 0x95
"""MQTT 5 reason code (clause 3.4.2.1)."""


class _Split(Exception):
    """A message became two."""


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
        drain_messages_per_second: int,
        max_payload_bytes: int,
    ) -> None:
        self._broker, self._outbox, self._image, self._clock, self._state = broker, outbox, image, clock, state
        self._topic = topics.bulk
        self._backlog_pause = BACKLOG_AT_ONCE / drain_messages_per_second
        self._max_payload_bytes = max_payload_bytes
        self.given_up = 0
        """Readings announced as a gap since the start."""
        self.delivered = 0
        """Readings acknowledged since the start."""

    async def run(self) -> None:
        """Deliver until cancelled."""
        while True:
            await self._broker.wait_connected()
            newest = self._outbox.newest()
            error = await first_failure(self._backlog(newest), self._live(newest))
            if isinstance(error, BrokerUnavailable):
                log.info("delivery_paused", reason=str(error), waiting_messages=self._outbox.messages)
            elif isinstance(error, PublishRefused):
                log.error("publish_refused", reason=str(error), waiting_messages=self._outbox.messages)
                await self._clock.sleep(REFUSED_PAUSE_SECONDS)
            elif not isinstance(error, _Split):
                raise error

    def account(self) -> dict[str, int]:
        """What was kept and what was acknowledged since the start, and what waits, in readings and messages."""
        return {
            "committed_readings": self._outbox.committed,
            "delivered_readings": self.delivered,
            "given_up_readings": self.given_up,
            "waiting_readings": self._outbox.readings,
            "waiting_messages": self._outbox.messages,
            "last_seq": self._outbox.newest()[1],
        }

    async def drained(self) -> None:
        """Returns when nothing waits any more."""
        while self._outbox.messages:
            self._outbox.shrunk.clear()
            await self._outbox.shrunk.wait()

    async def _live(self, after: Key) -> None:
        while True:
            self._state.stored.clear()
            while messages := await self._outbox.following(after, limit=LIVE_AT_ONCE):
                await self._deliver(messages)
                after = messages[-1].key
            await self._state.stored.wait()

    async def _backlog(self, until: Key) -> None:
        after: Key = (-1, 0)
        while messages := await self._outbox.following(after, limit=BACKLOG_AT_ONCE, until=until):
            await self._deliver(messages)
            after = messages[-1].key
            await self._clock.sleep(self._backlog_pause)

    async def _deliver(self, messages: Sequence[StoredMessage]) -> None:
        """Publish together, in order; what was acknowledged leaves the outbox even when the rest was not."""
        results = await asyncio.gather(*map(self._publish, messages), return_exceptions=True)
        outcomes = list(zip(messages, results, strict=True))
        await self._outbox.remove([message for message, result in outcomes if isinstance(result, bool)])
        self.delivered += sum(message.count for message, result in outcomes if result is True)
        self.given_up += sum(message.count for message, result in outcomes if result is False)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _publish(self, message: StoredMessage) -> bool:
        """One message. One that is too large is split; where it can never be delivered, a gap stands in for it: then false."""
        try:
            payload = self._encode(message)
            if len(payload) > self._max_payload_bytes:
                await self._split(message)
            await self._broker.publish(self._topic, payload)
        except StorageError as error:
            reason = str(error)
        except PublishRefused as error:
            if error.reason_code != PACKET_TOO_LARGE:
                raise
            await self._split(message)
            reason = str(error)
        else:
            return True
        log.error("message_given_up", boot=message.boot, seq=message.seq, readings=message.count, reason=reason)
        gap = encode_gap(
            boot=message.boot, seq=message.seq, readings=message.count, first_at=message.first_at, last_at=message.last_at
        )
        await self._broker.publish(self._topic, gap)
        return False

    async def _split(self, message: StoredMessage) -> None:
        """Raises _Split when it could be done: delivery then begins again with the first half."""
        if message.count > 1:
            await self._outbox.split(message)
            log.info("message_split", boot=message.boot, seq=message.seq, readings=message.count)
            raise _Split

    def _encode(self, message: StoredMessage) -> bytes:
        """Raises StorageError when the payload cannot be decoded, names an unknown point or holds what has no JSON."""
        early = self._state.dates.of(message.boot, message.seq)
        shift = early.shift if early is not None and early.shift is not None else NO_SHIFT
        try:
            points = [self._point(stored, shift) for stored in message.readings()]
            return encode_bulk(
                boot=message.boot,
                seq=message.seq,
                iot_device_id=self._state.deployment.device_id,
                points=points,
                clock=early.mark if early is not None else None,
            )
        except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError) as error:
            raise StorageError(f"an outbox message cannot be encoded: {error}") from error

    def _point(self, stored: OutboxReading, shift: timedelta) -> BulkPoint:
        point_id = stored.reading.point_id
        point = self._image.point(point_id)
        if point is None:
            raise StorageError(f"there is no point {point_id}")
        reading = stored.reading.later(shift) if shift else stored.reading
        return BulkPoint(point=point, reading=reading, optional=self._image.optional(point_id), columns=stored.columns)


async def first_failure(*flows: Coroutine[Any, Any, None]) -> BaseException:
    """Run together until one fails; the others are cancelled, and its exception is the answer.

    Not a TaskGroup: on Python 3.11 one that is already ending swallows the cancellation of whoever waits for it.
    """
    tasks = [asyncio.create_task(flow) for flow in flows]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return next(error for task in done if not task.cancelled() and (error := task.exception()) is not None)
