"""`bms-iot mqtt` as a person types it, against a real broker."""

import asyncio
import json
import os
import stat
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bms_iot.simulator.broker import EmbeddedBroker, free_port
from tests.integration.mqtt_servers import Mosquitto, client, soon
from tests.integration.test_mqtt_mosquitto import Authority

CANARY = "pw-canary-4711"
IDENTITY = {"BMS_ORGANIZATION_ID": "org_test", "BMS_SITE_ID": "site", "BMS_DEVICE_ID": "gateway"}
BASE = "iot/global/org_test/site/gateway"


@dataclass
class Done:
    code: int
    out: str
    err: str

    @property
    def stages(self) -> dict[str, bool | None]:
        return {stage["name"]: stage["ok"] for stage in json.loads(self.out)["stages"]}


@pytest.fixture
def bms(tmp_path: Path) -> Callable[..., Awaitable[Done]]:
    async def run(*arguments: str, stdin: str = "", **environment: str) -> Done:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("BMS_", "MQTT_"))}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bms_iot", "mqtt", *arguments,
            env={**inherited, "BMS_DATA_DIRECTORY": str(tmp_path / "data"), **IDENTITY, **environment},
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), 30)
        assert process.returncode is not None
        assert CANARY not in out.decode() + err.decode()
        return Done(process.returncode, out.decode(), err.decode())

    return run


async def with_password(directory: Path, *options: str) -> list[str]:
    """Options of a broker that lets in `gateway` by its password only."""
    passwords = directory / "passwords"
    process = await asyncio.create_subprocess_exec("mosquitto_passwd", "-b", "-c", passwords, "gateway", CANARY)
    assert await soon(process.wait()) == 0
    return ["allow_anonymous false", f"password_file {passwords}", *options]


async def test_config_writes_what_test_then_uses_and_no_secret_shows(tmp_path, bms):
    async with Mosquitto(tmp_path, options=await with_password(tmp_path)) as server:
        settings = ("--host", "127.0.0.1", "--port", str(server.port), "--username", "gateway")
        done = await bms("config", *settings, "--password-stdin", stdin=f"{CANARY}\n")
        assert (done.code, "bms-iot mqtt test" in done.err) == (0, True)
        file = tmp_path / "data" / "settings.toml"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert CANARY in file.read_text()
        tried = await bms("test", "--json")
        assert tried.code == 0, tried.out
        assert tried.stages == dict.fromkeys(("dns", "tcp", "tls", "auth", "subscribe", "publish"), True)
        shown = json.loads((await bms("show", "--json")).out)
        assert (shown["username"], shown["password"], shown["port"]) == ("gateway", "********", server.port)
        assert shown["subscribes"] == [f"{BASE}/command/+/request"]


async def test_emqx_is_set_up_with_its_ports_and_mqtt_5(bms):
    done = await bms("config-emqx", "broker.example", "--username", "box", "--password-stdin", stdin=f"{CANARY}\n")
    assert done.code == 0
    shown = json.loads((await bms("show", "--json")).out)
    assert {key: shown[key] for key in ("host", "port", "tls", "protocol", "transport")} == {
        "host": "broker.example", "port": 8883, "tls": True, "protocol": "5", "transport": "tcp",
    }  # fmt: skip
    assert (await bms("config-emqx", "broker.example", "--websocket")).code == 0
    shown = json.loads((await bms("show", "--json")).out)
    assert (shown["port"], shown["transport"], shown["username"]) == (8084, "websocket", "box")


@pytest.mark.parametrize("arguments", [("config",), ("config-emqx",), ("config", "--username", "box")])
async def test_what_would_be_asked_for_is_a_usage_error_without_a_terminal(bms, arguments):
    done = await bms(*arguments)
    assert done.code == 2
    assert "--host" in done.err or "host" in done.err or "--password-stdin" in done.err


async def test_there_is_no_option_that_takes_a_password(bms):
    done = await bms("config", "--host", "broker.example", "--password", "x")
    assert done.code == 2


async def test_each_stage_that_fails_is_named_with_what_to_do_next(tmp_path, bms):
    acl = tmp_path / "acl"
    acl.write_text(f"user gateway\ntopic write {BASE}/bulk\n")
    options = await with_password(tmp_path, f"acl_file {acl}")
    async with Mosquitto(tmp_path, options=options) as server:
        there = {"BMS_MQTT__HOST": "127.0.0.1", "BMS_MQTT__PORT": str(server.port)}
        user = {"BMS_MQTT__USERNAME": "gateway", "BMS_MQTT__PASSWORD": CANARY}
        wrong = {"BMS_MQTT__USERNAME": "gateway", "BMS_MQTT__PASSWORD": f"{CANARY}-not"}
        cases = {
            "dns": ({"BMS_MQTT__HOST": "no-such-host.invalid"}, "resolv.conf"),
            "tcp": ({**there, "BMS_MQTT__PORT": str(free_port())}, "--port"),
            "tls": ({**there, "BMS_MQTT__TLS": "true"}, "--no-tls"),
            "auth": ({**there, **wrong}, "--username"),
            "publish": ({**there, **user}, "allow this user"),
        }
        for stage, (environment, advice) in cases.items():
            done = await bms("test", "--json", **environment)
            assert done.code == 1
            assert [name for name, ok in done.stages.items() if not ok] == [stage], done.out
            assert advice in json.loads(done.out)["stages"][-1]["hint"]


async def test_a_broker_of_3_1_1_that_drops_what_it_acknowledges_is_found_out(tmp_path, bms):
    acl = tmp_path / "acl"
    acl.write_text(f"user gateway\ntopic read {BASE}/#\n")
    options = await with_password(tmp_path, f"acl_file {acl}")
    environment = {"BMS_MQTT__USERNAME": "gateway", "BMS_MQTT__PASSWORD": CANARY, "BMS_MQTT__PROTOCOL": "3.1.1"}
    async with Mosquitto(tmp_path, options=options) as server:
        done = await bms("test", "--json", BMS_MQTT__HOST="127.0.0.1", BMS_MQTT__PORT=str(server.port), **environment)
        assert done.code == 1
        assert done.stages["publish"] is None


async def test_a_certificate_of_an_unknown_authority_is_explained(tmp_path, bms):
    authority = Authority(tmp_path, "authority")
    certificate, key = authority.issue("server", "127.0.0.1")
    options = [f"cafile {authority.certificate}", f"certfile {certificate}", f"keyfile {key}", "allow_anonymous true"]
    environment = {"BMS_MQTT__HOST": "127.0.0.1", "BMS_MQTT__TLS": "true"}
    async with Mosquitto(tmp_path, options=options) as server:
        environment["BMS_MQTT__PORT"] = str(server.port)
        done = await bms("test", **environment)
        assert done.code == 1
        assert "--ca-certificate" in done.err
        assert all(len(line) <= 80 for line in (done.out + done.err).splitlines())
        trusting = await bms("test", "--json", **environment, BMS_MQTT__CA_CERTIFICATE=str(authority.certificate))
        assert trusting.code == 0, trusting.out
        assert "valid until" in next(s["detail"] for s in json.loads(trusting.out)["stages"] if s["name"] == "tls")


async def test_who_has_no_identity_yet_is_told_so_after_the_connection_was_proven(bms):
    async with EmbeddedBroker() as server:
        nobody = {"BMS_ORGANIZATION_ID": "", "BMS_MQTT__HOST": "127.0.0.1", "BMS_MQTT__PORT": str(server.port)}
        done = await bms("test", "--json", **nobody)
        assert done.code == 1
        assert done.stages == {"dns": True, "tcp": True, "tls": True, "auth": True, "subscribe": None}
        assert "organization_id" in json.loads(done.out)["stages"][-1]["hint"]


async def test_publish_sends_what_it_is_given_and_never_retains_a_command(tmp_path, bms):
    async with Mosquitto(tmp_path) as server, client(server.port, "reader", protocol="5", subscriptions=["t/#"]) as reader:
        await soon(reader.wait_connected())
        there = {"BMS_MQTT__HOST": "127.0.0.1", "BMS_MQTT__PORT": str(server.port)}
        assert (await bms("publish", "t/1", "hello", **there)).code == 0
        done = await bms("publish", "t/2", "--retain", "--json", stdin="from stdin", **there)
        assert json.loads(done.out) == {"topic": "t/2", "bytes": 10, "retain": True, "protocol": "5"}
        assert [(await soon(reader.receive())).payload for _ in range(2)] == [b"hello", b"from stdin"]
        refused = await bms("publish", f"{BASE}/command/reboot/request", "{}", "--retain", **there)
        assert (refused.code, "retained" in refused.err) == (2, True)
        assert (await bms("publish", "t/#", "x", **there)).code == 2
        await server.stop()
        away = await bms("publish", "t/1", "hello", **there)
        assert (away.code, "bms-iot mqtt test" in away.err) == (1, True)
