"""The device: one UDP socket, the services a gateway uses, and the manners that spoil them."""

import asyncio
import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from itertools import pairwise
from random import Random

from bms_iot.simulator import packets
from bms_iot.simulator.adversary import octets, reading, requests, writing
from bms_iot.simulator.adversary.manner import Answer, Manner, Sending
from bms_iot.simulator.adversary.objects import (
    DEVICE,
    MODEL_SLOT,
    PRESENT_VALUE,
    HeldObject,
    Objects,
    device_properties,
    object_of,
)
from bms_iot.simulator.adversary.requests import Address, Asked, Identifier, Request
from bms_iot.simulator.adversary.segments import Segments, is_for_segments, segmented
from bms_iot.simulator.adversary.subscriptions import Subscriptions
from bms_iot.simulator.specification import DeviceSpecification, Value
from bms_iot.simulator.tags import Undecodable

MAX_PACKETS_PER_WAKEUP = 64
PIECE = 200
"""So many datagrams leave at once; the loop is given back between two pieces of a storm."""
NO_SEGMENTATION = 3
ABORT_BUFFER_OVERFLOW, ABORT_SEGMENTATION, REJECT_TAG, REJECT_UNRECOGNIZED = 1, 4, 4, 9
WINDOW = 16
I_AM_START = b"\x10\x00\xc4"


class AdversarialDevice:
    """Serves one device on `udp`, a bound non-blocking socket that it closes; it has the interface of `DeviceServer`.

    `broadcast` is where it announces itself. `chance` decides what its manners leave to chance.
    """

    def __init__(
        self,
        *,
        instance: int,
        specification: DeviceSpecification,
        udp: socket.socket,
        broadcast: Address,
        manners: Callable[[Random], Sequence[Manner]],
        chance: Random,
    ) -> None:
        self._manners = manners(chance)
        self.chance = chance
        self.specification = specification
        self.instance = instance
        for manner in self._manners:
            self.instance = manner.instance(self.instance)
        self.udp = udp
        self.host: str = udp.getsockname()[0]
        self.broadcast = broadcast
        self.requests = 0
        self.clients: dict[Address, None] = {}
        """Who spoke to it, the last 64."""
        self.max_apdu = min((manner.max_apdu for manner in self._manners), default=1476)
        self.segmentation = max((manner.segmentation for manner in self._manners), default=0)
        self.window = WINDOW
        self._elsewhere: socket.socket | None = None
        self._loop = asyncio.get_running_loop()
        self._timers: set[asyncio.TimerHandle] = set()
        self._living: list[asyncio.Task[None]] = []
        self.objects = self._furnished()
        self._identifiers = [identifier for identifier in self.objects.kept if identifier[0] != DEVICE]
        self._written: dict[int, Value] = {}
        self._segments = Segments(
            lambda request, apdus: self._leave(request, (Sending(datagram=packets.unicast(a)) for a in apdus))
        )
        self.subscriptions = Subscriptions(self.objects, self._notify, self._loop.time)
        for manner in self._manners:
            manner.furnish(self.objects)

    def _furnished(self) -> Objects:
        device = DEVICE, self.instance
        kept: dict[Identifier, HeldObject] = {}
        for number, point in self.specification.numbered():
            identifier = point.type.number, number
            kept[identifier] = object_of(identifier, f"{self.specification.name}.{point.name}", point)
        properties = device_properties(
            instance=self.instance,
            name=self.specification.name,
            description=self.specification.description,
            max_apdu=self.max_apdu,
            segmentation=self.segmentation,
        )
        objects = Objects(kept, device=device)
        kept[device] = HeldObject(properties, octets.real)
        return objects

    async def start(self, *, alarms: bool) -> None:
        """Serve; `alarms` is what other devices have."""
        self._loop.add_reader(self.udp, self._drain)
        self._living = [asyncio.create_task(manner.live(self), name="manner") for manner in self._manners]

    async def stop(self) -> None:
        """Close the sockets; harmless for a device that never started."""
        for task in self._living:
            task.cancel()
        if self._living:
            await asyncio.wait(self._living)
        for timer in self._timers:
            timer.cancel()
        self._loop.remove_reader(self.udp)
        self.udp.close()
        if self._elsewhere is not None:
            self._elsewhere.close()

    async def set(self, position: int, value: Value) -> bool:
        """Give the object at `position` a present-value; False if it had it. Those who subscribed hear of it."""
        if self._written.get(position) == value:
            return False
        self._written[position] = value
        identifier = self._identifiers[position]
        found = self.objects.kept[identifier]
        before = found.present_value
        if found.commandable:
            found.command(MODEL_SLOT, found.encode(value))
        else:
            found.properties[PRESENT_VALUE] = found.encode(value)
        if found.present_value != before and all(manner.notifies() for manner in self._manners):
            self.subscriptions.notify(identifier)
        return True

    async def commands(self) -> dict[str, float]:
        """Nothing of the model hangs on an ill-mannered device."""
        return {}

    def move(self, udp: socket.socket) -> None:
        """Go on at another address, and say so by an I-Am."""
        self._loop.remove_reader(self.udp)
        self.udp.close()
        self.udp, self.host = udp, udp.getsockname()[0]
        self._loop.add_reader(udp, self._drain)
        self.announce((self.broadcast, *self.clients))

    def announce(self, receivers: Iterable[Address]) -> None:
        """Say I-Am, unasked."""
        for receiver in receivers:
            self.send_pieces([packets.unicast(apdu) for apdu in self.i_ams()], receiver)

    def i_am(self, instance: int | None = None) -> bytes:
        """The APDU of an I-Am."""
        return (
            bytes((requests.UNCONFIRMED_REQUEST << 4, requests.I_AM))
            + octets.object_identifier(DEVICE, self.instance if instance is None else instance)
            + octets.unsigned(self.max_apdu)
            + octets.enumerated(self.segmentation)
            + octets.unsigned(999)
        )

    def i_ams(self) -> list[bytes]:
        apdus = [self.i_am()]
        for manner in self._manners:
            apdus = [each for apdu in apdus for each in manner.introduce(apdu)]
        return apdus

    def receive(self, datagram: bytes, client: Address) -> None:
        """A datagram for this device, unicast or broadcast."""
        if I_AM_START in datagram[:16]:  # of others, perhaps very many
            return
        try:
            asked_for = requests.who_is(datagram)
            if asked_for is not None:
                self._remember(client)
                if asked_for[0] <= self.instance <= asked_for[1]:
                    self.send_pieces([packets.unicast(apdu) for apdu in self.i_ams()], client)
                return
            request = requests.parse_confirmed(datagram, client)
        except (Undecodable, IndexError):
            return
        if request is not None:
            self._remember(client)
            self.requests += 1
            self._serve(request)
            return
        packet = packets.parse(datagram)
        if packet is not None and is_for_segments(packet.pdu_type):
            apdu = datagram[packet.apdu_at :]
            if packet.pdu_type == packets.SEGMENT_ACK:
                self._segments.acknowledged(apdu, client)
            else:
                self._segments.aborted(apdu, client)

    def _remember(self, client: Address) -> None:
        self.clients.pop(client, None)
        self.clients[client] = None
        if len(self.clients) > MAX_PACKETS_PER_WAKEUP:
            del self.clients[next(iter(self.clients))]

    def _drain(self) -> None:
        for _ in range(MAX_PACKETS_PER_WAKEUP):
            try:
                datagram, client = self.udp.recvfrom(2048)
            except OSError:
                return
            self.receive(datagram, client)

    def _serve(self, request: Request) -> None:
        try:
            asked = self._asked(request)
            for manner in self._manners:
                refusal = manner.refuse(request, asked)
                if refusal is not None:
                    if refusal:
                        self._leave(request, [Sending(datagram=packets.unicast(refusal))])
                    return
            apdu = reading.acknowledge(request, asked, self._find) if asked else self._other_service(request)
        except (Undecodable, IndexError):
            apdu = reading.reject(request, REJECT_TAG)
        for manner in self._manners:
            apdu = manner.apdu(request, apdu)
        self._answer(request, apdu)

    def _asked(self, request: Request) -> list[Asked]:
        if request.service == requests.READ_PROPERTY:
            asked = [requests.read_property(request.body)]
        elif request.service == requests.READ_PROPERTY_MULTIPLE:
            asked = requests.read_property_multiple(request.body)
        else:
            return []
        return reading.expanded(self.objects, asked) if request.service == requests.READ_PROPERTY_MULTIPLE else asked

    def _find(self, asked: Asked) -> Answer:
        answer = reading.held(self.objects, asked)
        for manner in self._manners:
            answer = manner.answer(asked, answer)
        return answer

    def _answer(self, request: Request, apdu: bytes) -> None:
        room = min(self.max_apdu, request.max_apdu)
        if len(apdu) <= room or apdu[0] >> 4 != packets.COMPLEX_ACK:
            self._leave(request, [Sending(datagram=packets.unicast(apdu))])
        elif self.segmentation == NO_SEGMENTATION or not request.takes_segments:
            self._leave(request, [Sending(datagram=packets.unicast(reading.abort(request, ABORT_SEGMENTATION)))])
        else:
            self._segments.start(request, segmented(request, apdu, max_apdu=room, window=self.window))

    def _other_service(self, request: Request) -> bytes:
        if request.service == requests.WRITE_PROPERTY:
            return self._write(request, [requests.write_property(request.body)])
        if request.service == requests.WRITE_PROPERTY_MULTIPLE:
            return self._write(request, requests.write_property_multiple(request.body))
        if request.service == requests.SUBSCRIBE_COV:
            return self._subscribe(request, requests.subscribe_cov(request.body))
        return reading.reject(request, REJECT_UNRECOGNIZED)

    def _write(self, request: Request, writes: Sequence[requests.Written]) -> bytes:
        changed, refused = writing.write(self.objects, writes)
        for identifier in dict.fromkeys(changed):
            self._loop.call_soon(self.subscriptions.notify, identifier)
        if refused is None:
            return reading.simple_ack(request)
        if request.service == requests.WRITE_PROPERTY:
            return reading.error(request, refused.code)
        asked = refused.written.asked
        where = octets.context(0, octets.identifier(*asked.object)) + octets.context(1, octets.number(asked.property))
        code = octets.enumerated(refused.code[0]) + octets.enumerated(refused.code[1])
        return bytes((0x50, request.invoke_id, request.service)) + octets.enclose(0, code) + octets.enclose(1, where)

    def _subscribe(self, request: Request, subscription: requests.Subscription) -> bytes:
        if self.objects.find(subscription.object) is None:
            return reading.error(request, reading.UNKNOWN_OBJECT)
        if not self.subscriptions.take(request.client, subscription):
            return reading.error(request, (3, 19))  # resources, no-space-to-add-list-element
        if subscription.confirmed is not None and all(manner.notifies() for manner in self._manners):
            self._loop.call_soon(lambda: self.subscriptions.notify(subscription.object, only=request.client))
        return reading.simple_ack(request)

    def _notify(self, client: Address, apdu: bytes) -> None:
        self._send(packets.unicast(apdu), client)

    def _leave(self, request: Request, sendings: Iterable[Sending]) -> None:
        for manner in self._manners:
            sendings = manner.send(request, sendings)
        for sending in sendings:
            if sending.after_seconds > 0:
                self._later(sending.after_seconds, partial(self._send, sending.datagram, request.client, sending.elsewhere))
            else:
                self._send(sending.datagram, request.client, sending.elsewhere)

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        def due() -> None:
            self._timers.discard(timer)
            action()

        timer = self._loop.call_later(seconds, due)
        self._timers.add(timer)

    def send_pieces(self, datagrams: Sequence[bytes], client: Address) -> None:
        """Send many datagrams without keeping the loop to ourselves."""
        starts = [*range(0, len(datagrams), PIECE), len(datagrams)]
        for n, (start, end) in enumerate(pairwise(starts)):
            piece = datagrams[start:end]

            def send(piece: Sequence[bytes] = piece) -> None:
                for datagram in piece:
                    self._send(datagram, client)

            if n:
                self._later(0.005 * n, send)
            else:
                send()

    def _send(self, datagram: bytes, client: Address, elsewhere: bool = False) -> None:
        with suppress(OSError):  # lost, as on a real network
            if elsewhere:
                self._stranger().sendto(datagram, client)
            else:
                self.udp.sendto(datagram, client)

    def _stranger(self) -> socket.socket:
        if self._elsewhere is None:
            self._elsewhere = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._elsewhere.setblocking(False)
            self._elsewhere.bind((self.host, 0))
        return self._elsewhere
