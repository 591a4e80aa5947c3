"""Subscriptions to the changes of one device's points, kept alive (ASHRAE 135 clause 13.14).

- Each subscription is renewed at half of its lifetime. The device answers each renewal with a notification; where none comes the
  device does not keep its word, or has lost the subscription, and it is subscribed to again with back-off.
- An I-Am may mean that the device was restarted and forgot everything: all is subscribed to again, though not for each of a storm.
- A device that does not answer is tried with one subscription at a time, with back-off.
- Whoever stops following cancels what is subscribed, as far as that takes a bounded time; the rest ends by its lifetime.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from bms_iot.bacnet.apdu import Abort, Error, Reject, SimpleAck
from bms_iot.bacnet.cov.notifications import Notifications, to_change
from bms_iot.bacnet.network.npdu import Station
from bms_iot.bacnet.polling.profile import Profile
from bms_iot.bacnet.services.cov import Notification, encode_cancel_cov, encode_subscribe_cov
from bms_iot.bacnet.transactions.client import Client, refusal
from bms_iot.bacnet.values.codec import ObjectId
from bms_iot.domain.points import Device, Point
from bms_iot.domain.subscriptions import Coverage, CovTerms, Deliver, Report
from bms_iot.errors import BacnetError, DeviceUnreachable, MalformedReply

NOTIFIED_WITHIN_SECONDS = 5.0
"""How long after a subscription its first notification may take."""
RETRY_SECONDS, REFUSED_SECONDS, RETRY_MOST_SECONDS = 5.0, 60.0, 3600.0
"""The first pause after silence and after a refusal, doubled for each in a row, and the longest after a refusal. After silence of
any kind the pauses stay within a lifetime."""
STORM_SECONDS = 10.0
"""An I-Am so soon after the last one that counted waits for the rest of that time, or of a quarter of the lifetime."""
CANCEL_SECONDS = 1.0

UNRECOGNIZED_SERVICE = 9
_OFFERS_NONE = frozenset({29, 45})
"""Error codes service-request-denied and optional-functionality-not-supported: no point of the device will do better."""


@dataclass(slots=True, kw_only=True)
class _Subscription:
    """One point. Times are of the loop's clock."""

    point: Point
    identifier: ObjectId
    due: float
    is_held: bool = False
    """The device may have it."""
    sent_at: float = -1.0
    notified_at: float = -1.0
    notified_by: float | None = None
    failures: int = 0
    coverage: Coverage = Coverage.PENDING


class Following:
    """Follows points of one device until cancelled; see `ControllerNetwork.follow`."""

    def __init__(
        self,
        *,
        client: Client,
        notifications: Notifications,
        station: Station,
        profile: Profile,
        device: Device,
        points: Sequence[Point],
        terms: CovTerms,
        deliver: Deliver,
        report: Report,
        now: Callable[[], datetime],
    ) -> None:
        self._client, self._notifications, self._station, self._profile = client, notifications, station, profile
        self._device, self._terms, self._deliver, self._report, self._now = device, terms, deliver, report, now
        self._loop = asyncio.get_running_loop()
        self._subscriptions = {
            (identifier := ObjectId(point.object.type.number, point.object.instance)): _Subscription(
                point=point, identifier=identifier, due=self._loop.time()
            )
            for point in points
        }
        self._process_id = 0
        self._wake = asyncio.Event()
        self._restart_at: float | None = None
        self._restarted_at = self._loop.time()
        self._silences = 0

    @property
    def device_instance(self) -> int:
        return self._device.instance

    def notified(self, notification: Notification) -> bool:
        """See `Follower`."""
        subscription = self._subscriptions.get(notification.object)
        if subscription is None:
            return False
        subscription.notified_at = self._loop.time()
        if subscription.is_held and (subscription.notified_by is not None or subscription.coverage is not Coverage.COVERED):
            self._keeps_its_word(subscription)
        reading = to_change(subscription.point, notification.values, self._now())
        if reading is not None:
            self._deliver(reading)
        return True

    def introduced(self) -> None:
        """See `Follower`."""
        if self._restart_at is None:
            self._restart_at = max(self._loop.time(), self._restarted_at + min(STORM_SECONDS, self._terms.lifetime_seconds / 4))
            self._wake.set()

    async def run(self) -> None:
        """Subscribe and renew until cancelled; then cancel what is subscribed. Raises TransportError when our port is closed."""
        if not self._subscriptions:
            return
        self._process_id = self._notifications.attach(self._station, self)
        try:
            while True:
                self._wake.clear()
                now = self._loop.time()
                self._look_around(now)
                for subscription in [each for each in self._subscriptions.values() if each.due <= now]:
                    if subscription.due <= now:  # still: what the device said to one may put off the others
                        await self._subscribe(subscription)
                await self._pause()
        finally:
            await self._cancel()
            self._notifications.detach(self._station, self._process_id)

    def _look_around(self, now: float) -> None:
        """Take note of a restart, and of notifications that did not come."""
        if self._restart_at is not None and self._restart_at <= now:
            self._restart_at, self._restarted_at, self._silences = None, now, 0
            for subscription in self._subscriptions.values():
                if subscription.is_held or subscription.coverage is Coverage.PENDING:
                    subscription.due = now
        for subscription in self._subscriptions.values():
            if subscription.notified_by is not None and subscription.notified_by <= now:
                subscription.notified_by = None
                self._fail(subscription, Coverage.SILENT, "no notification after subscribing")

    async def _pause(self) -> None:
        until = min(
            each.due if each.notified_by is None else min(each.due, each.notified_by) for each in self._subscriptions.values()
        )
        if self._restart_at is not None:
            until = min(until, self._restart_at)
        try:
            async with asyncio.timeout_at(until):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _subscribe(self, subscription: _Subscription) -> None:
        """Subscribe, or renew, and note what the device says. Raises TransportError."""
        lifetime = self._terms.lifetime_seconds
        request = encode_subscribe_cov(
            self._process_id, subscription.identifier, lifetime_seconds=lifetime, confirmed=self._terms.confirmed
        )
        subscription.sent_at, subscription.is_held = self._loop.time(), True
        try:
            answer = await self._client.transact(self._station, request)
        except (DeviceUnreachable, MalformedReply) as error:
            self._away(subscription, str(error))
            return
        self._answers_again()
        match answer:
            case SimpleAck():
                self._accepted(subscription)
            case Error() | Reject() | Abort():
                self._refused(subscription, answer)
            case _:
                self._fail(subscription, Coverage.REFUSED, "an answer that is none")

    def _answers_again(self) -> None:
        """After a silence of the device nobody knows what it still has."""
        if self._silences:
            self._silences, now = 0, self._loop.time()
            for each in self._subscriptions.values():
                if each.coverage is Coverage.PENDING:
                    each.due = min(each.due, now)

    def _accepted(self, subscription: _Subscription) -> None:
        now = self._loop.time()
        subscription.due = now + self._terms.lifetime_seconds / 2 * (1 - 0.1 * random.random())  # noqa: S311 - spreads renewals
        if subscription.notified_at >= subscription.sent_at:  # the notification may overtake the acknowledgement
            self._keeps_its_word(subscription)
        else:
            subscription.notified_by = now + min(NOTIFIED_WITHIN_SECONDS, self._terms.lifetime_seconds / 4)

    def _keeps_its_word(self, subscription: _Subscription) -> None:
        self._profile.has_cov = True
        subscription.notified_by = None
        subscription.failures = 0
        self._set(subscription, Coverage.COVERED, "notified")

    def _refused(self, subscription: _Subscription, answer: Error | Reject | Abort) -> None:
        offers_none = (isinstance(answer, Reject) and answer.reason == UNRECOGNIZED_SERVICE) or (
            isinstance(answer, Error) and answer.error.error_code in _OFFERS_NONE
        )
        refused = refusal(self._station, answer)
        reason = f"{refused.error_class}, {refused.error_code}"
        if not offers_none:
            self._fail(subscription, Coverage.REFUSED, reason)
            return
        self._profile.has_cov = False
        for each in self._subscriptions.values():
            each.failures = 0
            self._fail(each, Coverage.REFUSED, reason)
            each.due = self._loop.time() + RETRY_MOST_SECONDS

    def _fail(self, subscription: _Subscription, coverage: Coverage, reason: str) -> None:
        """Try this one again later."""
        is_refused = coverage is Coverage.REFUSED
        subscription.is_held = not is_refused
        if is_refused:
            pause = _doubled(REFUSED_SECONDS, subscription.failures, RETRY_MOST_SECONDS)
        else:
            pause = self._patience(subscription.failures)
        subscription.due = self._loop.time() + pause
        subscription.failures += 1
        self._set(subscription, coverage, reason)

    def _patience(self, failures: int) -> float:
        """The pause after silence."""
        lifetime = self._terms.lifetime_seconds
        return _doubled(min(RETRY_SECONDS, lifetime / 8), failures, lifetime / 2)

    def _away(self, subscription: _Subscription, reason: str) -> None:
        """The device does not answer: all that is due waits, and one probes."""
        again = self._loop.time() + self._patience(self._silences)
        self._silences += 1
        for each in self._subscriptions.values():
            each.due = max(each.due, again)
            self._set(each, Coverage.PENDING, reason)
        subscription.due = again

    def _set(self, subscription: _Subscription, coverage: Coverage, reason: str) -> None:
        if subscription.coverage is not coverage:
            subscription.coverage = coverage
            self._report(subscription.point, coverage, reason)

    async def _cancel(self) -> None:
        """End the subscriptions; what the device does not confirm in time ends by its lifetime."""
        held = [each.identifier for each in self._subscriptions.values() if each.is_held and not self._silences]
        cancellations = [self._loop.create_task(self._cancel_one(identifier)) for identifier in held]
        if cancellations:
            await asyncio.wait(cancellations, timeout=CANCEL_SECONDS)
        for task in cancellations:
            task.cancel()
        await asyncio.gather(*cancellations, return_exceptions=True)
        for subscription in self._subscriptions.values():
            subscription.is_held = False
            self._set(subscription, Coverage.PENDING, "not followed any more")

    async def _cancel_one(self, identifier: ObjectId) -> None:
        with suppress(BacnetError):
            await self._client.transact(self._station, encode_cancel_cov(self._process_id, identifier), tries=1, urgent=True)


def _doubled(first: float, failures: int, most: float) -> float:
    """The pause after so many failures in a row, a little longer each time so that many do not come together."""
    return min(first * 2.0 ** min(failures, 16), most) * (1 + 0.1 * random.random())  # noqa: S311 - spreads requests
