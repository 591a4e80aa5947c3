"""What arrives: which request it answers, and whom else it concerns (ASHRAE 135 clauses 5.4.4 and 5.4.5).

Nothing is raised out of here. What belongs to no request is counted and passed over.
"""

import time
from collections.abc import Callable
from typing import TypeAlias

from bms_iot.bacnet.apdu import (
    Abort,
    ComplexAck,
    ConfirmedRequest,
    Error,
    Reject,
    Segment,
    SegmentAck,
    SimpleAck,
    UnconfirmedRequest,
    invoke_id_of,
    parse_apdu,
)
from bms_iot.bacnet.counters import Counters
from bms_iot.bacnet.network.foreign import ForeignDevice
from bms_iot.bacnet.network.npdu import Incoming, NetworkMessage, Packet, Station, remote
from bms_iot.bacnet.network.routers import Reachable, Rejected, Routers
from bms_iot.bacnet.transactions.segments import (
    BUFFER_OVERFLOW,
    INVALID_APDU_IN_THIS_STATE,
    MAX_SECONDS,
    SEGMENTATION_NOT_SUPPORTED,
    Reassembly,
    TooLong,
    encode_abort,
)
from bms_iot.bacnet.transactions.sending import Sender
from bms_iot.bacnet.transactions.transaction import Answer, Transaction
from bms_iot.bacnet.values.codec import DecodeError
from bms_iot.errors import MalformedReply

_REQUESTS = (0, 1)
"""PDU types of requests, confirmed and unconfirmed (clause 20.1.1): no answer of ours is lost in them."""

Listener: TypeAlias = Callable[[Station, UnconfirmedRequest], None]
Answerer: TypeAlias = Callable[[Station, ConfirmedRequest], bytes | None]
"""Gives the APDU that answers a request to us, or None for no answer; it must not raise."""


class Receiver:
    """Matches answers to the requests of `sender`."""

    def __init__(
        self,
        *,
        sender: Sender,
        routers: Routers,
        foreign: ForeignDevice | None,
        counters: Counters,
    ) -> None:
        self.listeners: set[Listener] = set()
        self.answerers: dict[int, Answerer] = {}
        self._sender = sender
        self._routers = routers
        self._foreign = foreign
        self._counters = counters

    def deliver(self, incoming: Incoming) -> None:
        """What the port hands us."""
        if isinstance(incoming, Packet):
            packet = self._from_behind(incoming) if incoming.station.network else incoming
            if packet is not None:
                self._deliver_packet(packet)
        elif isinstance(incoming, NetworkMessage):
            self._tell(self._routers.receive(incoming, time.monotonic()))
        elif self._foreign is None or not self._foreign.receive(incoming):
            self._counters.ignored += 1

    def _from_behind(self, packet: Packet) -> Packet | None:
        """A packet of a station behind a router, as from that station; the router is noted."""
        host, port, network, mac = packet.station
        if not mac:  # clause 6.2.2: a source is one station
            self._counters.malformed += 1
            return None
        news = self._routers.heard(network, host, port)
        if news is not None:
            self._tell([news])
        return packet._replace(station=remote(network, mac))

    def _tell(self, changes: list[Reachable | Rejected]) -> None:
        for news in changes:
            if isinstance(news, Reachable):
                self._sender.reachable(news)
            else:
                self._sender.rejected(news)

    def _deliver_packet(self, packet: Packet) -> None:
        try:
            pdu = parse_apdu(packet.apdu)
        except DecodeError:
            self._fail_malformed(packet)
            return
        if type(pdu) is ComplexAck and packet.intact and not packet.forwarded:  # nearly always
            self._match(packet.station, pdu)
        elif isinstance(pdu, UnconfirmedRequest):
            self._counters.unconfirmed += 1
            if packet.intact:
                for listener in tuple(self.listeners):
                    listener(packet.station, pdu)
        elif packet.forwarded:  # what a BBMD forwards was broadcast, which neither requests nor answers ever are (clause 5.4)
            self._counters.foreign += 1
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
        answerer = self.answerers.get(request.service)
        if answerer is None or request.segmented or not packet.intact:
            self._counters.foreign += 1
            return
        self._counters.requests_to_us += 1
        if (apdu := answerer(packet.station, request)) is not None:
            self._sender.reply(packet.station, apdu)

    def _match(self, station: Station, pdu: Answer) -> None:
        transaction = self._awaiting(station, pdu)
        if transaction is None:
            return
        if not isinstance(pdu, (Reject, Abort)) and pdu.service != transaction.service:
            self._counters.foreign += 1
        elif isinstance(pdu, Segment):
            self._take_segment(transaction, pdu)
        elif transaction.reassembly is not None and isinstance(pdu, (SimpleAck, ComplexAck)):
            self._counters.foreign += 1  # an answer in one piece in the middle of one in many
        else:
            self._end(transaction, pdu)

    def _take_segment(self, transaction: Transaction, segment: Segment) -> None:
        station, invoke_id = transaction.station, segment.invoke_id
        if not transaction.segmented:
            # We said that we accept none, so this is a device that cannot answer in one piece.
            self._sender.reply(station, encode_abort(invoke_id, SEGMENTATION_NOT_SUPPORTED))
            self._end(transaction, Abort(invoke_id=invoke_id, reason=SEGMENTATION_NOT_SUPPORTED))
            return
        reassembly, now = transaction.reassembly, time.monotonic()
        if reassembly is None:
            if segment.sequence != 0:
                self._counters.segments_passed_over += 1
                return
            reassembly = transaction.reassembly = Reassembly(give_up_at=now + MAX_SECONDS)
        taken = reassembly.segments
        try:
            acknowledgement = reassembly.take(segment)
        except TooLong as error:
            self._sender.reply(station, encode_abort(invoke_id, BUFFER_OVERFLOW))
            self._sender.finish(transaction, MalformedReply(f"the answer of {station} has {error}"))
            return
        if acknowledgement is not None:
            self._sender.reply(station, acknowledgement)
        if reassembly.segments == taken:
            self._counters.segments_passed_over += 1
            return
        self._counters.segments += 1
        transaction.deadline = min(now + self._sender.timeout_seconds, reassembly.give_up_at)
        if not segment.more_follows:
            self._end(transaction, ComplexAck(invoke_id=invoke_id, service=segment.service, parameters=reassembly.octets))

    def _end(self, transaction: Transaction, answer: Answer) -> None:
        self._counters.replies += 1
        self._counters.refused += isinstance(answer, (Error, Reject, Abort))
        peer = self._sender.peer(transaction.station)
        if peer is not None:
            peer.answered.append(answer.invoke_id)
        self._sender.finish(transaction, answer)

    def _awaiting(self, station: Station, pdu: Answer) -> Transaction | None:
        """The transaction that waits for such an answer; counts the answer when there is none."""
        peer = self._sender.peer(station)
        if peer is None:
            self._counters.foreign += 1
            return None
        transaction = peer.in_flight.get(pdu.invoke_id)
        if transaction is None or (transaction.parked and transaction.tries_left == transaction.tries):
            self._counters.duplicates += pdu.invoke_id in peer.answered
            self._counters.late += pdu.invoke_id not in peer.answered
            if isinstance(pdu, Segment):  # clause 5.4.4.1: else it waits for a SegmentACK
                self._counters.segments_passed_over += 1
                self._sender.reply(station, encode_abort(pdu.invoke_id, INVALID_APDU_IN_THIS_STATE))
            return None
        return transaction

    def _fail_malformed(self, packet: Packet) -> None:
        """Fail the request that a damaged answer was for: the one it still names, else the only one there is."""
        self._counters.malformed += 1
        peer = self._sender.peer(packet.station)
        is_request = bool(packet.apdu) and packet.apdu[0] >> 4 in _REQUESTS
        if peer is None or packet.forwarded or is_request:
            return
        invoke_id = invoke_id_of(packet.apdu)
        if invoke_id is None and len(peer.in_flight) == 1:
            (invoke_id,) = peer.in_flight
        transaction = None if invoke_id is None else peer.in_flight.get(invoke_id)
        if transaction is None:
            return
        peer.answered.append(transaction.invoke_id)
        if transaction.reassembly is not None:
            self._sender.reply(packet.station, encode_abort(transaction.invoke_id, INVALID_APDU_IN_THIS_STATE))
        self._sender.finish(transaction, MalformedReply(f"the answer of {packet.station} is cut off or longer than it says"))
