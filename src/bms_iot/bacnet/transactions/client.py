"""Confirmed requests: who asked whom for what, until it is answered or given up (ASHRAE 135 clause 5.4).

An answer belongs to a request when it comes from the station that was asked, with its invoke id, for its service. Everything else
is counted and ignored. Nothing is raised out of the receive path. How: `sending`, `receiving`, `queues`, `segments`, `routers`.
"""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Self

from bms_iot.bacnet.apdu import INVOKE_ID_AT, ComplexAck, SimpleAck
from bms_iot.bacnet.counters import Counters
from bms_iot.bacnet.network.foreign import Bbmd, ForeignDevice
from bms_iot.bacnet.network.npdu import EVERY_NETWORK, Incoming, Station, frame_broadcast, frame_unicast, remote
from bms_iot.bacnet.network.routers import Routers
from bms_iot.bacnet.network.udp import UdpPort
from bms_iot.bacnet.transactions.receiving import Answerer, Listener, Receiver
from bms_iot.bacnet.transactions.segments import accept_segments
from bms_iot.bacnet.transactions.sending import Sender
from bms_iot.bacnet.transactions.transaction import Answer, Outcome, Transaction, refusal
from bms_iot.errors import BacnetError, TransportError

__all__ = ["Answer", "Answerer", "Client", "Listener", "Outcome", "Transaction", "refusal"]


class Client:
    """Sends confirmed requests and matches their answers.

    `timeout_seconds` is for each try. At most `in_flight_per_device` requests are on their way to one station (1 to 255) and
    `in_flight_total` to all of them, fewer where the kernel grants less receive buffer; one to each network behind a router.
    With a `bbmd` we are a foreign device of its network. An async context manager; leaving fails what is still on its way with
    TransportError.
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
        in_flight_total: int = 256,
        bbmd: Bbmd | None = None,
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
        self.routers = Routers(broadcast=self._broadcast_if_possible, counters=self.counters)
        self.foreign = None if bbmd is None else ForeignDevice(bbmd, port=self.port, counters=self.counters)
        self._sender = Sender(
            port=self.port,
            routers=self.routers,
            counters=self.counters,
            timeout_seconds=timeout_seconds,
            in_flight_per_device=in_flight_per_device,
            in_flight_total=in_flight_total,
        )
        self._receiver = Receiver(
            sender=self._sender,
            routers=self.routers,
            foreign=self.foreign,
            counters=self.counters,
        )
        self._opened = AsyncExitStack()

    @property
    def in_flight_per_device(self) -> int:
        return self._sender.queues.per_station

    @property
    def open_transactions(self) -> int:
        """Requests on their way or waiting for their turn."""
        return len(self._sender.on_the_way) + self._sender.queues.waiting

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.port)
            self._sender.open()
            stack.callback(self._sender.close)
            if self.foreign is not None:
                await stack.enter_async_context(self.foreign)
            self._opened = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._opened.aclose()

    def _deliver(self, incoming: Incoming) -> None:
        self._receiver.deliver(incoming)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with every unconfirmed request that arrives; it must not raise. The result takes it away again."""
        self._receiver.listeners.add(listener)
        return lambda: self._receiver.listeners.discard(listener)

    def answer(self, service: int, answerer: Answerer) -> Callable[[], None]:
        """Let `answerer` answer the confirmed requests to us of that service; the result takes it away again."""
        self._receiver.answerers[service] = answerer

        def withdraw() -> None:
            self._receiver.answerers.pop(service, None)

        return withdraw

    def send_unconfirmed(self, apdu: bytes, station: Station | None = None) -> None:
        """Send an unconfirmed request to one station, to all of a network (no MAC), of our own (no host), or to everybody (None).

        Broadcasts go through the BBMD as well when we are a foreign device. Raises TransportError when we cannot broadcast.
        """
        if station is not None and station.host:
            self.port.send(frame_unicast(apdu, expecting_reply=False), station.host, station.port)
            return
        network, mac = (EVERY_NETWORK, b"") if station is None else (station.network, station.mac)
        route = self.routers.route(network)
        if route is not None:
            self.port.send(frame_unicast(apdu, expecting_reply=False, to=remote(network, mac)), route.host, route.port)
        else:  # the router, whichever it is, hears it (clause 6.5.3)
            self._broadcast(frame_broadcast(apdu, network, mac))

    def _broadcast(self, datagram: bytes) -> None:
        if self.foreign is None:
            self.port.broadcast(datagram)
            return
        self.foreign.distribute(datagram)
        with suppress(TransportError):  # what is near us is as well asked, where it can be
            self.port.broadcast(datagram)

    def _broadcast_if_possible(self, datagram: bytes) -> None:
        with suppress(TransportError):  # said by the requests that wait for an answer to it
            self._broadcast(datagram)

    async def transact(
        self, station: Station, apdu: bytes, *, tries: int | None = None, urgent: bool = False, segmented: bool = False
    ) -> Answer:
        """Send a confirmed request and wait for its answer, of any kind; see `submit`.

        Raises DeviceUnreachable after the last try, MalformedReply for an answer that is none, TransportError when closed.
        """
        done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def settle(outcome: Outcome) -> None:
            if not done.done():
                done.set_result(outcome)

        transaction = self.submit(station, apdu, settle, tries=tries, urgent=urgent, segmented=segmented)
        try:
            outcome = await done
        finally:
            if not done.done() or done.cancelled():
                self._sender.cancel(transaction)
        if isinstance(outcome, BacnetError):
            raise outcome
        return outcome

    async def request(
        self, station: Station, apdu: bytes, *, tries: int | None = None, urgent: bool = False, segmented: bool = False
    ) -> bytes:
        """The parameters of the answer; none for a SimpleACK. Raises DeviceRefused as well as what `transact` raises."""
        answer = await self.transact(station, apdu, tries=tries, urgent=urgent, segmented=segmented)
        if isinstance(answer, ComplexAck):
            return answer.parameters
        if isinstance(answer, SimpleAck):
            return b""
        raise refusal(station, answer)

    def submit(
        self,
        station: Station,
        apdu: bytes,
        done: Callable[[Outcome], None],
        *,
        tries: int | None = None,
        urgent: bool = False,
        segmented: bool = False,
    ) -> Transaction:
        """Queue a confirmed request; `done` is called once, with its answer or the error it ended in, and must not raise.

        `urgent` goes ahead of what waits for the station. `segmented` lets the answer come in segments: for object lists and long
        values, not for polls. Raises TransportError when the port is closed.
        """
        if not self._sender.is_open:
            raise TransportError("the BACnet port is closed")
        frame = bytearray(frame_unicast(accept_segments(apdu) if segmented else apdu, to=station))
        tries = max(1, self.tries if tries is None else tries)
        transaction = Transaction(
            station=station,
            service=apdu[INVOKE_ID_AT + 1],
            frame=frame,
            invoke_id_at=len(frame) - len(apdu) + INVOKE_ID_AT,
            tries_left=tries,
            tries=tries,
            done=done,
            urgent=urgent,
            segmented=segmented,
        )
        self._sender.add(transaction)
        return transaction

    def withdraw(self, transaction: Transaction) -> None:
        """Forget a request that is not wanted any more; its `done` is not called."""
        self._sender.cancel(transaction)
