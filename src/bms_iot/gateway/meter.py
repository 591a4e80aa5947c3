"""Count what goes over the wire, by day: a broker in front of the broker."""

from bms_iot.domain.ports import Broker, Clock, Message
from bms_iot.gateway.publish import Publish
from bms_iot.gateway.state import GatewayState
from bms_iot.storage import traffic
from bms_iot.storage.database import Database
from bms_iot.storage.traffic import DayTraffic

WRITE_SECONDS = 900.0
PUBLISH_OVERHEAD = 9
"""Octets of a PUBLISH beside topic and payload: fixed header 4, topic length 2, packet identifier 2, no properties 1."""
PUBACK = 4


class Meter(Broker):
    """Implements `domain.ports.Broker` on another one."""

    def __init__(self, *, broker: Broker, database: Database, clock: Clock, state: GatewayState) -> None:
        self._broker, self._database, self._clock, self._state = broker, database, clock, state
        self._day = clock.now().date()
        self._sent = self._received = 0
        """Not written down yet."""
        self._messages = self._readings = 0
        """Of what was delivered, when it was last written down."""
        self.publisher: Publish | None = None

    async def open(self) -> None:
        """Go on with what earlier boots counted today."""
        for known in await self._database.read(traffic.load, 1):
            if known.day == self._day:
                self._state.sent_bytes_today, self._state.received_bytes_today = known.sent_bytes, known.received_bytes

    async def run(self) -> None:
        """Write down every quarter of an hour, and when cancelled."""
        try:
            while True:
                await self._clock.sleep(WRITE_SECONDS)
                await self.write()
        finally:
            await self.write()

    async def write(self) -> None:
        """Write down what was counted. Raises StorageError."""
        messages, readings = (self.publisher.delivered_messages, self.publisher.delivered) if self.publisher else (0, 0)
        more = DayTraffic(
            day=self._day,
            sent_bytes=self._sent,
            received_bytes=self._received,
            messages=messages - self._messages,
            readings=readings - self._readings,
        )
        if more != DayTraffic(day=self._day):
            self._sent = self._received = 0
            self._messages, self._readings = messages, readings
            await self._database.write(traffic.add, more, self._clock.now())
        if (today := self._clock.now().date()) != self._day:
            self._day, self._state.sent_bytes_today, self._state.received_bytes_today = today, 0, 0

    @property
    def is_connected(self) -> bool:
        return self._broker.is_connected

    @property
    def protocol(self) -> str | None:
        return self._broker.protocol

    async def wait_connected(self) -> None:
        await self._broker.wait_connected()

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False, content_type: str | None = None) -> None:
        sent = len(topic.encode()) + len(payload) + PUBLISH_OVERHEAD + (len(content_type) + 3 if content_type else 0)
        if self._broker.is_connected:
            self._count(sent=sent)
        await self._broker.publish(topic, payload, retain=retain, content_type=content_type)
        self._count(received=PUBACK)

    def renew(self) -> None:
        self._broker.renew()

    async def receive(self) -> Message:
        message = await self._broker.receive()
        self._count(received=len(message.topic.encode()) + (message.cut_from or len(message.payload)) + PUBLISH_OVERHEAD)
        return message

    def acknowledge(self, message: Message) -> None:
        self._broker.acknowledge(message)
        self._count(sent=PUBACK)

    def _count(self, *, sent: int = 0, received: int = 0) -> None:
        self._sent += sent
        self._received += received
        self._state.sent_bytes_today += sent
        self._state.received_bytes_today += received
