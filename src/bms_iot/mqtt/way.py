"""The way to the broker, as the settings have it."""

from collections.abc import Awaitable, Callable

from bms_iot.errors import ConfigurationError
from bms_iot.mqtt.client import MqttBroker
from bms_iot.mqtt.options import ConnectOptions, Credentials
from bms_iot.mqtt.proxy import Proxy
from bms_iot.mqtt.tls import Tls
from bms_iot.mqtt.topics import Topics
from bms_iot.sections import MqttSettings


def tls_options(settings: MqttSettings) -> Tls:
    """What TLS is verified against, and what we show."""
    return Tls(
        ca_certificate=settings.ca_certificate, client_certificate=settings.client_certificate, client_key=settings.client_key
    )


def credentials(settings: MqttSettings) -> Credentials:
    """Who we are to the broker and to the proxy."""
    place = settings.proxy_place
    proxy = (
        Proxy(host=place[0], port=place[1], username=settings.proxy_username, password=settings.proxy_password) if place else None
    )
    return Credentials(username=settings.username, password=settings.password, proxy=proxy)


def gateway_broker(
    settings: MqttSettings,
    topics: Topics,
    *,
    will: bytes,
    on_connect: Callable[[], Awaitable[None]],
    reload: Callable[[], MqttSettings],
) -> MqttBroker:
    """The gateway's own connection; `mqtt.host` is set. `reload` has the credentials before each connect."""
    assert settings.host is not None
    return MqttBroker(
        host=settings.host,
        port=settings.effective_port,
        client_id=settings.client_id or topics.iot_device_id,
        credentials=lambda: credentials(reload()),
        tls=settings.uses_tls,
        ca_certificate=settings.ca_certificate,
        client_certificate=settings.client_certificate,
        client_key=settings.client_key,
        websocket_path=settings.websocket_path if settings.transport == "websocket" else None,
        protocol=settings.protocol,
        keep_alive_seconds=settings.keep_alive_seconds,
        subscriptions=topics.subscriptions,
        will_topic=topics.status_update,
        will_payload=will,
        will_delay_seconds=settings.will_delay_seconds,
        on_connect=on_connect,
    )


def visitor_options(settings: MqttSettings, client_id: str) -> ConnectOptions:
    """A connection of a command: no last will, and no session that outlives it. Raises ConfigurationError without a host."""
    if settings.host is None:
        raise ConfigurationError("mqtt.host is not set", hint="bms-iot mqtt config")
    return ConnectOptions(
        host=settings.host,
        port=settings.effective_port,
        client_id=client_id,
        credentials=credentials(settings),
        tls=tls_options(settings) if settings.uses_tls else None,
        websocket_path=settings.websocket_path if settings.transport == "websocket" else None,
        will=None,
        keep_alive_seconds=settings.keep_alive_seconds,
        connect_timeout_seconds=10.0,
        acknowledge_timeout_seconds=10.0,
        session_expiry_seconds=0,
        max_in_flight=1,
        receive_maximum=20,
    )
