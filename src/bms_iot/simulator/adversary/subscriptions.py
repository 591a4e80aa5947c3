"""Change-of-value subscriptions and notifications (ASHRAE 135 clauses 13.1 and 13.14)."""

from collections.abc import Callable
from dataclasses import dataclass

from bms_iot.simulator.adversary import octets
from bms_iot.simulator.adversary.objects import PRESENT_VALUE, STATUS_FLAGS, HeldObject, Objects, joined
from bms_iot.simulator.adversary.requests import (
    CONFIRMED_COV,
    UNCONFIRMED_COV,
    UNCONFIRMED_REQUEST,
    Address,
    Identifier,
    Subscription,
)

MAX_SUBSCRIPTIONS = 10_000


@dataclass(slots=True)
class _Subscriber:
    client: Address
    subscription: Subscription
    until: float | None


class Subscriptions:
    """Who wants to hear of which object. `send` takes the client and an APDU, `now` gives seconds."""

    def __init__(self, objects: Objects, send: Callable[[Address, bytes], None], now: Callable[[], float]) -> None:
        self._objects = objects
        self._send = send
        self._now = now
        self._subscribers: dict[tuple[Address, int, Identifier], _Subscriber] = {}
        self._invoke_id = 0

    def __len__(self) -> int:
        return len(self._subscribers)

    def take(self, client: Address, subscription: Subscription) -> bool:
        """Begin, renew or end a subscription; False when there are too many."""
        key = client, subscription.process, subscription.object
        if subscription.confirmed is None:
            self._subscribers.pop(key, None)
            return True
        if key not in self._subscribers and len(self._subscribers) >= MAX_SUBSCRIPTIONS:
            return False
        until = self._now() + subscription.lifetime if subscription.lifetime else None
        self._subscribers[key] = _Subscriber(client, subscription, until)
        return True

    def forget(self) -> None:
        """A power cycle: nobody is subscribed any more."""
        self._subscribers.clear()

    def notify(self, identifier: Identifier, *, only: Address | None = None) -> None:
        """Tell those who subscribed to the object what its value is."""
        found = self._objects.find(identifier)
        if found is None:
            return
        now = self._now()
        for key, subscriber in tuple(self._subscribers.items()):
            if subscriber.until is not None and subscriber.until <= now:
                del self._subscribers[key]
            elif subscriber.subscription.object == identifier and only in (None, subscriber.client):
                self._send(subscriber.client, self._notification(found, subscriber, now))

    def _notification(self, found: HeldObject, subscriber: _Subscriber, now: float) -> bytes:
        subscription = subscriber.subscription
        left = 0 if subscriber.until is None else max(1, round(subscriber.until - now))
        values = b"".join(
            octets.context(0, octets.number(number)) + octets.enclose(2, joined(found.properties[number]))
            for number in (PRESENT_VALUE, STATUS_FLAGS)
            if number in found.properties
        )
        body = (
            octets.context(0, octets.number(subscription.process))
            + octets.context(1, octets.identifier(*self._objects.device))
            + octets.context(2, octets.identifier(*subscription.object))
            + octets.context(3, octets.number(left))
            + octets.enclose(4, values)
        )
        if not subscription.confirmed:
            return bytes((UNCONFIRMED_REQUEST << 4, UNCONFIRMED_COV)) + body
        self._invoke_id = (self._invoke_id + 1) % 256
        return bytes((0x00, 0x05, self._invoke_id, CONFIRMED_COV)) + body
