"""Sending confirmed requests: one after the other to each station, again when nothing comes, given up in the end (clause 5.4.4).

Everything that is on its way has a deadline; one sweep looks at them all, and runs only while there is something to look at.
"""

import asyncio
import random

from bms_iot.bacnet.counters import Counters
from bms_iot.bacnet.network.npdu import Station, frame_unicast
from bms_iot.bacnet.network.routers import BUSY_SECONDS, MOMENT_SECONDS, Reachable, Rejected, Routers
from bms_iot.bacnet.network.udp import UdpPort
from bms_iot.bacnet.transactions.queues import Peer, Queues
from bms_iot.bacnet.transactions.segments import TSM_TIMEOUT, Reassembly, encode_abort
from bms_iot.bacnet.transactions.transaction import Outcome, Transaction
from bms_iot.errors import DeviceUnreachable, TransportError

SWEEP_SECONDS = 0.05
FRESH_SECONDS = 0.25
"""How long an unanswered request counts against the total in flight: dead stations must not hold the places of live ones."""
JITTER = 0.1
"""The part of the time-out that a retry waits longer, at most: what was lost together is not sent together again."""


class Sender:
    """The requests that wait and those on their way. `timeout_seconds` is for each try."""

    def __init__(
        self,
        *,
        port: UdpPort,
        routers: Routers,
        counters: Counters,
        timeout_seconds: float,
        in_flight_per_device: int,
        in_flight_total: int,
    ) -> None:
        self.timeout_seconds = timeout_seconds
        self.queues = Queues(per_station=in_flight_per_device)
        self.on_the_way: dict[Transaction, None] = {}
        self._port = port
        self._routers = routers
        self._counters = counters
        self._in_flight_total = max(1, in_flight_total)
        self._fresh = 0
        self._sweep: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def open(self) -> None:
        """Start; the port must be open."""
        self._loop = asyncio.get_running_loop()
        self._in_flight_total = max(1, min(self._in_flight_total, self._port.room))

    def close(self) -> None:
        """Stop, and fail what waits and what is on its way with TransportError."""
        if self._sweep is not None:
            self._sweep.cancel()
        self._loop, self._sweep, self._fresh = None, None, 0
        unfinished = [*self.on_the_way, *self.queues.clear()]
        self.on_the_way.clear()
        for transaction in unfinished:
            transaction.done(TransportError("the BACnet port was closed"))

    @property
    def is_open(self) -> bool:
        return self._loop is not None

    def add(self, transaction: Transaction) -> None:
        """Send `transaction` when it is its turn."""
        self._counters.requests += 1
        self.queues.add(transaction)
        self._pump()

    def peer(self, station: Station) -> Peer | None:
        """What is on its way to `station` and was answered, None when it was never asked."""
        return self.queues.peer(station)

    def _pump(self) -> None:
        """Send what may be sent, one request of each station in turn."""
        while (transaction := self.queues.next(room=self._fresh < self._in_flight_total)) is not None:
            self.on_the_way[transaction] = None
            self._fresh += 1
            transaction.counted = True
            self._send(transaction)
            transaction.stale_at = transaction.deadline - self.timeout_seconds + FRESH_SECONDS

    def _send(self, transaction: Transaction) -> None:
        assert self._loop is not None, "nothing is sent when closed"
        if self._sweep is None:
            self._sweep = self._loop.call_later(SWEEP_SECONDS, self._expire)
        now = self._loop.time()
        host, port = transaction.station[:2]
        if transaction.station.network:
            hop = self._hop(transaction, now)
            if hop is None:
                return
            host, port = hop
        transaction.tries_left -= 1
        transaction.deadline = now + self.timeout_seconds
        transaction.send_error = self._port.send(transaction.frame, host, port)

    def _hop(self, transaction: Transaction, now: float) -> tuple[str, int] | None:
        """The router to send to; None when the transaction has to wait for one, which uses a try, or while it is busy."""
        network = transaction.station.network
        route = self._routers.route(network)
        if route is None:
            nobody = self._routers.has_nobody(network, now)
            transaction.parked = True
            transaction.reason = transaction.reason or f"no router to network {network} is known"
            transaction.tries_left = 0 if nobody else transaction.tries_left - 1
            transaction.deadline = now + (min(MOMENT_SECONDS, self.timeout_seconds) if nobody else self.timeout_seconds)
            self._routers.ask(network, now)
            return None
        if now < route.busy_until:
            transaction.hold_until = transaction.hold_until or now + BUSY_SECONDS
            if now < transaction.hold_until:
                transaction.parked = True
                transaction.deadline = min(route.busy_until, transaction.hold_until)
                return None
        transaction.parked = False
        return route.host, route.port

    def _expire(self) -> None:
        """Retry or give up what is overdue; runs only while something is on its way."""
        assert self._loop is not None, "nothing is sent when closed"
        self._sweep = None
        now = self._loop.time()
        for transaction in tuple(self.on_the_way):
            if transaction not in self.on_the_way:  # withdrawn by what an earlier one of this sweep woke
                continue
            if transaction.counted and transaction.stale_at <= now:
                self._release(transaction)
            if transaction.deadline <= now:
                self._overdue(transaction, now)
        self._pump()
        if self.on_the_way and self._sweep is None:
            self._sweep = self._loop.call_later(SWEEP_SECONDS, self._expire)

    def _overdue(self, transaction: Transaction, now: float) -> None:
        reassembly, network = transaction.reassembly, transaction.station.network
        if reassembly is not None:
            self._stalled(transaction, reassembly, now)
            return
        if network and not transaction.parked:
            self._routers.unanswered(network, now)
        if transaction.tries_left > 0:
            self._counters.retries += not transaction.parked
            self._send(transaction)
            transaction.deadline += random.random() * JITTER * self.timeout_seconds  # noqa: S311 - spreads retries
            return
        if network and self._routers.route(network) is None:
            self._routers.nobody(network, now)
        self._counters.timeouts += 1
        self.finish(transaction, self._unreachable(transaction))

    def _stalled(self, transaction: Transaction, reassembly: Reassembly, now: float) -> None:
        """No segment has come for a while: ask for the next one, but once only, or give up.

        A device may wait for longer than we do before it repeats a window, and begin to wait anew with each SegmentACK it gets.
        """
        reassembly.silences += 1
        if reassembly.silences < transaction.tries and now < reassembly.give_up_at:
            transaction.deadline = min(now + self.timeout_seconds, reassembly.give_up_at)
            if reassembly.silences == 1:
                self._counters.retries += 1
                self.reply(transaction.station, reassembly.nudge(transaction.invoke_id))
            return
        self._counters.timeouts += 1
        self.reply(transaction.station, encode_abort(transaction.invoke_id, TSM_TIMEOUT))
        self.finish(transaction, DeviceUnreachable(f"{transaction.station} stopped in the middle of an answer in segments"))

    def reply(self, station: Station, apdu: bytes) -> None:
        """Send a SegmentACK or Abort the way its transaction goes."""
        route = self._routers.route(station.network) if station.network else None
        host, port = (route.host, route.port) if route is not None else station[:2]
        if port:
            self._port.send(frame_unicast(apdu, expecting_reply=apdu[0] >> 4 == 4, to=station), host, port)

    def _release(self, transaction: Transaction) -> None:
        if transaction.counted:
            transaction.counted = False
            self._fresh -= 1

    def _unreachable(self, transaction: Transaction) -> DeviceUnreachable:
        why = f"; sending failed: {transaction.send_error}" if transaction.send_error is not None else ""
        why += f"; {transaction.reason}" if transaction.reason else ""
        tries = f"{transaction.tries} tries" if transaction.tries > 1 else "one try"
        return DeviceUnreachable(f"no answer from {transaction.station} in {tries} of {self.timeout_seconds:g} s{why}")

    def finish(self, transaction: Transaction, outcome: Outcome) -> None:
        self.withdraw(transaction)
        transaction.done(outcome)

    def withdraw(self, transaction: Transaction) -> None:
        """Forget a transaction, wherever it is, and send what waited for its place."""
        if self.queues.remove(transaction):
            del self.on_the_way[transaction]
            self._release(transaction)
        self._pump()

    def cancel(self, transaction: Transaction) -> None:
        """Nobody waits for `transaction` any more."""
        if transaction.reassembly is not None:
            self.reply(transaction.station, encode_abort(transaction.invoke_id, TSM_TIMEOUT))
        self.withdraw(transaction)

    def reachable(self, news: Reachable) -> None:
        """Send what waited for a router to that network, or for it to be free."""
        for transaction in self._to(news.network):
            if transaction.parked:
                transaction.tries_left = max(1, transaction.tries_left)
                transaction.reason, transaction.hold_until = None, 0.0
                self._send(transaction)
            elif news.moved and transaction.reassembly is None:
                transaction.tries_left += 1  # this one went the old way
                self._send(transaction)

    def rejected(self, news: Rejected) -> None:
        """A router did not pass on what was sent to that network: fail it, or hold it when the router is only busy."""
        for transaction in self._to(news.network):
            if transaction.parked or transaction.reassembly is not None:
                continue
            transaction.reason = news.reason
            if news.again and (not transaction.hold_until or self._now() < transaction.hold_until):
                transaction.tries_left += 1
                self._send(transaction)
            else:
                self.finish(transaction, DeviceUnreachable(f"{transaction.station} cannot be reached: {news.reason}"))

    def _now(self) -> float:
        assert self._loop is not None, "nothing is on its way when closed"
        return self._loop.time()

    def _to(self, network: int) -> list[Transaction]:
        return [transaction for transaction in self.on_the_way if transaction.station.network == network]
