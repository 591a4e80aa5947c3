"""What only a full broker can show: MQTT 5, access control, TLS, redelivery."""

import asyncio
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from bms_iot.errors import BrokerUnavailable, ConfigurationError, PublishRefused
from bms_iot.mqtt.client import MqttBroker
from bms_iot.mqtt.options import Credentials
from bms_iot.mqtt.tls import Tls
from tests.integration.mqtt_servers import Mosquitto, client, soon

pytestmark = pytest.mark.system

REFUSED_BY_ACCESS_CONTROL = 0x87
PACKET_TOO_LARGE = 0x95
PASSWORD = "planted-secret"


async def test_mqtt_5_is_spoken_where_the_broker_has_it(tmp_path):
    async with Mosquitto(tmp_path) as server:
        for wanted, spoken in (("auto", "5"), ("5", "5"), ("3.1.1", "3.1.1")):
            async with client(server.port, protocol=wanted) as gateway:
                await soon(gateway.wait_connected())
                assert gateway.protocol == spoken
            assert gateway.protocol is None


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_a_message_not_acknowledged_comes_again_after_a_reconnect_and_an_acknowledged_one_does_not(tmp_path, protocol):
    settings: dict[str, Any] = {"protocol": protocol, "subscriptions": ["command"]}
    async with Mosquitto(tmp_path) as server, client(server.port, "cloud") as cloud:
        async with client(server.port, **settings) as gateway:
            await soon(gateway.wait_connected())
            await soon(cloud.wait_connected())
            await soon(cloud.publish("command", b"done"))
            await soon(cloud.publish("command", b"left"))
            first, second = await soon(gateway.receive()), await soon(gateway.receive())
            gateway.acknowledge(first)
            # Both travel the same way, so the broker has the acknowledgement when it answers this.
            await soon(gateway.publish("t", b"x"))
        async with client(server.port, **settings) as gateway:
            again = await soon(gateway.receive())
            assert (first.payload, second.payload, again.payload) == (b"done", b"left", b"left")
            # That of the connection before means nothing on this one.
            gateway.acknowledge(second)
            await soon(gateway.wait_connected())
            await soon(gateway.publish("t", b"x"))
        async with client(server.port, **settings) as gateway:
            assert (await soon(gateway.receive())).payload == b"left"


async def test_what_finds_no_room_is_fetched_again_when_there_is_some(tmp_path):
    total, room = 15, 4
    async with Mosquitto(tmp_path, options=["allow_anonymous true", "max_inflight_messages 0"]) as server:
        async with client(server.port, subscriptions=["command"]) as gateway:
            await soon(gateway.wait_connected())
        async with client(server.port, "cloud") as cloud:
            await soon(cloud.wait_connected())
            for number in range(total):
                await soon(cloud.publish("command", b"%d" % number))
        async with client(server.port, subscriptions=["command"], max_incoming_messages=room) as gateway:
            seen: set[bytes] = set()
            while len(seen) < total:
                message = await soon(gateway.receive())
                seen.add(message.payload)
                gateway.acknowledge(message)
    assert seen == {b"%d" % number for number in range(total)}


async def test_a_topic_the_broker_does_not_allow_is_refused_and_the_next_one_is_not(tmp_path):
    access = tmp_path / "acl"
    access.write_text("topic readwrite allowed/#\n")
    server = Mosquitto(tmp_path, options=["allow_anonymous true", f"acl_file {access}"])
    async with server, client(server.port, protocol="auto") as gateway:
        await soon(gateway.wait_connected())
        with pytest.raises(PublishRefused) as caught:
            await soon(gateway.publish("forbidden/t", b"x"))
        assert caught.value.reason_code == REFUSED_BY_ACCESS_CONTROL
        await soon(gateway.publish("allowed/t", b"x"))


async def test_a_message_larger_than_the_broker_takes_is_refused_before_it_is_sent(tmp_path):
    server = Mosquitto(tmp_path, options=["allow_anonymous true", "max_packet_size 5000"])
    async with server, client(server.port, protocol="5") as gateway:
        await soon(gateway.wait_connected())
        with pytest.raises(PublishRefused) as caught:
            await soon(gateway.publish("t", b"x" * 5000))
        assert caught.value.reason_code == PACKET_TOO_LARGE
        await soon(gateway.publish("t", b"x" * 4900))
        assert gateway.is_connected


async def test_a_client_with_the_same_id_takes_over_and_neither_spins(tmp_path):
    async with Mosquitto(tmp_path) as server:
        with structlog.testing.capture_logs() as logs:
            async with (
                client(server.port, protocol="5", backoff_max_seconds=5.0) as one,
                client(server.port, protocol="5") as other,
            ):
                await soon(one.wait_connected())
                await soon(other.wait_connected())
                await asyncio.sleep(1.0)
        taken_over = [entry for entry in logs if entry["event"] == "mqtt_connection_lost"]
        assert 0 < len(taken_over) < 20


async def test_credentials_are_used_and_show_nowhere(tmp_path):
    passwords = tmp_path / "passwords"
    make_passwords = await asyncio.create_subprocess_exec("mosquitto_passwd", "-b", "-c", passwords, "gateway", PASSWORD)
    assert await soon(make_passwords.wait()) == 0
    options = ["allow_anonymous false", f"password_file {passwords}"]
    async with Mosquitto(tmp_path, options=options) as server:
        with structlog.testing.capture_logs() as logs:
            async with client(
                server.port, credentials=Credentials(username="gateway", password=SecretStr(PASSWORD)), protocol="auto"
            ) as gateway:
                await soon(gateway.wait_connected())
                assert PASSWORD not in repr(gateway)
                assert PASSWORD not in repr(vars(gateway))
            async with client(
                server.port, credentials=Credentials(username="gateway", password=SecretStr(f"not {PASSWORD}")), protocol="auto"
            ) as stranger:
                await logged(logs, "mqtt_connect_failed")
                assert not stranger.is_connected
    assert any("ot authorized" in entry.get("reason", "") for entry in logs)
    assert PASSWORD not in repr(logs)


async def logged(logs: list[Any], event: str) -> None:
    async with asyncio.timeout(10):
        while not any(entry["event"] == event for entry in logs):
            await asyncio.sleep(0.01)


class Authority:
    """A certificate authority for one test, made by the openssl program."""

    def __init__(self, directory: Path, name: str) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("openssl is not installed")
        self.directory = directory
        self.certificate, self._key = directory / f"{name}.pem", directory / f"{name}.key"
        self._openssl("req", "-x509", "-subj", f"/CN={name}", "-out", self.certificate, "-keyout", self._key)

    def issue(self, name: str, host: str = "localhost") -> tuple[Path, Path]:
        """Certificate and key for that host."""
        certificate, key = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        alternative = f"subjectAltName={'IP' if host[0].isdigit() else 'DNS'}:{host}"
        signed_by = ("-CA", self.certificate, "-CAkey", self._key)
        self._openssl(
            "req", "-x509", "-subj", f"/CN={name}", "-addext", alternative, *signed_by, "-out", certificate, "-keyout", key
        )
        return certificate, key

    def _openssl(self, *arguments: object) -> None:
        parameters = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
        subprocess.run(["openssl", *map(str, arguments), *parameters], check=True, capture_output=True)


class TestTls:
    @pytest.fixture
    def authority(self, tmp_path: Path) -> Authority:
        return Authority(tmp_path, "authority")

    def server(self, authority: Authority, *, host: str = "127.0.0.1", options: tuple[str, ...] = ()) -> Mosquitto:
        certificate, key = authority.issue("server", host)
        files = [f"cafile {authority.certificate}", f"certfile {certificate}", f"keyfile {key}"]
        return Mosquitto(authority.directory, options=[*files, "allow_anonymous true", *options])

    async def test_large_and_many_messages_travel_over_verified_tls(self, authority):
        async with (
            self.server(authority) as server,
            client(server.port, protocol="5", tls=True, ca_certificate=authority.certificate, subscriptions=["t"]) as gateway,
        ):
            await soon(gateway.wait_connected())
            payloads = [b"%d" % number * 20_000 for number in range(30)]
            await soon(asyncio.gather(*(gateway.publish("t", payload) for payload in payloads)))
            for payload in payloads:
                message = await soon(gateway.receive())
                assert message.payload == payload
                gateway.acknowledge(message)

    async def test_the_last_will_is_suppressed_over_tls_too(self, authority):
        settings: dict[str, Any] = {"tls": True, "ca_certificate": authority.certificate}
        async with self.server(authority) as server, client(server.port, "reader", subscriptions=["t"], **settings) as reader:
            await soon(reader.wait_connected())
            async with client(server.port, will_topic="t", will_payload=b"lost", **settings) as gateway:
                await soon(gateway.wait_connected())
            await soon(reader.publish("t", b"end"))
            assert (await soon(reader.receive())).payload == b"end"

    @pytest.mark.parametrize("fault", ["another authority", "the system's roots", "another host"])
    async def test_a_broker_that_cannot_be_verified_is_not_spoken_to(self, authority, fault):
        trusted: Path | None = authority.certificate
        if fault == "another authority":
            trusted = Authority(authority.directory, "other").certificate
        elif fault == "the system's roots":
            trusted = None
        server = self.server(authority, host="broker.example" if fault == "another host" else "127.0.0.1")
        with structlog.testing.capture_logs() as logs:
            async with server, client(server.port, tls=True, ca_certificate=trusted) as gateway:
                await logged(logs, "mqtt_connect_failed")
                assert not gateway.is_connected
        assert "not trusted" in logs[0]["reason"]

    def test_nothing_below_tls_1_2_is_offered(self, authority):
        context = Tls(ca_certificate=authority.certificate).context()
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
        assert context.verify_mode == ssl.CERT_REQUIRED
        assert context.check_hostname

    async def test_a_client_certificate_opens_a_broker_that_asks_for_one(self, authority):
        certificate, key = authority.issue("gateway")
        async with self.server(authority, options=("require_certificate true",)) as server:
            with structlog.testing.capture_logs() as logs:
                async with client(server.port, tls=True, ca_certificate=authority.certificate) as stranger:
                    await logged(logs, "mqtt_connect_failed")
                    assert not stranger.is_connected
            settings: dict[str, Any] = {
                "ca_certificate": authority.certificate,
                "client_certificate": certificate,
                "client_key": key,
            }
            async with client(server.port, tls=True, **settings) as gateway:
                await soon(gateway.wait_connected())
                await soon(gateway.publish("t", b"x"))

    async def test_a_missing_certificate_file_is_named_at_the_start(self, tmp_path):
        gateway = client(1, tls=True, ca_certificate=tmp_path / "missing.pem")
        with pytest.raises(ConfigurationError, match=r"missing\.pem"):
            await gateway.__aenter__()

    async def test_publishing_into_a_connection_that_ends_raises(self, authority):
        async with (
            self.server(authority) as server,
            client(server.port, tls=True, ca_certificate=authority.certificate) as gateway,
        ):
            await soon(gateway.wait_connected())
            await server.kill()

            async def until_it_fails(broker: MqttBroker) -> None:
                while True:
                    await broker.publish("t", b"x")

            with pytest.raises(BrokerUnavailable):
                await soon(until_it_fails(gateway))
