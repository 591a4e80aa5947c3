"""Confirmed requests: who asked whom for what, until it is answered or given up (ASHRAE 135 clause 5.4, unsegmented).

An answer belongs to a request when it comes from the station that was asked, with its invoke id, for its service. Everything else
is counted and ignored. Nothing is raised out of the receive path.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, TypeAlias

from bms_iot.bacnet import names
from bms_iot.bacnet.apdu import (
    INVOKE_ID_AT,
    Abort,
    ComplexAck,
    ConfirmedRequest,
    Error,
    Reject,
    SegmentAck,
    SimpleAck,
    UnconfirmedRequest,
    invoke_id_of,
    parse_apdu,
)
from bms_iot.bacnet.codec import DecodeError
from bms_iot.bacnet.counters import Counters
from bms_iot.bacnet.network import Packet, Station, UdpPort, frame_unicast
from bms_iot.errors import BacnetError, DeviceRefused, DeviceUnreachable, MalformedReply, TransportError

SWEEP_SECONDS = 0.05
FRESH_SECONDS = 0.25
"""How long an unanswered request counts against the total in flight: dead stations must not hold the places of live ones."""
MAX_INVOKE_IDS = 256
SEGMENTATION_NOT_SUPPORTED = 4

Answer: TypeAlias = SimpleAck | ComplexAck | Error | Reject | Abort
Outcome: TypeAlias = Answer | BacnetError
Listener: TypeAlias = Callable[[Station, UnconfirmedRequest], None]
Answerer: TypeAlias = Callable[[Station, ConfirmedRequest], bytes | None]
"""Gives the APDU that answers a request to us, or None for no answer; it must not raise."""


@dataclass(slots=True, kw_only=True, eq=False)
class Transaction:
    """A confirmed request on its way. `frame` is the whole datagram; only its invoke id is patched."""

    station: Station
    service: int
    frame: bytearray
    invoke_id_at: int
    tries_left: int
    tries: int
    done: Callable[[Outcome], None]
    invoke_id: int = -1
    deadline: float = 0.0
    stale_at: float = 0.0
    counted: bool = False
    send_error: OSError | None = None


@dataclass(slots=True, eq=False)
class _Peer:
    """What is on its way to one station, and what waits."""

    station: Station
    next_invoke_id: int = 0
    in_flight: dict[int, Transaction] = field(default_factory=dict)
    waiting: deque[Transaction] = field(default_factory=deque)
    queued: bool = False
    answered: deque[int] = field(default_factory=lambda: deque(maxlen=8))
    """The invoke ids answered last, to tell a duplicate from a late answer."""


class Client:
    """Sends confirmed requests and matches their answers.

    `timeout_seconds` is for each try. At most `in_flight_per_device` requests are on their way to one station (1 to 255) and
    `in_flight_total` to all of them, fewer where the kernel grants less receive buffer. An async context manager; leaving fails
    what is still on its way with TransportError.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        broadcast: str | None = None,
        broadcast_port: int | None = None,
        timeout_seconds: float = 3.0,
        tries: int = 3,
        in_flight_per_device: int = 1,
        in_flight_total: int = 64,
    ) -> None:
        self.counters = Counters()
        self.port = UdpPort(
            host=host,
            port=port,
            broadcast=broadcast,
            broadcast_port=broadcast_port,
            deliver=self._deliver,
            counters=self.counters,
        )
        self.timeout_seconds = timeout_seconds
        self.tries = max(1, tries)
        self.in_flight_per_device = min(max(1, in_flight_per_device), MAX_INVOKE_IDS - 1)
        self._in_flight_total = max(1, in_flight_total)
        self._on_the_way: dict[Transaction, None] = {}
        self._fresh = 0
        self._peers: dict[Station, _Peer] = {}
        self._turns: deque[_Peer] = deque()
        """The peers with something waiting, each once, served in turn."""
        self._listeners: set[Listener] = set()
        self._answerers: dict[int, Answerer] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        await self.port.__aenter__()
        self._in_flight_total = max(1, min(self._in_flight_total, self.port.room))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.port.__aexit__(kind, error, traceback)
        if self._sweep is not None:
            self._sweep.cancel()
        self._loop, self._sweep, self._fresh = None, None, 0
        open_transactions = [*self._on_the_way, *(t for peer in self._peers.values() for t in peer.waiting)]
        self._peers.clear()
        self._turns.clear()
        self._on_the_way.clear()
        for transaction in open_transactions:
            transaction.done(TransportError("the BACnet port was closed"))

    @property
    def open_transactions(self) -> int:
        """Requests on their way or waiting for their turn."""
        return len(self._on_the_way) + sum(len(peer.waiting) for peer in self._peers.values())

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with every unconfirmed request that arrives; it must not raise. The result takes it away again."""
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)

    def answer(self, service: int, answerer: Answerer) -> Callable[[], None]:
        """Let `answerer` answer the confirmed requests to us of that service; the result takes it away again."""
        self._answerers[service] = answerer

        def withdraw() -> None:
            self._answerers.pop(service, None)

        return withdraw

    async def transact(self, station: Station, apdu: bytes, *, tries: int | None = None) -> Answer:
        """Send a confirmed request and wait for its answer, of any kind.

        Raises DeviceUnreachable after the last try, MalformedReply for an answer that is none, TransportError when closed.
        """
        done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        transaction = self.submit(station, apdu, lambda outcome: None if done.done() else done.set_result(outcome), tries=tries)
        try:
            outcome = await done
        finally:
            if not done.done() or done.cancelled():
                self._withdraw(transaction)
        if isinstance(outcome, BacnetError):
            raise outcome
        return outcome

    async def request(self, station: Station, apdu: bytes, *, tries: int | None = None) -> bytes:
        """The parameters of the answer; none for a SimpleACK. Raises DeviceRefused as well as what `transact` raises."""
        answer = await self.transact(station, apdu, tries=tries)
        if isinstance(answer, ComplexAck):
            return answer.parameters
        if isinstance(answer, SimpleAck):
            return b""
        raise refusal(station, answer)

    def submit(self, station: Station, apdu: bytes, done: Callable[[Outcome], None], *, tries: int | None = None) -> Transaction:
        """Queue a confirmed request; `done` is called once, with its answer or the error it ended in, and must not raise.

        Raises TransportError when the port is closed.
        """
        if self._loop is None:
            raise TransportError("the BACnet port is closed")
        frame = bytearray(frame_unicast(apdu))
        tries = max(1, self.tries if tries is None else tries)
        transaction = Transaction(
            station=station,
            service=apdu[INVOKE_ID_AT + 1],
            frame=frame,
            invoke_id_at=len(frame) - len(apdu) + INVOKE_ID_AT,
            tries_left=tries,
            tries=tries,
            done=done,
        )
        self.counters.requests += 1
        peer = self._peers.get(station)
        if peer is None:
            peer = self._peers[station] = _Peer(station)
        peer.waiting.append(transaction)
        self._queue(peer)
        self._pump()
        return transaction

    def _queue(self, peer: _Peer) -> None:
        if not peer.queued and peer.waiting and len(peer.in_flight) < self.in_flight_per_device:
            peer.queued = True
            self._turns.append(peer)

    def _pump(self) -> None:
        """Send what may be sent, one request of each station in turn."""
        while self._turns and self._fresh < self._in_flight_total:
            peer = self._turns.popleft()
            peer.queued = False
            if peer.waiting and len(peer.in_flight) < self.in_flight_per_device:
                self._start(peer, peer.waiting.popleft())
                self._queue(peer)

    def _start(self, peer: _Peer, transaction: Transaction) -> None:
        invoke_id = peer.next_invoke_id
        while invoke_id in peer.in_flight:
            invoke_id = (invoke_id + 1) % MAX_INVOKE_IDS
        peer.next_invoke_id = (invoke_id + 1) % MAX_INVOKE_IDS
        transaction.invoke_id = invoke_id
        transaction.frame[transaction.invoke_id_at] = invoke_id
        peer.in_flight[invoke_id] = transaction
        self._on_the_way[transaction] = None
        self._fresh += 1
        transaction.counted = True
        self._send(transaction)
        transaction.stale_at = transaction.deadline - self.timeout_seconds + FRESH_SECONDS

    def _send(self, transaction: Transaction) -> None:
        assert self._loop is not None, "nothing is sent when closed"
        transaction.tries_left -= 1
        transaction.deadline = self._loop.time() + self.timeout_seconds
        transaction.send_error = self.port.send(transaction.frame, transaction.station.host, transaction.station.port)
        if self._sweep is None:
            self._sweep = self._loop.call_later(SWEEP_SECONDS, self._expire)

    def _expire(self) -> None:
        """Retry or give up what is overdue; runs only while something is on its way."""
        assert self._loop is not None, "nothing is sent when closed"
        self._sweep = None
        now = self._loop.time()
        for transaction in tuple(self._on_the_way):
            if transaction not in self._on_the_way:  # withdrawn by what an earlier one of this sweep woke
                continue
            if transaction.counted and transaction.stale_at <= now:
                self._release(transaction)
            if transaction.deadline > now:
                continue
            if transaction.tries_left > 0:
                self.counters.retries += 1
                self._send(transaction)
            else:
                self.counters.timeouts += 1
                self._finish(transaction, self._unreachable(transaction))
        self._pump()
        if self._on_the_way and self._sweep is None:
            self._sweep = self._loop.call_later(SWEEP_SECONDS, self._expire)

    def _release(self, transaction: Transaction) -> None:
        if transaction.counted:
            transaction.counted = False
            self._fresh -= 1

    def _unreachable(self, transaction: Transaction) -> DeviceUnreachable:
        why = f"; sending failed: {transaction.send_error}" if transaction.send_error is not None else ""
        tries = f"{transaction.tries} tries" if transaction.tries > 1 else "one try"
        return DeviceUnreachable(f"no answer from {transaction.station} in {tries} of {self.timeout_seconds:g} s{why}")

    def _finish(self, transaction: Transaction, outcome: Outcome) -> None:
        self._withdraw(transaction)
        transaction.done(outcome)

    def _withdraw(self, transaction: Transaction) -> None:
        """Forget a transaction, wherever it is, and send what waited for its place."""
        peer = self._peers.get(transaction.station)
        if peer is None:
            return
        if peer.in_flight.get(transaction.invoke_id) is transaction:
            del peer.in_flight[transaction.invoke_id]
            del self._on_the_way[transaction]
            self._release(transaction)
        elif transaction in peer.waiting:
            peer.waiting.remove(transaction)
        self._queue(peer)
        self._pump()

    def _deliver(self, packet: Packet) -> None:
        """What the port hands us."""
        try:
            pdu = parse_apdu(packet.apdu)
        except DecodeError:
            self._fail_malformed(packet)
            return
        if isinstance(pdu, UnconfirmedRequest):
            self.counters.unconfirmed += 1
            if packet.intact:
                for listener in tuple(self._listeners):
                    listener(packet.station, pdu)
        elif isinstance(pdu, ConfirmedRequest):
            self._serve(packet, pdu)
        elif isinstance(pdu, SegmentAck):
            pass
        elif not packet.intact:
            self._fail_malformed(packet)
        else:
            self._match(packet.station, pdu)

    def _serve(self, packet: Packet, request: ConfirmedRequest) -> None:
        """A request to us, whole and of a service that somebody here answers; all others are counted and get no answer."""
        answerer = self._answerers.get(request.service)
        if answerer is None or request.segmented or not packet.intact:
            self.counters.foreign += 1
            return
        self.counters.requests_to_us += 1
        if (apdu := answerer(packet.station, request)) is not None:
            self.port.send(frame_unicast(apdu, expecting_reply=False), packet.station.host, packet.station.port)

    def _match(self, station: Station, pdu: Answer) -> None:
        transaction = self._awaiting(station, pdu.invoke_id)
        if transaction is None:
            return
        if not isinstance(pdu, (Reject, Abort)) and pdu.service != transaction.service:
            self.counters.foreign += 1
            return
        if isinstance(pdu, ComplexAck) and pdu.segmented:
            # We said that we accept none, so this is a device that cannot answer in one piece.
            pdu = Abort(invoke_id=pdu.invoke_id, reason=SEGMENTATION_NOT_SUPPORTED)
        self.counters.replies += 1
        self.counters.refused += isinstance(pdu, (Error, Reject, Abort))
        self._peers[station].answered.append(pdu.invoke_id)
        self._finish(transaction, pdu)

    def _awaiting(self, station: Station, invoke_id: int) -> Transaction | None:
        """The transaction that waits for such an answer; counts the answer when there is none."""
        peer = self._peers.get(station)
        if peer is None:
            self.counters.foreign += 1
            return None
        transaction = peer.in_flight.get(invoke_id)
        if transaction is None:
            self.counters.duplicates += invoke_id in peer.answered
            self.counters.late += invoke_id not in peer.answered
        return transaction

    def _fail_malformed(self, packet: Packet) -> None:
        """Fail the request that a damaged answer was for: the one it still names, else the only one there is."""
        self.counters.malformed += 1
        peer = self._peers.get(packet.station)
        if peer is None:
            return
        invoke_id = invoke_id_of(packet.apdu)
        if invoke_id is None and len(peer.in_flight) == 1:
            (invoke_id,) = peer.in_flight
        transaction = None if invoke_id is None else peer.in_flight.get(invoke_id)
        if transaction is not None:
            peer.answered.append(transaction.invoke_id)
            self._finish(transaction, MalformedReply(f"the answer of {packet.station} is cut off or longer than it says"))


def refusal(station: Station, answer: Error | Reject | Abort) -> DeviceRefused:
    """The refusal as an error that names class and code of clause 18."""
    match answer:
        case Error(error=error):
            error_class = names.name_of(names.ERROR_CLASSES, error.error_class)
            error_code = names.name_of(names.ERROR_CODES, error.error_code)
        case Reject(reason=reason):
            error_class, error_code = "reject", names.name_of(names.REJECT_REASONS, reason)
        case Abort(reason=reason):
            error_class, error_code = "abort", names.name_of(names.ABORT_REASONS, reason)
    return DeviceRefused(f"{station} refused: {error_class}, {error_code}", error_class=error_class, error_code=error_code)
