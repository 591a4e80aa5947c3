"""Commands that happen once: the real gateway, killed at the worst moments; the device counts what it was written."""

import asyncio
import json
import secrets
from typing import Any

import pytest

from bms_iot.simulator.broker import free_port
from tests.acceptance.commanded import Blow, commanded_site

pytestmark = pytest.mark.timeout(240)


@pytest.mark.system
async def test_a_kill_at_any_moment_of_a_write_leaves_at_most_one_write_and_one_outcome(tmp_path):
    moments = {
        "before": (Blow(at="look"), 0, "failed"),
        "lost": (Blow(at="write", is_lost=True), 1, "failed"),
        "carried-out": (Blow(at="write"), 1, "done"),
        "unanswered": (Blow(at="write", is_silent=True), 1, "unknown"),
        "at-reading-back": (Blow(at="look", writes=1), 1, "done"),
    }
    async with commanded_site(tmp_path) as commanded:
        await commanded.start()
        for number, (moment, (blow, writes, outcome)) in enumerate(moments.items()):
            before = len(commanded.device.writes)
            commanded.strike(blow)
            await commanded.set_value(moment, 30.0 + number, priority=9)
            await asyncio.wait_for(blow.struck.wait(), 30)
            await commanded.gone()
            await commanded.start()
            (answer,) = await commanded.answer(moment)
            assert (answer["state"], len(commanded.device.writes) - before) == (outcome, writes), (moment, answer)
            commanded.device.strike = None
            await commanded.set_value(moment, 30.0 + number, priority=9)
            answers = await commanded.answer(moment, count=2)
            assert [each["state"] for each in answers] == [outcome, "duplicate"]
            assert len(commanded.device.writes) - before == writes
        assert await commanded.site.stop() == 0


@pytest.mark.system
async def test_one_command_delivered_five_times_across_a_restart_is_one_write_one_outcome_and_four_duplicates(tmp_path):
    async with commanded_site(tmp_path) as commanded:
        await commanded.start()
        for _ in range(3):
            await commanded.set_value("c")
        await commanded.answer("c", count=3)
        commanded.kill()
        await commanded.gone()
        for _ in range(2):
            await commanded.set_value("c")
        await commanded.site.start()
        answers = await commanded.answer("c", count=5)
        assert [answer["state"] for answer in answers] == ["done", *["duplicate"] * 4]
        assert answers[0]["after"] == 50.0
        assert len(commanded.device.writes) == 1
        code, out, _ = await commanded.site.command("commands", "list", "--json")
        assert (code, len(out.splitlines()), '"duplicates": 4' in out) == (0, 1, True)
        assert await commanded.site.stop() == 0


@pytest.mark.system
async def test_refusals_have_their_reasons_and_write_nothing_and_the_gateway_goes_on(tmp_path):
    settings = {"BMS_WRITES__PER_MINUTE": "1", "BMS_WRITES__POINTS": "*/AO/*, */AV/*", "BMS_CLOCK__TRUSTED": "always"}
    async with commanded_site(tmp_path, settings=settings) as commanded:
        await commanded.start()
        name, point = "set_value_to_point", commanded.point
        whole = {"commandId": "retained", "iotDevicePointId": point, "presentValue": 50.0}
        await commanded.command(name, whole, "-r")
        wrong: dict[str, dict[str, Any]] = {
            "expired": {"expiresAt": "2020-01-01T00:00:00Z"},
            "types": {"presentValue": [50.0]},
            "unknown": {"iotDevicePointId": "nobody"},
            "forbidden": {"iotDevicePointId": commanded.points["BINARY_OUTPUT"], "presentValue": 1},
            "range": {"presentValue": 100.5},
            "priority": {"priority": 7},
        }
        for command_id, change in wrong.items():
            await commanded.command(name, {**whole, "commandId": command_id, **change})
        await commanded.command(name, b'{"commandId": "malformed", "presentValue": 5')
        await commanded.command(name, b'{"commandId": "large", "presentValue": "' + b"x" * 1_000_000 + b'"}')
        await commanded.command(name, b'{"commandId": "larger", "presentValue": "' + b"x" * 1_100_000 + b'"}')
        await commanded.set_value("fast")
        for command_id in ("retained", *wrong, "malformed", "large", "larger", "fast"):
            (answer,) = await commanded.answer(command_id)
            assert (answer["success"], answer["state"]) in {(False, "rejected"), (False, "expired")}, answer
            assert answer["message"]
        assert commanded.answers("expired")[0]["state"] == "expired"
        assert "too fast" in commanded.answers("fast")[0]["message"]
        assert commanded.device.writes == []
        await commanded.command("stop_monitoring", {"commandId": "goes-on"})
        await commanded.answer("goes-on", "stop_monitoring")
        assert await commanded.site.stop() == 0


@pytest.mark.system
async def test_a_lease_is_released_after_a_kill_and_with_the_broker_down(tmp_path):
    async with commanded_site(tmp_path) as commanded:
        await commanded.start()
        await commanded.set_value("a", 60.0, priority=9, leaseSeconds=20)
        assert (await commanded.answer("a"))[0]["lease"]["seconds"] == 20
        commanded.kill()
        await commanded.gone()
        await commanded.site.broker.stop()
        await commanded.site.start()
        await commanded.site.until(lambda: len(commanded.device.writes) == 2)
        await commanded.site.broker.start()
        await commanded.set_value("b", 70.0, priority=9, leaseSeconds=3)
        await commanded.answer("b")
        await commanded.site.broker.stop()
        await commanded.site.until(lambda: len(commanded.device.writes) == 4)
        assert [(octets == b"\x00", priority) for octets, priority in commanded.device.writes] == [(False, 9), (True, 9)] * 2
        code, out, _ = await commanded.site.command("commands", "leases")
        assert (code, out) == (0, "")
        assert await commanded.site.stop() == 0


@pytest.mark.system
async def test_reboot_ends_with_a_status_that_asks_for_a_restart_once(tmp_path):
    async with commanded_site(tmp_path) as commanded:
        await commanded.start()
        await commanded.command("reboot", {"commandId": "r"})
        assert await commanded.gone() == 75
        await commanded.site.start()
        await commanded.command("reboot", {"commandId": "r"})
        answers = await commanded.answer("r", "reboot", count=2)
        assert [answer["state"] for answer in answers] == ["done", "duplicate"]
        assert await commanded.site.stop() == 0


@pytest.mark.system
async def test_planted_secrets_are_in_no_log_payload_database_or_error(tmp_path):
    password, token, bystander = (f"planted-{word}-{secrets.token_hex(8)}" for word in ("password", "token", "query"))
    passwords = tmp_path / "passwords"
    made = await asyncio.create_subprocess_exec("mosquitto_passwd", "-b", "-c", str(passwords), "gateway", password)
    assert await made.wait() == 0
    options = ("allow_anonymous false", f"password_file {passwords}")
    settings = {"BMS_MQTT__USERNAME": "gateway", "BMS_MQTT__PASSWORD": password, "BMS_UPLOAD__PATIENCE_SECONDS": "3"}
    async with commanded_site(tmp_path, settings=settings, broker_options=options) as commanded:
        await commanded.start()
        config = {
            "commandId": "refused", "jwtToken": token, "urlToUploadConfig": f"http://127.0.0.1:{free_port()}/c?key={bystander}",
            "iotDeviceControllers": [],
        }  # fmt: skip
        await commanded.command("get_config", config)
        (answer,) = await commanded.answer("refused", "get_config")
        assert (answer["state"], "ConnectError" in answer["message"]) == ("failed", True)
        spoilt: dict[str, dict[str, Any]] = {
            "type": {"jwtToken": [token]},
            "header": {"jwtToken": f"{token}\r\nX: y"},
            "scheme": {"urlToUploadConfig": f"ftp://127.0.0.1/?key={bystander}"},
            "elsewhere": {"urlToUploadConfig": f"http://198.51.100.1/?key={bystander}"},
        }
        for command_id, spoiled in spoilt.items():
            await commanded.command("get_config", {**config, "commandId": command_id, **spoiled})
            assert (await commanded.answer(command_id, "get_config"))[0]["state"] == "rejected"
        await commanded.command("get_config", json.dumps({**config, "commandId": "cut"}).encode()[:-1])
        await commanded.answer("cut", "get_config")
        await commanded.command("get_config", {**config, "commandId": "killed"})
        await commanded.site.until(lambda: '"tries": 1' in commanded.site.log.read_text().partition('"killed"')[2])
        commanded.kill()
        await commanded.gone()
        await commanded.start()
        (killed,) = await commanded.answer("killed", "get_config")
        assert (killed["state"], "interrupted" in killed["message"]) == ("failed", True)
        code, out, err = await commanded.site.command("commands", "list", "--json")
        assert code == 0
        assert await commanded.site.stop() == 0
        places = {"commands list": (out + err).encode(), "payloads": commanded.site.consumer.file.read_bytes()}
        files = [commanded.site.log, *(tmp_path / "data").rglob("*")]
        places |= {str(file): file.read_bytes() for file in files if file.is_file()}
        assert any("bms_bacnet.db" in place for place in places)
        found = [
            (secret, place)
            for place, content in places.items()
            for secret in (password, token, bystander)
            if secret.encode() in content
        ]
        assert found == []
