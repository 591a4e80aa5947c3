"""One connection to the broker, from CONNECT to its end. It is never revived: the next connection is a new object.

paho does the protocol and holds the outgoing messages of this connection only, so that nothing reported as failed is sent later.
Name resolution, connect and the TLS handshake block, so they happen in a thread of their own; from then on the socket does not
block and is served by the event loop, and every callback of paho runs there.
"""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from bms_iot.errors import BrokerUnavailable, ConfigurationError, PublishRefused
from bms_iot.mqtt.options import ConnectFailed, ConnectOptions
from bms_iot.mqtt.proxy import Proxy

PACKET_TOO_LARGE: Final = 0x95
RETAIN_NOT_SUPPORTED: Final = 0x9A
_HOUSEKEEPING_SECONDS: Final = 1.0
_LEAVE_SECONDS: Final = 1.0
_PUBLISH_OVERHEAD: Final = 16
"""Bytes of a PUBLISH beside topic and payload: fixed header 5, topic length 2, packet identifier 2, no properties 1; rounded up."""


class _Abandoned(Exception):
    """Nobody waits for this connection any more."""


class _Client(paho.Client):
    """paho, but for how a TCP connection comes about: paho's own way through a proxy needs a further package."""

    proxy: Proxy | None = None

    def _create_socket_connection(self) -> socket.socket:
        timeout = self.connect_timeout
        if self.proxy is None:
            sock = socket.create_connection((self.host, self.port), timeout=timeout)
        else:
            sock = self.proxy.connect(self.host, self.port, timeout_seconds=timeout)
        sock.settimeout(timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock


class Connection:
    """One connection. Every method is called in the event loop."""

    def __init__(
        self,
        options: ConnectOptions,
        version: MQTTProtocolVersion,
        *,
        deliver: Callable[["Connection", paho.MQTTMessage], None],
        lost: Callable[[], None],
    ) -> None:
        self.version = version
        self._options = options
        self._deliver = deliver
        self._tell_lost = lost
        self._loop = asyncio.get_running_loop()
        self._abandoned = threading.Event()
        self._end: asyncio.Future[str] = self._loop.create_future()
        self._connack: asyncio.Future[None] = self._loop.create_future()
        self._suback: asyncio.Future[list[ReasonCode]] = self._loop.create_future()
        self._puback: dict[int, asyncio.Future[None]] = {}
        self._room = asyncio.Semaphore(options.max_in_flight)
        self._progress_at = 0.0
        self._max_packet_bytes: int | None = None
        self._retain_available = True
        self._is_attached = False
        """Whether the thread that connected is done with the client."""
        self._client = self._new_client()

    @property
    def is_lost(self) -> bool:
        return self._end.done()

    async def open(self) -> None:
        """Connect and wait for the broker's welcome. Raises ConnectFailed; `leave` or `drop` is due in any case."""
        await self._connect()
        sock = self._client.socket()
        if sock is None:
            raise ConnectFailed("the broker closed the connection at once", reached=True)
        self._attach(sock)
        await self._first(self._connack, self._options.connect_timeout_seconds)
        if self._connack.done():
            self._connack.result()
        elif self.is_lost:
            raise ConnectFailed(f"the broker hung up before its welcome: {self._end.result()}", reached=True)
        else:
            raise ConnectFailed("the broker accepted the connection and then said nothing", reached=True)

    async def subscribe(self, filters: Sequence[str]) -> list[tuple[str, ReasonCode]]:
        """Subscribe with QoS 1; returns the filters that were refused. Raises BrokerUnavailable when the connection is lost."""
        codes: list[ReasonCode] = []
        if filters:
            self._suback = self._loop.create_future()
            # retainAsPublished shows a command that its sender retained also while we are connected; 3.1.1 has no such thing
            if self.version == MQTTProtocolVersion.MQTTv5:
                options = SubscribeOptions(qos=1, retainAsPublished=True)
                self._client.subscribe([(topic_filter, options) for topic_filter in filters])
            else:
                self._client.subscribe([(topic_filter, 1) for topic_filter in filters])
            await self._first(self._suback, self._options.acknowledge_timeout_seconds)
            if not self._suback.done():
                raise BrokerUnavailable("the broker did not acknowledge the subscription")
            codes = self._suback.result()
        if self.is_lost:
            raise BrokerUnavailable(f"the broker hung up after its welcome: {self._end.result()}")
        return [(topic_filter, code) for topic_filter, code in zip(filters, codes, strict=False) if code.is_failure]

    async def publish(self, topic: str, payload: bytes, *, retain: bool, content_type: str | None = None) -> None:
        """Send with QoS 1 and return on PUBACK. Raises BrokerUnavailable, PublishRefused."""
        self._check_limits(topic, payload, retain=retain)
        await self._room.acquire()
        try:
            acknowledged = self._send(topic, payload, retain=retain, content_type=content_type)
        except BaseException:
            self._room.release()
            raise
        # The room is given back when the message is settled, not when its caller stops waiting.
        await acknowledged

    def acknowledge(self, mid: int) -> None:
        if mid and not self.is_lost:
            self._client.ack(mid, 1)

    async def run(self) -> str:
        """Keep the connection until it ends; returns why."""
        while not self._end.done():
            await asyncio.wait({self._end}, timeout=_HOUSEKEEPING_SECONDS)
            self._guarded(self._client.loop_misc)
            if self._puback and self._loop.time() - self._progress_at > self._options.acknowledge_timeout_seconds:
                self.drop("the broker stopped acknowledging")
        return self._end.result()

    def drop(self, reason: str) -> None:
        """Hang up without a DISCONNECT, so that the broker publishes the last will."""
        self._abandoned.set()
        self._lost(reason)
        if self._is_attached:
            self._terminate()

    async def leave(self) -> None:
        """Send DISCONNECT, so that the broker drops the last will, and close."""
        if not self.is_lost and self._client.is_connected():
            self._guarded(self._client.disconnect)
            await asyncio.wait({self._end}, timeout=_LEAVE_SECONDS)
        self.drop("we left")

    async def _first(self, answer: asyncio.Future[Any], timeout_seconds: float) -> None:
        """Wait until there is an answer, the connection ended, or the time is over."""
        either: set[asyncio.Future[Any]] = {answer, self._end}
        await asyncio.wait(either, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)

    def _new_client(self) -> paho.Client:
        options = self._options
        is_5 = self.version == MQTTProtocolVersion.MQTTv5
        client = _Client(
            CallbackAPIVersion.VERSION2,
            client_id=options.client_id,
            clean_session=None if is_5 else options.session_expiry_seconds == 0,
            protocol=self.version,
            transport="tcp" if options.websocket_path is None else "websockets",
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = options.connect_timeout_seconds
        client.max_inflight_messages = options.max_in_flight
        if options.websocket_path is not None:
            client.ws_set_options(path=options.websocket_path)
        credentials = options.credentials
        client.proxy = credentials.proxy
        if credentials.username is not None:
            client.username_pw_set(credentials.username, credentials.password.get_secret_value() if credentials.password else None)
        if will := options.will:
            properties = _properties(PacketTypes.WILLMESSAGE, WillDelayInterval=will.delay_seconds) if is_5 else None
            client.will_set(will.topic, will.payload, qos=1, retain=True, properties=properties)
        client.on_socket_open = self._on_socket_open
        return client

    async def _connect(self) -> None:
        opened: asyncio.Future[None] = self._loop.create_future()
        # A daemon, since a resolver that hangs must hold up neither the event loop nor the end of the process.
        threading.Thread(target=self._connect_in_thread, args=(opened,), name="mqtt-connect", daemon=True).start()
        try:
            await opened
        except asyncio.CancelledError:
            self._abandoned.set()
            raise

    def _terminate(self) -> None:
        # Documented to terminate an established connection immediately; paho has no plainer word for it.
        self._client.connect_async(self._options.host, self._options.port)

    def _opened(self, opened: asyncio.Future[None], failure: Exception | None) -> None:
        if opened.cancelled():
            self._terminate()
        else:
            _settle(opened, failure)

    def _connect_in_thread(self, opened: asyncio.Future[None]) -> None:
        failure: Exception | None = None
        try:
            if self._options.tls is not None:
                self._client.tls_set_context(self._options.tls.context())
            self._client.connect(
                self._options.host, self._options.port, self._options.keep_alive_seconds, **self._connect_arguments()
            )
        except _Abandoned:
            return
        except ConfigurationError as error:
            failure = ConnectFailed(str(error))
        except ssl.SSLCertVerificationError as error:
            failure = ConnectFailed(f"the broker's certificate is not trusted: {error.verify_message}")
        except (OSError, ValueError) as error:
            doubt = "; perhaps a port without TLS, then set mqtt.tls to false" if self._options.tls and _is_cut(error) else ""
            failure = ConnectFailed(f"cannot connect to {self._options.place}: {error}{doubt}")
        try:
            self._loop.call_soon_threadsafe(self._opened, opened, failure)
        except RuntimeError:
            # The event loop is gone, and with it whoever waited.
            self._terminate()

    def _connect_arguments(self) -> dict[str, Any]:
        if self.version != MQTTProtocolVersion.MQTTv5:
            return {}
        properties = _properties(
            PacketTypes.CONNECT,
            SessionExpiryInterval=self._options.session_expiry_seconds,
            ReceiveMaximum=self._options.receive_maximum,
        )
        return {"clean_start": False, "properties": properties}

    def _on_socket_open(self, _client: paho.Client, _userdata: object, _sock: object) -> None:
        if self._abandoned.is_set():
            raise _Abandoned

    def _attach(self, sock: Any) -> None:
        self._is_attached = True
        client = self._client
        client.on_socket_close = lambda _client, _userdata, closing: self._detach(closing)
        client.on_socket_register_write = lambda _client, _userdata, writable: self._loop.add_writer(writable, self._writable)
        client.on_socket_unregister_write = self._on_nothing_to_write
        client.on_connect = self._on_connect
        client.on_subscribe = lambda _client, _userdata, _mid, codes, _properties: _settle(self._suback, None, codes)
        client.on_publish = self._on_publish
        client.on_message = lambda _client, _userdata, message: self._deliver(self, message)
        client.on_disconnect = self._on_disconnect
        self._loop.add_reader(sock, self._readable)
        if client.want_write():
            self._loop.add_writer(sock, self._writable)

    def _detach(self, sock: Any) -> None:
        self._loop.remove_reader(sock)
        self._loop.remove_writer(sock)

    def _on_nothing_to_write(self, _client: paho.Client, _userdata: object, sock: Any) -> None:
        self._loop.remove_writer(sock)

    def _readable(self) -> None:
        self._guarded(self._client.loop_read)
        # What TLS has already decrypted does not make the socket readable again.
        while (sock := self._client.socket()) is not None and hasattr(sock, "pending") and sock.pending():
            self._guarded(self._client.loop_read)

    def _writable(self) -> None:
        self._guarded(self._client.loop_write)

    def _guarded(self, step: Callable[[], MQTTErrorCode]) -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - paho's parser raises whatever it trips over; the connection ends, we go on
            self.drop(f"the broker sent what cannot be read: {type(error).__name__}: {error}")

    def _on_connect(
        self, _client: paho.Client, _userdata: object, _flags: object, code: ReasonCode, properties: Properties | None
    ) -> None:
        if code.is_failure:
            _settle(
                self._connack, ConnectFailed(f"the broker refused the connection: {code}", reached=True, reason_code=code.value)
            )
            return
        # Properties exist as attributes where the broker sent them (MQTT 5 clause 3.2.2.3).
        self._max_packet_bytes = getattr(properties, "MaximumPacketSize", None)
        self._retain_available = bool(getattr(properties, "RetainAvailable", 1))
        self._room = asyncio.Semaphore(min(self._options.max_in_flight, getattr(properties, "ReceiveMaximum", 65_535)))
        _settle(self._connack, None)

    def _check_limits(self, topic: str, payload: bytes, *, retain: bool) -> None:
        size = len(topic.encode()) + len(payload) + _PUBLISH_OVERHEAD
        if self._max_packet_bytes is not None and size > self._max_packet_bytes:
            raise PublishRefused(
                f"{size} bytes are more than the {self._max_packet_bytes} the broker takes", reason_code=PACKET_TOO_LARGE
            )
        if retain and not self._retain_available:
            raise PublishRefused("the broker does not keep retained messages", reason_code=RETAIN_NOT_SUPPORTED)

    def _send(self, topic: str, payload: bytes, *, retain: bool, content_type: str | None) -> asyncio.Future[None]:
        if self.is_lost:
            raise BrokerUnavailable(f"the connection to the broker was lost: {self._end.result()}")
        described = content_type is not None and self.version == MQTTProtocolVersion.MQTTv5
        properties = _properties(PacketTypes.PUBLISH, ContentType=content_type) if described else None
        sent = self._client.publish(topic, payload, qos=1, retain=retain, properties=properties)
        if sent.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise BrokerUnavailable(f"the message could not be sent: {paho.error_string(sent.rc)}")
        if not self._puback:
            self._progress_at = self._loop.time()
        self._puback[sent.mid] = acknowledged = self._loop.create_future()
        return acknowledged

    def _on_publish(self, _client: paho.Client, _userdata: object, mid: int, code: ReasonCode, _properties: object) -> None:
        self._progress_at = self._loop.time()
        if (acknowledged := self._puback.pop(mid, None)) is None:
            return
        self._room.release()
        refusal = PublishRefused(f"the broker refused the message: {code}", reason_code=code.value) if code.is_failure else None
        _settle(acknowledged, refusal)

    def _on_disconnect(
        self, _client: paho.Client, _userdata: object, flags: paho.DisconnectFlags, code: ReasonCode, _properties: object
    ) -> None:
        self._lost(f"the broker hung up: {code}" if flags.is_disconnect_packet_from_server else f"the connection broke: {code}")

    def _lost(self, reason: str) -> None:
        if self.is_lost:
            return
        self._end.set_result(reason)
        self._tell_lost()
        unsettled, self._puback = self._puback, {}
        for acknowledged in unsettled.values():
            self._room.release()
            _settle(acknowledged, BrokerUnavailable(f"the connection was lost before the acknowledgement: {reason}"))


def _properties(packet_type: int, **values: object) -> Properties:
    properties = Properties(packet_type)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


def _settle(future: asyncio.Future[Any], failure: Exception | None, result: object = None) -> None:
    if future.done():
        return
    if failure is None:
        future.set_result(result)
    else:
        future.set_exception(failure)


def _is_cut(error: Exception) -> bool:
    """Whether a TLS handshake ended as it does where nobody speaks TLS."""
    return isinstance(error, ConnectionResetError | ssl.SSLError) and not isinstance(error, ssl.SSLCertVerificationError)
