"""Try the way to the broker, stage by stage, and say at the first one that fails what to do about it."""

import asyncio
import ipaddress
import json
import secrets
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from paho.mqtt import client as paho
from paho.mqtt.enums import MQTTProtocolVersion

from bms_iot.errors import BrokerUnavailable, PublishRefused
from bms_iot.mqtt.client import SPOKEN, VERSIONS, Protocol
from bms_iot.mqtt.connection import Connection
from bms_iot.mqtt.options import ConnectFailed, ConnectOptions
from bms_iot.mqtt.proxy import ProxyRefused
from bms_iot.mqtt.topics import Topics

STAGES: Final = ("dns", "tcp", "tls", "auth", "subscribe", "publish")
READ_BACK_SECONDS: Final = 5.0
TEST_NAME: Final = "test"
"""The command whose answer the trial publishes: consumers know the topic's form, and nobody waits for that answer."""

_EXPIRED, _NOT_YET_VALID, _SELF_SIGNED, _SELF_SIGNED_IN_CHAIN, _UNKNOWN_ISSUER, _OTHER_HOST = 10, 9, 18, 19, 20, 62
"""X509_verify_cert_error_string(3)."""
_NEXT_FOR_CERTIFICATE: Final = {
    _EXPIRED: "the broker needs a new certificate; or this box's clock is wrong: date -u",
    _NOT_YET_VALID: "this box's clock is wrong, or the certificate is not valid yet: date -u",
    _SELF_SIGNED: "bms-iot mqtt config --ca-certificate FILE, with the certificate of the broker's authority",
    _SELF_SIGNED_IN_CHAIN: "bms-iot mqtt config --ca-certificate FILE, with the certificate of the broker's authority",
    _UNKNOWN_ISSUER: "bms-iot mqtt config --ca-certificate FILE, with the certificate of the broker's authority",
    _OTHER_HOST: "bms-iot mqtt config --host NAME, with a name that stands in the broker's certificate",
}
_BAD_CLIENT_ID, _BAD_USER, _NOT_AUTHORIZED, _BANNED = 0x85, 0x86, 0x87, 0x8A
"""CONNACK reason codes (MQTT 5 clause 3.2.2.2)."""
_NEXT_FOR_REFUSAL: Final = {
    _BAD_CLIENT_ID: "bms-iot mqtt config --client-id ID, with one the broker allows",
    _BAD_USER: "bms-iot mqtt config --username NAME, and type the password again",
    _NOT_AUTHORIZED: "bms-iot mqtt config --username NAME, and type the password again; or allow this user at the broker",
    _BANNED: "the broker bans this client: ask who runs it",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One of `STAGES`. `ok` is None where nothing could be proven; `hint` is then, as after a failure, what to do next."""

    name: str
    ok: bool | None
    detail: str
    seconds: float
    hint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    ok: bool | None
    detail: str
    hint: str | None = None


@asynccontextmanager
async def visit(options: ConnectOptions, protocol: Protocol) -> AsyncIterator[Connection]:
    """One connection of the newest version the broker takes, left in peace. Raises ConnectFailed."""
    connection = await _open(options, VERSIONS[protocol], lambda _topic, _payload: None)
    try:
        yield connection
    finally:
        await connection.leave()


class Trial:
    """A trial of the way to the broker; `topics` is None where nobody has said yet who we are."""

    def __init__(self, options: ConnectOptions, protocol: Protocol, topics: Topics | None) -> None:
        self._options, self._protocol, self._topics = options, protocol, topics
        self._addresses: list[str] = []
        self._socket: socket.socket | None = None
        self._connection: Connection | None = None
        self._arrived: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()

    async def run(self) -> AsyncIterator[Stage]:
        """The stages in their order, up to the first that is not right."""
        steps: dict[str, Callable[[], Awaitable[_Found]]] = {
            "dns": self._resolve,
            "tcp": self._connect,
            "tls": self._shake_hands,
            "auth": self._log_in,
            "subscribe": self._subscribe,
            "publish": self._publish,
        }
        try:
            for name in STAGES:
                began = time.monotonic()
                found = await steps[name]()
                yield Stage(
                    name=name, ok=found.ok, detail=found.detail, hint=found.hint, seconds=round(time.monotonic() - began, 3)
                )
                if not found.ok:
                    return
        finally:
            if self._socket is not None:
                self._socket.close()
            if self._connection is not None:
                await self._connection.leave()

    async def _resolve(self) -> _Found:
        proxy = self._options.credentials.proxy
        host, port = (proxy.host, proxy.port) if proxy else (self._options.host, self._options.port)
        whose = "the proxy " if proxy else ""
        if _is_address(host):
            return _Found(ok=True, detail=f"{whose}{host} is an address")
        try:
            async with asyncio.timeout(self._options.connect_timeout_seconds):
                found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except TimeoutError:
            hint = "this box's name server does not answer: cat /etc/resolv.conf"
            return _Found(ok=False, detail=f"nobody says what {host} is", hint=hint)
        except (OSError, UnicodeError) as error:
            hint = "check the name: bms-iot mqtt show; and this box's name server: cat /etc/resolv.conf"
            return _Found(ok=False, detail=f"{whose}{host}: {error}", hint=hint)
        self._addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        return _Found(ok=True, detail=f"{whose}{host} is {', '.join(self._addresses[:3])}")

    async def _connect(self) -> _Found:
        options = self._options
        try:
            self._socket = await asyncio.to_thread(self._open_socket)
        except ProxyRefused as error:
            return _Found(ok=False, detail=str(error), hint="check mqtt.proxy, and whether it lets CONNECT through to that port")
        except ConnectionRefusedError:
            hint = "is the broker running, and is that its port? bms-iot mqtt config --port PORT"
            return _Found(ok=False, detail=f"nobody listens at {options.place}", hint=hint)
        except TimeoutError:
            hint = "a firewall drops it, or the address is wrong; try bms-iot mqtt config --transport websocket --port 443"
            return _Found(ok=False, detail=f"no answer from {options.place}", hint=hint)
        except OSError as error:
            return _Found(ok=False, detail=f"{options.place}: {error.strerror or error}", hint="check this box's network: ip route")
        return _Found(ok=True, detail=f"connected to {options.place}")

    def _open_socket(self) -> socket.socket:
        options, proxy = self._options, self._options.credentials.proxy
        if proxy is not None:
            return proxy.connect(options.host, options.port, timeout_seconds=options.connect_timeout_seconds)
        return socket.create_connection((options.host, options.port), timeout=options.connect_timeout_seconds)

    async def _shake_hands(self) -> _Found:
        tls, options = self._options.tls, self._options
        if tls is None:
            return _Found(ok=True, detail="off: anybody on the way can read and change what is sent")
        assert self._socket is not None
        try:
            context = tls.context()
            secured = await asyncio.to_thread(context.wrap_socket, self._socket, server_hostname=options.host)
        except ssl.SSLCertVerificationError as error:
            hint = _NEXT_FOR_CERTIFICATE.get(error.verify_code, "the broker needs a certificate that this box can verify")
            return _Found(ok=False, detail=f"the broker's certificate is not trusted: {error.verify_message}", hint=hint)
        except OSError as error:
            hint = f"is port {options.port} one with TLS? bms-iot mqtt config --port 8883; or without: --no-tls"
            return _Found(ok=False, detail=f"no TLS: {_plain(error)}", hint=hint)
        self._socket = secured
        return _Found(ok=True, detail=f"{secured.version()}, {_certificate(secured)}")

    async def _log_in(self) -> _Found:
        if self._socket is not None:
            self._socket.close()
        try:
            self._connection = await _open(self._options, VERSIONS[self._protocol], self._arrive)
        except ConnectFailed as error:
            hint = _NEXT_FOR_REFUSAL.get(error.reason_code or 0, "the broker's log says why; is it an MQTT broker?")
            return _Found(ok=False, detail=str(error), hint=hint)
        who = self._options.credentials.username or ("a certificate" if self._has_certificate() else "nobody")
        return _Found(ok=True, detail=f"MQTT {SPOKEN[self._connection.version]} as {who}, client id {self._options.client_id}")

    async def _subscribe(self) -> _Found:
        assert self._connection is not None
        if self._topics is None:
            hint = "bms-iot config set organization_id VALUE; and so site_id and device_id"
            return _Found(ok=None, detail="not tried: nobody has said who we are", hint=hint)
        wanted = self._topics.command_request("+")
        try:
            refused = await self._connection.subscribe([wanted])
        except BrokerUnavailable as error:
            return _Found(ok=False, detail=str(error), hint="the broker hangs up on subscriptions: its log says why")
        if refused:
            return _Found(ok=False, detail=f"{refused[0][1]}: {wanted}", hint="allow this user at the broker to read that topic")
        return _Found(ok=True, detail=wanted)

    async def _publish(self) -> _Found:
        assert self._connection is not None
        assert self._topics is not None
        topic = self._topics.command_response(TEST_NAME)
        command = f"mqtt-test-{secrets.token_hex(8)}"
        payload = json.dumps({"success": True, "message": "bms-iot mqtt test", "state": "done", "commandId": command}).encode()
        try:
            unreadable = await self._connection.subscribe([topic])
            await self._connection.publish(topic, payload, retain=False)
        except PublishRefused as error:
            return _Found(ok=False, detail=f"{error}: {topic}", hint="allow this user at the broker to publish on that topic")
        except BrokerUnavailable as error:
            return _Found(ok=False, detail=str(error), hint="the broker hangs up on what is published: its log says why")
        if not unreadable and await self._comes_back(topic, payload):
            return _Found(ok=True, detail="acknowledged and read back")
        why = "it may not be read by this user" if unreadable else "it did not come back"
        if self._connection.version == MQTTProtocolVersion.MQTTv5:
            return _Found(ok=True, detail=f"acknowledged; {why}, which this broker's acknowledgement makes up for")
        hint = f"a broker of MQTT 3.1.1 acknowledges what it drops: look whether a consumer received {topic}"
        return _Found(ok=None, detail=f"acknowledged, but {why}", hint=hint)

    async def _comes_back(self, topic: str, payload: bytes) -> bool:
        try:
            async with asyncio.timeout(READ_BACK_SECONDS):
                while await self._arrived.get() != (topic, payload):
                    pass
        except TimeoutError:
            return False
        return True

    def _arrive(self, topic: str, payload: bytes) -> None:
        self._arrived.put_nowait((topic, payload))

    def _has_certificate(self) -> bool:
        return self._options.tls is not None and self._options.tls.client_certificate is not None


async def _open(
    options: ConnectOptions, versions: Sequence[MQTTProtocolVersion], arrive: Callable[[str, bytes], None]
) -> Connection:
    """Raises ConnectFailed."""

    def deliver(connection: Connection, message: paho.MQTTMessage) -> None:
        if message.topic.endswith(f"/{TEST_NAME}/response"):
            arrive(message.topic, bytes(message.payload))
        connection.acknowledge(message.mid if message.qos else 0)

    newest, *older = versions
    connection = Connection(options, newest, deliver=deliver, lost=lambda: None)
    try:
        await connection.open()
    except ConnectFailed as error:
        connection.drop("never connected")
        if not older or not error.may_be_about_version:
            raise
        return await _open(options, older, arrive)
    except asyncio.CancelledError:
        connection.drop("nobody waits any more")
        raise
    return connection


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _plain(error: OSError) -> str:
    return "no answer" if isinstance(error, TimeoutError) else str(getattr(error, "reason", None) or error.strerror or error)


def _certificate(secured: ssl.SSLSocket) -> str:
    """Until when the broker's certificate is valid."""
    certificate = secured.getpeercert() or {}
    until = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
    return f"certificate valid until {until:%Y-%m-%d}"
