"""The broker as the gateway sees it: connected when it can be, for ever."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

import structlog
from paho.mqtt import client as paho
from paho.mqtt.enums import MQTTProtocolVersion

from bms_iot.domain.ports import Message
from bms_iot.errors import BrokerError, BrokerUnavailable, ConfigurationError
from bms_iot.mqtt.connection import Connection
from bms_iot.mqtt.options import ConnectFailed, ConnectOptions, Credentials, Will
from bms_iot.mqtt.tls import Tls

Protocol = Literal["auto", "5", "3.1.1"]
VERSIONS: Final[dict[Protocol, tuple[MQTTProtocolVersion, ...]]] = {
    "auto": (MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311),
    "5": (MQTTProtocolVersion.MQTTv5,),
    "3.1.1": (MQTTProtocolVersion.MQTTv311,),
}
_OLDER_VERSION_SECONDS: Final = 3600.0
"""For that long a broker that needed the older version is not asked for the newer one again."""
NOBODY: Final = Credentials()
_BEGINNING_BYTES: Final = 65_536
"""What is kept of a message that is too large: whoever it is for can say so to its sender."""
SPOKEN: Final = {MQTTProtocolVersion.MQTTv5: "5", MQTTProtocolVersion.MQTTv311: "3.1.1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Delivered(Message):
    """A message and the connection it came by: a packet identifier means something else on the next one."""

    connection: Connection = field(repr=False, compare=False)


class MqttBroker:
    """Implements `domain.ports.Broker` on paho-mqtt: QoS 1, a persistent session, MQTT 5 where the broker has it.

    Entering starts to connect and returns at once, with the broker down too; it raises ConfigurationError only. `on_connect` is
    awaited after each connect, when the subscriptions stand. Leaving sends DISCONNECT, which suppresses the last will, unless an
    error is the cause of leaving: then the broker publishes it. Where `credentials` is a function it is called, in a
    thread, before each connect, so that new ones are taken without a restart; certificates are read anew each time.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        client_id: str,
        credentials: Credentials | Callable[[], Credentials] = NOBODY,
        tls: bool = False,
        ca_certificate: Path | None = None,
        client_certificate: Path | None = None,
        client_key: Path | None = None,
        websocket_path: str | None = None,
        protocol: Protocol = "auto",
        subscriptions: Sequence[str] = (),
        will_topic: str | None = None,
        will_payload: bytes = b"",
        will_delay_seconds: int = 0,
        on_connect: Callable[[], Awaitable[None]] | None = None,
        keep_alive_seconds: int = 30,
        connect_timeout_seconds: float = 10.0,
        acknowledge_timeout_seconds: float = 60.0,
        session_expiry_seconds: int = 7 * 86_400,
        max_in_flight: int = 20,
        max_incoming_messages: int = 100,
        max_incoming_bytes: int = 1_048_576,
        backoff_first_seconds: float = 1.0,
        backoff_max_seconds: float = 60.0,
    ) -> None:
        self._options = ConnectOptions(
            host=host,
            port=port,
            client_id=client_id,
            credentials=credentials if isinstance(credentials, Credentials) else NOBODY,
            tls=Tls(ca_certificate=ca_certificate, client_certificate=client_certificate, client_key=client_key) if tls else None,
            websocket_path=websocket_path,
            will=Will(topic=will_topic, payload=will_payload, delay_seconds=will_delay_seconds) if will_topic else None,
            keep_alive_seconds=keep_alive_seconds,
            connect_timeout_seconds=connect_timeout_seconds,
            acknowledge_timeout_seconds=acknowledge_timeout_seconds,
            session_expiry_seconds=session_expiry_seconds,
            max_in_flight=max_in_flight,
            receive_maximum=max_incoming_messages,
        )
        self._credentials = credentials if not isinstance(credentials, Credentials) else None
        self._subscriptions = tuple(subscriptions)
        self._on_connect = on_connect
        self._versions = VERSIONS[protocol]
        self._older_until = 0.0
        self._max_incoming_bytes = max_incoming_bytes
        self._backoff = _Backoff(first_seconds=backoff_first_seconds, max_seconds=backoff_max_seconds)
        self._incoming: asyncio.Queue[_Delivered] = asyncio.Queue(max_incoming_messages)
        self._overflowed = False
        self._connection: Connection | None = None
        self._connected = asyncio.Event()
        self._leave_in_peace = False
        self._renewed = asyncio.Event()
        self._log = structlog.get_logger().bind(broker=f"{host}:{port}")

    def __repr__(self) -> str:
        return f"MqttBroker({self._options.host}:{self._options.port}, client_id={self._options.client_id!r})"

    async def __aenter__(self) -> Self:
        if self._options.tls is not None:
            self._options.tls.context()
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        self._runner = self._tasks.create_task(self._run(), name="mqtt")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._leave_in_peace = kind is None or not issubclass(kind, Exception)
        self._runner.cancel()
        # The group is told of a cancellation, which may be its own doing, and not of the body's error, which it would wrap.
        is_cancelled = isinstance(error, asyncio.CancelledError)
        await self._tasks.__aexit__(*((kind, error, trace) if is_cancelled else (None, None, None)))

    @property
    def is_connected(self) -> bool:
        return self._connected.is_set()

    @property
    def protocol(self) -> str | None:
        """The version spoken with the broker, `5` or `3.1.1`; None without a connection."""
        return SPOKEN[self._connection.version] if self._connection is not None else None

    async def wait_connected(self) -> None:
        await self._connected.wait()

    def renew(self) -> None:
        """Connect again at once, with the credentials and certificates as they are now; the last will is not published."""
        self._renewed.set()

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False, content_type: str | None = None) -> None:
        """Returns when the broker has acknowledged. Raises BrokerUnavailable, PublishRefused; nothing is kept for later."""
        if self._connection is None:
            raise BrokerUnavailable("there is no connection to the broker")
        await self._connection.publish(topic, payload, retain=retain, content_type=content_type)

    async def receive(self) -> Message:
        """The next message of the subscribed topics."""
        message = await self._incoming.get()
        if self._overflowed and self._incoming.empty() and self._connection is not None:
            self._connection.drop("messages that found no room are fetched again")
        return message

    def acknowledge(self, message: Message) -> None:
        """Send the PUBACK of `message`; nothing when its connection is gone, since the message then comes again."""
        if isinstance(message, _Delivered):
            message.connection.acknowledge(message.mid)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection = await self._connect()
                began = loop.time()
                reason = await self._serve(connection)
            except BrokerUnavailable as error:
                pause = self._backoff.after_failure()
                self._log.warning("mqtt_connect_failed", reason=str(error), retry_seconds=round(pause, 1))
            else:
                pause = self._backoff.after_connection(lasted_seconds=loop.time() - began)
                if not self._renewed.is_set():
                    self._log.warning("mqtt_connection_lost", reason=reason, retry_seconds=round(pause, 1))
            await self._pause(pause)

    async def _pause(self, seconds: float) -> None:
        """Less where new credentials are to be tried."""
        try:
            async with asyncio.timeout(seconds):
                await self._renewed.wait()
        except TimeoutError:
            return
        self._renewed.clear()
        self._log.info("mqtt_renewed")

    async def _connect(self) -> Connection:
        """A welcomed connection, of the newest version the broker takes. Raises BrokerUnavailable."""
        now = asyncio.get_running_loop().time()
        newest, *older = self._versions if now >= self._older_until else self._versions[-1:]
        try:
            return await self._open(newest)
        except ConnectFailed as error:
            if error.reached:
                self._older_until = now
            if not older or not error.may_be_about_version:
                raise
            self._log.info("mqtt_protocol_fallback", refused=SPOKEN[newest], reason=str(error))
        connection = await self._open(older[0])
        self._older_until = now + _OLDER_VERSION_SECONDS
        return connection

    async def _open(self, version: MQTTProtocolVersion) -> Connection:
        await self._take_credentials()
        connection = Connection(self._options, version, deliver=self._deliver, lost=self._forget_connection)
        try:
            await connection.open()
        except ConnectFailed:
            connection.drop("never connected")
            raise
        except asyncio.CancelledError:
            await self._close(connection)
            raise
        return connection

    async def _take_credentials(self) -> None:
        """As they are now; those before where the new ones cannot be read."""
        if self._credentials is None:
            return
        try:
            credentials = await asyncio.to_thread(self._credentials)
        except ConfigurationError as error:
            self._log.error("mqtt_credentials_unreadable", reason=str(error))
        else:
            self._options = replace(self._options, credentials=credentials)

    async def _serve(self, connection: Connection) -> str:
        """Use the connection until it ends; returns why."""
        try:
            for topic_filter, code in await connection.subscribe(self._subscriptions):
                self._log.error("mqtt_subscription_refused", topic_filter=topic_filter, reason=str(code))
            self._connection = connection
            self._connected.set()
            self._log.info("mqtt_connected", protocol=self.protocol)
            async with asyncio.TaskGroup() as tasks:
                beside = [
                    tasks.create_task(self._greet(), name="mqtt-on-connect"),
                    tasks.create_task(self._leave_when_renewed(connection), name="mqtt-renew"),
                ]
                reason = await connection.run()
                for task in beside:
                    task.cancel()
            return reason
        finally:
            await self._close(connection)
            self._forget_incoming()

    async def _leave_when_renewed(self, connection: Connection) -> None:
        await self._renewed.wait()
        await connection.leave()

    async def _close(self, connection: Connection) -> None:
        if self._leave_in_peace:
            await connection.leave()
        else:
            connection.drop("the connection is over")

    async def _greet(self) -> None:
        if self._on_connect is not None:
            try:
                await self._on_connect()
            except BrokerError as error:
                self._log.warning("mqtt_on_connect_failed", reason=str(error))

    def _deliver(self, connection: Connection, message: paho.MQTTMessage) -> None:
        mid = message.mid if message.qos else 0
        try:
            topic = message.topic
        except UnicodeDecodeError:
            self._log.warning("mqtt_message_refused", reason="its topic is not UTF-8")
            connection.acknowledge(mid)
            return
        payload, size = bytes(message.payload), len(message.payload)
        if is_too_large := size > self._max_incoming_bytes:
            self._log.warning("mqtt_message_cut", reason="too large", topic=topic, size_bytes=size)
            payload = payload[:_BEGINNING_BYTES]
        delivered = _Delivered(
            topic=topic,
            payload=payload,
            retain=message.retain,
            mid=mid,
            connection=connection,
            cut_from=size if is_too_large else 0,
        )
        try:
            self._incoming.put_nowait(delivered)
        except asyncio.QueueFull:
            # Not acknowledged, so the broker still has it; it is fetched by a new connection when there is room.
            if not self._overflowed:
                self._log.warning("mqtt_incoming_full", topic=topic)
            self._overflowed = True

    def _forget_connection(self) -> None:
        """At once, so that nobody who waits for a connection is let through to one that is gone."""
        self._connection = None
        self._connected.clear()

    def _forget_incoming(self) -> None:
        """What was not acknowledged on a connection that ended comes again on the next."""
        self._overflowed = False
        while not self._incoming.empty():
            self._incoming.get_nowait()


class _Backoff:
    """Pauses that double up to a limit, each jittered down to half, and start over after a connection that lasted."""

    def __init__(self, *, first_seconds: float, max_seconds: float) -> None:
        self._first = first_seconds
        self._max = max_seconds
        self._next = first_seconds
        self._last = 0.0

    def after_failure(self) -> float:
        self._last, self._next = self._next, min(self._next * 2, self._max)
        return self._last * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, no secret

    def after_connection(self, *, lasted_seconds: float) -> float:
        # Two gateways with one client id throw each other out as soon as they are welcome: that is no reason to start over.
        if lasted_seconds > self._last:
            self._next = self._first
        return self.after_failure()
