"""The gateway's verbs together, over a real database."""

import asyncio
import json
import sqlite3
import zlib
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import insert

from bms_iot.domain.points import DeviceAddress, ObjectIdentifier, ObjectType
from bms_iot.domain.ports import FoundDevice, Message, ObjectList
from bms_iot.domain.readings import Quality, Reading
from bms_iot.errors import BrokerUnavailable, PublishRefused
from bms_iot.gateway.flows import first_failure
from bms_iot.models.outbox import Outbox as OutboxTable
from bms_iot.storage.compact import encode
from bms_iot.storage.database import open_database
from tests.databases import fresh_database, make_database
from tests.integration.gateways import BASE, configured, running_gateway

NOON = datetime(2026, 11, 22, 12, 0)  # noqa: DTZ001 - the tables hold naive UTC
AI, BV = ObjectType.ANALOG_INPUT, ObjectType.BINARY_VALUE


@pytest.fixture
async def database(tmp_path):
    async with fresh_database(tmp_path) as database:
        yield database


def rows(tmp_path, query):
    with closing(sqlite3.connect(tmp_path / "bms_bacnet.db")) as connection:
        return connection.execute(query).fetchall()


def reading(point_id):
    return Reading(point_id=point_id, acquired_at=NOON.replace(tzinfo=UTC), present_value="1", quality=Quality.GOOD)


def request(name, body, *, retain=False):
    return Message(topic=f"{BASE}/command/{name}/request", payload=body, retain=retain, mid=1)


WAITING = (
    "SELECT count(*) FROM outbox WHERE NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.boot = outbox.boot AND d.seq = outbox.seq)"
)


async def test_a_reading_travels_from_the_controller_to_the_broker_and_leaves_the_outbox(tmp_path, database):
    async with running_gateway(database, tmp_path, [configured(7, (AI, 1))]) as running:
        await running.poll_round(1.0)
        await running.until(lambda: bool(running.bulk()))
        await running.until(lambda: running.outbox.messages == 0)
        message = running.bulk()[0]
        assert (message["boot"], message["seq"], message["iot_device_id"]) == (1, 1, "gateway")
        point = message["points"][0]
        assert (point["present_value"], point["value"], point["quality"]) == ("21.7", 21.7, "good")
        assert point["iot_device_point_id"] == rows(tmp_path, "SELECT iot_device_point_id FROM controller_points")[0][0]
        assert point["high_limit"] == 30.0
        await running.outbox.settle()
        assert rows(tmp_path, "SELECT boot, seq, state FROM deliveries") == [(1, 1, "DELIVERED")]


async def test_optional_properties_are_read_at_first_and_then_rarely(tmp_path, database):
    async with running_gateway(database, tmp_path, [configured(7, (AI, 1))]) as running:
        for _ in range(3):
            await running.poll_round()
        assert [with_optional for _, _, with_optional in running.network.polls][:3] == [True, False, False]


async def test_with_the_broker_away_readings_wait_in_order_and_none_is_lost(tmp_path, database):
    async with running_gateway(database, tmp_path, [configured(7, (AI, 1))], connected=False) as running:
        for _ in range(3):
            await running.poll_round()
        await running.until(lambda: running.outbox.messages >= 3)
        assert running.bulk() == []
        running.broker.come()
        await running.poll_round()
        await running.until(lambda: running.outbox.messages == 0)
        assert [message["seq"] for message in running.bulk()] == list(range(1, len(running.bulk()) + 1))


async def test_a_message_that_was_not_acknowledged_is_sent_again(tmp_path, database):
    async with running_gateway(database, tmp_path, [configured(7, (AI, 1))]) as running:
        running.broker.fail_next["bulk"] = PublishRefused("quota exceeded", reason_code=0x97)
        await running.poll_round(1.0)
        await running.until(lambda: not running.broker.fail_next)
        await running.poll_round(60.0)
        await running.until(lambda: running.outbox.messages == 0)
        seqs = [message["seq"] for message in running.bulk()]
        assert sorted(seqs) == list(range(1, len(seqs) + 1))


async def test_a_silent_device_backs_off_alone_and_its_points_are_reported_bad_once(tmp_path, database):
    async with running_gateway(database, tmp_path, [configured(7, (AI, 1)), configured(8, (AI, 1))]) as running:
        running.network.silent.add(7)
        for _ in range(6):
            await running.poll_round()
        polled = {instance: [time for time, device, _ in running.network.polls if device == instance] for instance in (7, 8)}
        assert len(polled[7]) < len(polled[8])
        await running.until(lambda: running.outbox.messages == 0)
        bad = [p for m in running.bulk() for p in m["points"] if p["quality"] == "bad"]
        assert [(p["controller_device_id"], p["present_value"], p["error_info"]) for p in bad] == [
            ("7", None, {"error_class": "communication", "error_code": "timeout"})
        ]
        running.network.silent.clear()
        for _ in range(5):
            await running.poll_round()
        await running.until(
            lambda: any(p["controller_device_id"] == "7" and p["quality"] == "good" for m in running.bulk() for p in m["points"])
        )


async def test_the_current_image_is_written_behind_and_at_the_stop(tmp_path, database):
    query = "SELECT present_value, high_limit, reliability FROM controller_points"
    async with running_gateway(database, tmp_path, [configured(7, (AI, 1))]) as running:
        await running.poll_round(5.0)
        # Optional properties are there before the first message is: what is sent again after a crash is encoded with them.
        await running.until(lambda: rows(tmp_path, query) == [("21.7", 30.0, "no-fault-detected")])
        running.network.value = lambda _point: "22.5"
        await running.poll_round(20.0)
        assert rows(tmp_path, query) == [("21.7", 30.0, "no-fault-detected")]
    assert rows(tmp_path, query) == [("22.5", 30.0, "no-fault-detected")]


async def test_stop_monitoring_stops_polling_and_survives_a_restart(tmp_path, database):
    devices = [configured(7, (AI, 1))]
    async with running_gateway(database, tmp_path, devices) as running:
        await running.poll_round()
        running.broker.incoming.put_nowait(request("stop_monitoring", b'{"commandId": "s1"}'))
        await running.until(lambda: bool(running.on("command/stop_monitoring/response")))
        answer = running.on("command/stop_monitoring/response")[0]
        assert (answer["success"], answer["commandId"], answer["state"]) == (True, "s1", "done")
        before = len(running.network.polls)
        await running.poll_round(30.0)
        assert len(running.network.polls) == before
    async with running_gateway(database, tmp_path, devices) as running:
        await running.poll_round(30.0)
        assert running.network.polls == []
        running.broker.incoming.put_nowait(request("start_monitoring", b'{"commandId": "s2"}'))
        await running.until(lambda: bool(running.network.polls))
        assert rows(tmp_path, "SELECT monitoring_status FROM iot_device_status") == [("ACTIVE",)]


@pytest.mark.parametrize(
    ("name", "message", "says"),
    [
        ("stop_monitoring", request("stop_monitoring", b'{"commandId": "x"}', retain=True), "retained"),
        ("stop_monitoring", request("stop_monitoring", b"{"), "not JSON"),
        ("set_value_to_point", request("set_value_to_point", b'{"commandId": "x"}'), "iotDevicePointId"),
        ("dance", request("dance", b'{"commandId": "x"}'), "no command"),
    ],
)
async def test_a_bad_command_is_refused_with_a_reason_and_the_gateway_goes_on(tmp_path, database, name, message, says):
    async with running_gateway(database, tmp_path, [configured(7, (AI, 1))]) as running:
        running.broker.incoming.put_nowait(message)
        await running.until(lambda: bool(running.on(f"command/{name}/response")))
        answer = running.on(f"command/{name}/response")[0]
        assert (answer["success"], answer["state"]) == (False, "rejected")
        assert says in answer["message"]
        await running.until(lambda: running.broker.acknowledged == [message])
        await running.poll_round()
        assert running.network.polls


async def test_get_config_discovers_keeps_uploads_and_polls_what_it_found(tmp_path, database, upload_server):
    async with running_gateway(database, tmp_path, []) as running:
        address = DeviceAddress(host="10.0.0.9")
        running.network.found = [FoundDevice(address=address, instance=9, vendor_id=8, max_apdu=1476, segmentation="none")]
        objects = (ObjectIdentifier(type=AI, instance=1), ObjectIdentifier(type=BV, instance=1))
        running.network.objects = {9: ObjectList(objects=objects, other=1, complete=True)}
        running.broker.incoming.put_nowait(
            request("get_config", upload_server.command(controllers=[("10.0.0.9", 9, "c9"), ("10.0.0.8", 8, "c8")]))
        )
        await running.until(lambda: bool(running.on("command/get_config/response")))
        answer = running.on("command/get_config/response")[0]
        assert answer["success"] is True
        assert answer["controllers"]["c9"] == {"success": True, "points": 2, "message": "2 points"}
        assert answer["controllers"]["c8"]["success"] is False
        authorization, body = upload_server.requests[0]
        assert authorization == "Bearer canary-token"
        keys = dict(rows(tmp_path, "SELECT bacnet_object_type, iot_device_point_id FROM controller_points"))
        assert [(o["type"], o["iot_device_point_id"]) for o in body["config"][0]["object_list"]] == [
            ("analogInput", keys["ANALOG_INPUT"]),
            ("binaryValue", keys["BINARY_VALUE"]),
        ]
        await running.poll_round()
        assert {device for _, device, _ in running.network.polls} == {9}
    assert "canary-token" not in (tmp_path / "bms_bacnet.db").read_bytes().decode("latin-1")


async def test_get_config_reports_drift_removes_nothing_and_takes_the_classes_of_the_cloud(tmp_path, database, upload_server):
    known = configured(9, (AI, 1), (AI, 2), host="10.0.0.5", controller="c9")
    async with running_gateway(database, tmp_path, [known]) as running:
        keys = rows(tmp_path, "SELECT point_id, iot_device_point_id FROM controller_points")
        address = DeviceAddress(host="10.0.0.9")
        running.network.found = [FoundDevice(address=address, instance=9, vendor_id=8, max_apdu=1476, segmentation="none")]
        objects = (ObjectIdentifier(type=AI, instance=1), ObjectIdentifier(type=BV, instance=1))
        running.network.objects = {9: ObjectList(objects=objects, other=1, complete=True)}
        body = json.loads(upload_server.command(controllers=[("10.0.0.9", 9, "c9")]))
        body["iotDeviceControllers"][0]["object_list"] = [
            {"type": "binaryValue", "point_id": 1, "properties": {"pollingClass": "fast"}},
            {"type": "analogInput", "point_id": 1, "properties": {"pollingClass": "now and then"}},
            {"type": "loop", "point_id": 1, "properties": {"pollingClass": "fast"}},
        ]
        running.broker.incoming.put_nowait(request("get_config", json.dumps(body).encode()))
        await running.until(lambda: bool(running.on("command/get_config/response")))
        await running.poll_round(9.0)
        await running.until(lambda: any("drift" in update for update in running.on("status/update")))

        (report,) = [update["drift"] for update in running.on("status/update") if "drift" in update]
        assert report["counts"] == {"moved": 1, "missing": 1, "new": 1}
        assert rows(tmp_path, "SELECT point_id, iot_device_point_id FROM controller_points WHERE id <= 2") == keys
        uploaded = upload_server.requests[0][1]["config"][0]["object_list"]
        assert [(entry["type"], entry["point_id"], entry["properties"].get("pollingClass")) for entry in uploaded] == [
            ("analogInput", 1, None), ("analogInput", 2, None), ("binaryValue", 1, "fast"),
        ]  # fmt: skip
        fast = [points for points in running.network.read if [str(point.object) for point in points] == ["binaryValue:1"]]
        assert len(fast) >= 3
    async with running_gateway(database, tmp_path, []) as running:
        await running.poll_round(3.0)
        assert [str(point.object) for point in running.network.read[-1]] == ["binaryValue:1"]


async def test_get_config_refuses_a_plain_http_url_to_another_machine(tmp_path, database):
    async with running_gateway(database, tmp_path, []) as running:
        body = b'{"urlToUploadConfig": "http://cloud.example/c", "jwtToken": "t", "iotDeviceControllers": []}'
        running.broker.incoming.put_nowait(request("get_config", body))
        await running.until(lambda: bool(running.on("command/get_config/response")))
        answer = running.on("command/get_config/response")[0]
        assert (answer["state"], "https" in answer["message"]) == ("rejected", True)


async def test_a_controller_that_moved_keeps_its_points(tmp_path, database):
    async with running_gateway(database, tmp_path, [configured(7, (AI, 1), (BV, 1))]) as running:
        before = rows(tmp_path, "SELECT id, iot_device_point_id FROM controller_points ORDER BY id")
        await running.monitor.reconfigure([configured(7, (AI, 1), (BV, 1), host="10.9.9.9")])
        assert rows(tmp_path, "SELECT id, iot_device_point_id FROM controller_points ORDER BY id") == before
        assert rows(tmp_path, "SELECT DISTINCT controller_ip_address FROM controller_points") == [("10.9.9.9",)]


async def test_the_heartbeat_reports_devices_points_and_backlog(tmp_path, database):
    async with running_gateway(database, tmp_path, [configured(7, (AI, 1), (BV, 1)), configured(8, (AI, 1))]) as running:
        running.network.silent.add(8)
        await running.poll_round(40.0)
        await running.until(lambda: len(running.on("status/heartbeat")) >= 2)
        heartbeat = running.on("status/heartbeat")[-1]
        assert (heartbeat["bacnet_devices_connected"], heartbeat["bacnet_points_monitored"]) == (1, 3)
        assert (heartbeat["monitoring_status"], heartbeat["mqtt_connection_status"]) == ("active", "connected")
        assert heartbeat["boot"] == 1


async def test_the_heartbeat_comes_on_its_beat_and_at_once_when_a_status_changes(tmp_path, database):
    async with running_gateway(database, tmp_path, [configured(7, (AI, 1))]) as running:
        await running.poll_round(95.0)
        await running.until(lambda: len(running.on("status/heartbeat")) >= 4)
        moments = [heartbeat["timestamp"] for heartbeat in running.on("status/heartbeat")]
        assert round(moments[-1] - moments[-2]) == 30
        await running.gateway.monitor.stop()
        before = len(running.on("status/heartbeat"))
        await running.poll_round(2.0)
        await running.until(lambda: len(running.on("status/heartbeat")) > before)
        last = running.on("status/heartbeat")[-1]
        assert (last["monitoring_status"], last["bacnet_points_monitored"]) == ("stopped", 0)


async def test_the_poll_lag_is_the_longest_since_the_last_heartbeat_a_poll_under_way_included(tmp_path, database):
    async with running_gateway(database, tmp_path, [configured(7, (AI, 1)), configured(8, (AI, 1))]) as running:
        await running.poll_round(5.0)
        running.network.delays[7] = 8.0
        await running.poll_round(90.0)
        lags = [heartbeat["poll_lag_seconds"] for heartbeat in running.on("status/heartbeat")]
        assert max(lags[-2:]) == pytest.approx(8.5, abs=1.0)
        running.network.delays[7] = 1e6
        await running.poll_round(70.0)
        assert running.on("status/heartbeat")[-1]["poll_lag_seconds"] > 30


async def test_the_retained_status_names_the_controllers_that_do_not_answer(tmp_path, database):
    async with running_gateway(database, tmp_path, [configured(7, (AI, 1)), configured(8, (AI, 1))]) as running:
        await running.gateway.beat.announce_online()
        since = running.on("status/update")[-1]["since"]
        assert running.on("status/update")[-1]["unavailable_controllers"] == []
        running.network.silent.add(8)
        await running.poll_round(25.0)
        silent = [{"controller_id": "controller-8", "controller_device_id": "8"}]
        await running.until(lambda: running.on("status/update")[-1]["unavailable_controllers"] == silent)
        running.network.silent.clear()
        await running.poll_round(45.0)
        await running.until(lambda: running.on("status/update")[-1]["unavailable_controllers"] == [])
        assert {update["since"] for update in running.on("status/update")} == {since}
        assert all(retain for topic, _, retain in running.broker.published if topic.endswith("status/update"))


async def test_a_clean_stop_delivers_what_was_read_and_says_offline(tmp_path, database):
    async with running_gateway(database, tmp_path, [configured(7, (AI, 1))]) as running:
        await running.poll_round(1.0)
    assert rows(tmp_path, WAITING) == [(0,)]
    last = running.on("status/update")[-1]
    assert (last["state"], last["reason"]) == ("offline", "shutdown")


async def test_points_an_upgrade_gave_a_new_id_are_announced_once(tmp_path):
    fixture = Path(__file__).parent.parent / "migration" / "legacy" / "moved_and_shared.sql"
    with closing(sqlite3.connect(tmp_path / "bms_bacnet.db")) as connection:
        connection.executescript(fixture.read_text(encoding="utf-8"))
    async with open_database(make_database(tmp_path)) as database:
        async with running_gateway(database, tmp_path, []) as running:
            await running.gateway.beat.announce_online()
            await running.gateway.beat.announce_online()
        updates = [
            (json.loads(payload), retain) for topic, payload, retain in running.broker.published if topic.endswith("status/update")
        ]
    announced = [update for update, retain in updates if "rekeyed" in update]
    assert len(announced) == 1
    assert len(announced[0]["rekeyed"]) == 5
    assert {entry["old"] for entry in announced[0]["rekeyed"]} == {"b0000000-0000-0000-0000-000000000000"}
    assert [(update["state"], retain) for update, retain in updates] == [
        ("online", False), ("online", True), ("online", True), ("offline", True),
    ]  # fmt: skip


async def test_a_message_that_can_never_be_delivered_is_announced_as_a_gap_and_holds_nothing_up(tmp_path, database):
    async def put(connection):
        for seq, payload in (
            (1, b"garbage"),
            (2, encode([reading(point_id=4711)])),
            (3, zlib.compress(b'{"v":1,"t":1e300,"r":[[[1],0,{}]]}')),
        ):
            row = {"boot": 0, "seq": seq, "readings": 7, "payload": payload, "created_at": NOON, "first_at": NOON, "last_at": NOON}
            await connection.execute(insert(OutboxTable).values(row))

    await database.write(put)
    async with running_gateway(database, tmp_path, [configured(7, (AI, 1))]) as running:
        await running.poll_round(2.0)
        await running.until(lambda: running.outbox.messages == 0 and missing(running) == [1, 2, 3])
    gaps = [message["gap"] for message in running.bulk() if "gap" in message]
    assert {gap["boot"] for gap in gaps} == {0}
    assert sum(gap["readings"] for gap in gaps) == 3 * 7
    assert gaps[0]["first_at"] == "2026-11-22T12:00:00.000Z"


def missing(running):
    """The seqs that gaps named, in order of announcement."""
    gaps = [message["gap"] for message in running.bulk() if "gap" in message]
    return [seq for gap in gaps for seq in range(gap["first_seq"], gap["last_seq"] + 1)]


async def test_a_message_too_large_for_the_broker_is_split_until_it_fits(tmp_path, database):
    async with running_gateway(database, tmp_path, [configured(7, *((AI, number) for number in range(40)))]) as running:
        running.broker.max_bytes = 5_000
        await running.poll_round(3.0)
        await running.until(lambda: running.outbox.messages == 0 and bool(running.bulk()))
        running.broker.max_bytes = None
    assert not [message for message in running.bulk() if "gap" in message]
    seqs = [message["seq"] for message in running.bulk()]
    assert sorted(seqs) == list(range(1, len(seqs) + 1))
    assert sorted(
        p["point_id"]
        for m in running.bulk()
        for p in m["points"]
        if p["acquired_at"] == running.bulk()[0]["points"][0]["acquired_at"]
    ) == list(range(40))


async def test_a_message_too_large_for_the_broker_is_announced_as_a_gap(tmp_path, database):
    async with running_gateway(database, tmp_path, [configured(7, (AI, 1))]) as running:
        running.broker.fail_next["bulk"] = PublishRefused("packet too large", reason_code=0x95)
        await running.poll_round(2.0)
        await running.until(lambda: running.outbox.messages == 0 and bool(running.bulk()))
        assert running.bulk()[0]["gap"]["first_seq"] == 1


async def test_long_texts_make_smaller_messages(tmp_path, database):
    async with running_gateway(database, tmp_path, [configured(7, *((AI, number) for number in range(40)))]) as running:
        running.network.optional = {"event_message_texts": ["x" * 10_000] * 3}
        await running.poll_round(2.0)
        await running.until(lambda: running.outbox.messages == 0 and bool(running.bulk()))
        sizes = [len(payload) for topic, payload, _ in running.broker.published if topic.endswith("/bulk")]
        assert len(sizes) >= 10
        assert max(sizes) <= 131_072


async def test_a_stop_ends_although_the_broker_goes_at_the_same_moment(tmp_path, database):
    async with running_gateway(database, tmp_path, [configured(7, (AI, 1))]) as running:
        await running.poll_round(2.0)
        running.broker.go()
        running.task.cancel()
        done, _ = await asyncio.wait((running.task,), timeout=10)
        assert done


async def test_waiting_for_the_first_failure_does_not_swallow_a_cancellation():
    async def fails_when_cancelled():
        try:
            await asyncio.sleep(60)
        finally:
            raise BrokerUnavailable("gone")

    waiting = asyncio.create_task(first_failure(fails_when_cancelled(), asyncio.sleep(60)))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(waiting, 5)


@pytest.mark.parametrize(
    "url", ["https://host:abc/", "https://999.1.1.1.1/", "http://127.0.0.1:70000/", "https://[v1.x]/", "https://xn--/"]
)
async def test_an_upload_address_that_is_none_is_answered_and_the_gateway_goes_on(tmp_path, database, url):
    async with running_gateway(database, tmp_path, [configured(7, (AI, 1))]) as running:
        body = json.dumps({"urlToUploadConfig": url, "jwtToken": "t", "iotDeviceControllers": [], "commandId": "x"}).encode()
        running.broker.incoming.put_nowait(request("get_config", body))
        await running.until(lambda: bool(running.on("command/get_config/response")))
        assert running.on("command/get_config/response")[0]["success"] is False
        await running.poll_round(2.0)
        assert not running.task.done()


async def test_readers_that_cannot_be_used_leave_those_in_use(tmp_path, database):
    async with running_gateway(database, tmp_path, [configured(7, (AI, 1))]) as running:
        reader = {
            "id": "x",
            "ip_address": "10.9.9.9",
            "subnet_mask": 24,
            "bacnet_device_id": 1,
            "port": 47808,
            "bbmd_enabled": False,
            "is_active": True,
        }
        command = {
            "urlToUploadConfig": "https://cloud.example/",
            "jwtToken": "t",
            "iotDeviceControllers": [],
            "bacnetReaders": [reader, reader],
        }
        running.broker.incoming.put_nowait(request("get_config", json.dumps(command).encode()))
        await running.until(lambda: bool(running.on("command/get_config/response")))
        assert "twice" in running.on("command/get_config/response")[0]["message"]
        assert rows(tmp_path, "SELECT count(*) FROM bacnet_readers") == [(0,)]
