"""Whose turn it is: what is on its way to each station, and what waits (the limits of the contract, not of the standard).

A lane is what may be on its way at once: one for each station of our own network, one for all stations of a network behind a
router, where one request is on its way at a time. Urgent requests go ahead of the others of their lane, and do not wait for a
place in the total.
"""

from collections import deque
from dataclasses import dataclass, field

from bms_iot.bacnet.network.npdu import Station
from bms_iot.bacnet.transactions.transaction import Transaction

MAX_INVOKE_IDS = 256
MAX_PEERS = 20_000
"""Stations remembered; of more, those with nothing to do are forgotten, the oldest first."""


@dataclass(slots=True, eq=False)
class Lane:
    """`ready` has the stations with something waiting and a free place, each once."""

    limit: int
    in_flight: int = 0
    queued: bool = False
    urgent: int = 0
    ready: "deque[Peer]" = field(default_factory=deque)


@dataclass(slots=True, eq=False)
class Peer:
    """One station: what is on its way to it by invoke id, and what waits."""

    station: Station
    lane: Lane
    next_invoke_id: int = 0
    in_flight: dict[int, Transaction] = field(default_factory=dict)
    urgent: deque[Transaction] = field(default_factory=deque)
    waiting: deque[Transaction] = field(default_factory=deque)
    queued: bool = False
    answered: deque[int] = field(default_factory=lambda: deque(maxlen=8))
    """The invoke ids answered last, to tell a duplicate from a late answer."""

    @property
    def is_idle(self) -> bool:
        return not (self.in_flight or self.urgent or self.waiting)


class Queues:
    """Every station's queue, and the turns. `per_station` requests may be on their way to a station of our own network."""

    def __init__(self, *, per_station: int) -> None:
        self.per_station = min(max(1, per_station), MAX_INVOKE_IDS - 1)
        self._peers: dict[Station, Peer] = {}
        self._networks: dict[int, Lane] = {}
        self._turns: deque[Lane] = deque()

    def peer(self, station: Station) -> Peer | None:
        """The station, when it was ever asked."""
        return self._peers.get(station)

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return sum(len(peer.urgent) + len(peer.waiting) for peer in self._peers.values())

    def add(self, transaction: Transaction) -> None:
        """Let `transaction` wait for its turn."""
        peer = self._peers.get(transaction.station) or self._new(transaction.station)
        if transaction.urgent:
            peer.urgent.append(transaction)
            peer.lane.urgent += 1
        else:
            peer.waiting.append(transaction)
        self._queue(peer)

    def _new(self, station: Station) -> Peer:
        if len(self._peers) >= MAX_PEERS:
            idle = next((peer for peer in self._peers.values() if peer.is_idle), None)
            if idle is not None:
                del self._peers[idle.station]
        lane = self._networks.setdefault(station.network, Lane(1)) if station.network else Lane(self.per_station)
        peer = self._peers[station] = Peer(station, lane)
        return peer

    def _queue(self, peer: Peer) -> None:
        lane = peer.lane
        if (peer.waiting or peer.urgent) and len(peer.in_flight) < lane.limit:
            if peer.urgent and lane.ready and lane.ready[0] is not peer:
                if peer.queued:
                    lane.ready.remove(peer)
                lane.ready.appendleft(peer)
                peer.queued = True
            elif not peer.queued:
                lane.ready.append(peer)
                peer.queued = True
        if lane.ready:
            self._queue_lane(lane)

    def _queue_lane(self, lane: Lane) -> None:
        if not lane.ready or lane.in_flight >= lane.limit:
            return
        if lane.urgent and not (self._turns and self._turns[0] is lane):
            if lane.queued:
                self._turns.remove(lane)
            self._turns.appendleft(lane)
        elif not lane.queued:
            self._turns.append(lane)
        lane.queued = True

    def next(self, *, room: bool) -> Transaction | None:
        """Take the next transaction that may be sent and number it; where there is no `room` in the total, an urgent one only."""
        while self._turns and (room or self._turns[0].urgent):
            lane = self._turns.popleft()
            lane.queued = False
            if not lane.ready or lane.in_flight >= lane.limit:
                continue
            peer = lane.ready.popleft()
            peer.queued = False
            if len(peer.in_flight) >= lane.limit or not (peer.urgent or peer.waiting):
                self._queue_lane(lane)
                continue
            if peer.urgent:
                lane.urgent -= 1
            transaction = peer.urgent.popleft() if peer.urgent else peer.waiting.popleft()
            self._number(peer, transaction)
            self._queue(peer)
            return transaction
        return None

    def _number(self, peer: Peer, transaction: Transaction) -> None:
        invoke_id = peer.next_invoke_id
        while invoke_id in peer.in_flight:
            invoke_id = (invoke_id + 1) % MAX_INVOKE_IDS
        peer.next_invoke_id = (invoke_id + 1) % MAX_INVOKE_IDS
        transaction.invoke_id = invoke_id
        transaction.frame[transaction.invoke_id_at] = invoke_id
        peer.in_flight[invoke_id] = transaction
        peer.lane.in_flight += 1

    def remove(self, transaction: Transaction) -> bool:
        """Forget a transaction, wherever it is; whether it was on its way."""
        peer = self._peers.get(transaction.station)
        if peer is None:
            return False
        on_its_way = peer.in_flight.get(transaction.invoke_id) is transaction
        if on_its_way:
            del peer.in_flight[transaction.invoke_id]
            peer.lane.in_flight -= 1
        elif transaction in peer.urgent:
            peer.urgent.remove(transaction)
            peer.lane.urgent -= 1
        elif transaction in peer.waiting:
            peer.waiting.remove(transaction)
        self._queue(peer)
        return on_its_way

    def clear(self) -> list[Transaction]:
        """Forget everything; what was waiting."""
        waiting = [transaction for peer in self._peers.values() for transaction in (*peer.urgent, *peer.waiting)]
        self._peers.clear()
        self._networks.clear()
        self._turns.clear()
        return waiting
