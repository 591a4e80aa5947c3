"""Commands from the cloud: good ones are typed, everything else is refused with a reason, and nothing else ever happens."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms_iot.domain.commands import (
    Command,
    CommandName,
    GetConfig,
    Reboot,
    Resend,
    SetValue,
    StartMonitoring,
    StopMonitoring,
    without_secrets,
)
from bms_iot.domain.configuration import Reader
from bms_iot.domain.points import Device, DeviceAddress
from bms_iot.errors import CommandRejected
from bms_iot.mqtt.payload import decode_command
from bms_iot.mqtt.requests import command_id_of

TOKEN = "header.planted-secret.signature"
GET_CONFIG: dict[str, Any] = {
    "commandId": "c-1",
    "urlToUploadConfig": "https://cloud.example/config",
    "jwtToken": TOKEN,
    "iotDeviceControllers": [{"ipAddress": "10.20.0.10", "controllerDeviceId": "1200", "id": "controller-1"}],
}


def rejection(name: str, payload: object) -> CommandRejected:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    with pytest.raises(CommandRejected) as caught:
        decode_command(name, raw)
    return caught.value


def test_get_config_becomes_devices_and_readers():
    reader = {
        "id": "r-1",
        "ip_address": "10.20.0.2",
        "subnet_mask": 24,
        "bacnet_device_id": 9000,
        "port": 47808,
        "bbmd_enabled": True,
        "bbmd_server_ip": "10.20.0.1",
        "is_active": True,
    }
    routed = {"ipAddress": "1001:0A", "controllerDeviceId": 7, "id": "controller-2", "port": 47809}
    body = {
        **GET_CONFIG,
        "iotDeviceControllers": [*GET_CONFIG["iotDeviceControllers"], routed],
        "bacnetReaders": [reader],
        "somethingNewer": 1,
    }
    command = decode_command("get_config", json.dumps(body).encode())
    assert isinstance(command, GetConfig)
    assert (command.command_id, command.upload_url) == ("c-1", "https://cloud.example/config")
    assert command.token.get_secret_value() == TOKEN
    assert command.controllers == (
        Device(address=DeviceAddress(host="10.20.0.10"), instance=1200, controller_id="controller-1"),
        Device(address=DeviceAddress(host="1001:0a", port=47809), instance=7, controller_id="controller-2"),
    )
    assert command.readers == (Reader(id="r-1", host="10.20.0.2", device_instance=9000, bbmd="10.20.0.1"),)


def test_get_config_may_come_without_id_and_without_readers():
    body = {key: value for key, value in GET_CONFIG.items() if key != "commandId"}
    command = decode_command("get_config", json.dumps(body).encode())
    assert isinstance(command, GetConfig)
    assert command.command_id is None
    assert command.readers is None


def test_monitoring_commands_ignore_what_older_clouds_send_beside_the_id():
    raw = json.dumps({"commandId": "c-2", "commandType": "x", "presentValue": 3}).encode()
    assert decode_command("start_monitoring", raw) == StartMonitoring(command_id="c-2")
    assert decode_command("stop_monitoring", raw) == StopMonitoring(command_id="c-2")


def test_the_token_shows_in_no_repr_and_in_no_refusal():
    command = decode_command("get_config", json.dumps(GET_CONFIG).encode())
    assert "planted-secret" not in repr(command)
    for spoiled in (
        {"urlToUploadConfig": 3},
        {"iotDeviceControllers": TOKEN},
        {"jwtToken": f"{TOKEN}\r\nX: y"},
        {"jwtToken": [TOKEN]},
    ):
        assert "planted-secret" not in str(rejection("get_config", {**GET_CONFIG, **spoiled}))


SET_VALUE: dict[str, Any] = {
    "commandId": "c-3", "iotDevicePointId": "p-1", "controllerId": "k-1", "pointInstanceId": 7, "presentValue": 21.5,
    "stateText": "warm", "commandType": "set", "priority": 9, "expiresAt": "2026-11-22T09:00:00.5+01:00", "leaseSeconds": 20,
}  # fmt: skip


def test_a_value_to_set_is_typed_whole():
    assert decode_command("set_value_to_point", json.dumps(SET_VALUE).encode()) == SetValue(
        command_id="c-3",
        iot_device_point_id="p-1",
        controller_id="k-1",
        instance=7,
        value=21.5,
        state_text="warm",
        priority=9,
        expires_at=datetime(2026, 11, 22, 8, 0, 0, 500_000, tzinfo=UTC),
        lease_seconds=20.0,
    )


@pytest.mark.parametrize(
    "body", [{"presentValue": None}, {"release": True}, {"release": True, "presentValue": 3, "leaseSeconds": 5}]
)
def test_null_and_release_relinquish_and_need_no_lease(body):
    raw = json.dumps({"commandId": "c", "iotDevicePointId": "p", **body}).encode()
    assert decode_command("set_value_to_point", raw) == SetValue(command_id="c", iot_device_point_id="p", value=None)


@pytest.mark.parametrize("value", [True, False, 3, 2.5, "active", "3"])
def test_a_value_keeps_the_type_json_gave_it(value):
    raw = json.dumps({"commandId": "c", "iotDevicePointId": "p", "presentValue": value}).encode()
    command = decode_command("set_value_to_point", raw)
    assert isinstance(command, SetValue)
    assert (command.value, type(command.value)) == (value, type(value))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"presentValue": [1]}, "presentValue"),
        ({"presentValue": {"value": 1}}, "presentValue"),
        ({"presentValue": "x" * 201}, "presentValue"),
        ({"iotDevicePointId": 7}, "iotDevicePointId"),
        ({"iotDevicePointId": ""}, "iotDevicePointId"),
        ({"controllerId": 7}, "controllerId"),
        ({"pointInstanceId": "x"}, "pointInstanceId"),
        ({"pointInstanceId": -1}, "pointInstanceId"),
        ({"priority": 0}, "priority"),
        ({"priority": 17}, "priority"),
        ({"priority": "8"}, "priority"),
        ({"priority": True}, "priority"),
        ({"priority": 8.5}, "priority"),
        ({"release": "yes"}, "release"),
        ({"expiresAt": "soon"}, "expiresAt"),
        ({"expiresAt": "2026-11-22T09:00:00"}, "expiresAt"),
        ({"expiresAt": 1795334400}, "expiresAt"),
        ({"expiresAt": "0001-01-01T00:00:00+23:00"}, "expiresAt"),
        ({"leaseSeconds": 0}, "leaseSeconds"),
        ({"leaseSeconds": -1}, "leaseSeconds"),
        ({"leaseSeconds": "20"}, "leaseSeconds"),
        ({"leaseSeconds": 31 * 86_400}, "leaseSeconds"),
        ({"stateText": 5}, "stateText"),
    ],
)
def test_a_wrong_value_to_set_is_refused_by_the_key_that_is_wrong(change, word):
    refusal = rejection("set_value_to_point", {**SET_VALUE, **change})
    assert word in str(refusal)
    assert refusal.command_id == "c-3"


def test_a_value_to_set_without_a_value_is_refused():
    refusal = rejection("set_value_to_point", {"commandId": "c", "iotDevicePointId": "p", "stateText": "High"})
    assert "presentValue or release must be there" in str(refusal)


def test_reboot_and_resend_are_typed():
    assert decode_command("reboot", b'{"commandId": "r"}') == Reboot(command_id="r")
    raw = b'{"commandId": "s", "boot": 12, "first_seq": 3, "last_seq": 9}'
    assert decode_command("resend", raw) == Resend(command_id="s", boot=12, first_seq=3, last_seq=9)


@pytest.mark.parametrize("change", [{"boot": "12"}, {"first_seq": -1}, {"last_seq": 2}, {"first_seq": None}, {"boot": 2**63}])
def test_a_wrong_resend_is_refused(change):
    assert rejection("resend", {"commandId": "s", "boot": 12, "first_seq": 3, "last_seq": 9, **change}).command_id == "s"


def test_an_id_that_no_database_takes_is_no_id():
    refusal = rejection("reboot", b'{"commandId": "a\\ud800"}')
    assert "commandId" in str(refusal)
    assert refusal.command_id is None


def test_the_id_of_a_command_nobody_looks_at_can_be_read():
    assert command_id_of(b'{"commandId": "x"}') == "x"
    assert command_id_of(b'{"commandId": "x", ...') == "x"
    assert command_id_of(b"...") is None


def test_what_the_journal_keeps_of_a_command_has_no_secret():
    kept = json.dumps(without_secrets(decode_command("get_config", json.dumps(GET_CONFIG).encode())))
    assert "planted-secret" not in kept
    assert "cloud.example" in kept


def test_an_unknown_command_is_refused_by_name_with_its_id():
    refusal = rejection("make_coffee", {"commandId": "c-4"})
    assert "make_coffee" in str(refusal)
    assert refusal.command_id == "c-4"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"urlToUploadConfig": "ftp://cloud.example/"}, "urlToUploadConfig"),
        ({"urlToUploadConfig": "https:///nowhere"}, "urlToUploadConfig"),
        ({"urlToUploadConfig": "https://user:pw@cloud.example/"}, "urlToUploadConfig"),
        ({"urlToUploadConfig": "https://cloud.example/ x"}, "urlToUploadConfig"),
        ({"jwtToken": ""}, "jwtToken"),
        ({"jwtToken": "a\r\nb"}, "jwtToken"),
        ({"iotDeviceControllers": {}}, "iotDeviceControllers"),
        ({"iotDeviceControllers": [{"ipAddress": "10.20.0.10", "id": "a"}]}, "iotDeviceControllers.0.controllerDeviceId"),
        ({"iotDeviceControllers": [{"ipAddress": "10.20.0.999", "controllerDeviceId": 1, "id": "a"}]}, "ipAddress"),
        ({"iotDeviceControllers": [{"ipAddress": "65535:01", "controllerDeviceId": 1, "id": "a"}]}, "ipAddress"),
        ({"iotDeviceControllers": [{"ipAddress": "10.0.0.1", "controllerDeviceId": 4194303, "id": "a"}]}, "controllerDeviceId"),
        ({"iotDeviceControllers": [{"ipAddress": "10.0.0.1", "controllerDeviceId": 1.5, "id": "a"}]}, "controllerDeviceId"),
        ({"iotDeviceControllers": [{"ipAddress": "10.0.0.1", "controllerDeviceId": True, "id": "a"}]}, "controllerDeviceId"),
        ({"iotDeviceControllers": [{"ipAddress": "10.0.0.1", "controllerDeviceId": 1, "id": "a", "port": 0}]}, "port"),
        ({"bacnetReaders": [{"id": "r", "ip_address": "10.0.0.1", "bacnet_device_id": 1, "bbmd_enabled": True}]}, "bbmd_server_ip"),
    ],
)
def test_a_wrong_get_config_is_refused_by_the_key_that_is_wrong(change, word):
    refusal = rejection("get_config", {**GET_CONFIG, **change})
    assert word in str(refusal)
    assert refusal.command_id == "c-1"


@pytest.mark.parametrize(
    ("raw", "word", "command_id"),
    [
        (b"", "not JSON", None),
        (b"\xff\xfe", "UTF-8", None),
        (b"[]", "object", None),
        (b"null", "object", None),
        (b'{"commandId": "c-5", "presentValue": NaN}', "NaN", "c-5"),
        (b'{"commandId": "c-5", ', "not JSON", "c-5"),
        (b'{"commandId": "c-5", "x": "\xff"}', "UTF-8", "c-5"),
        (b"[" * 100_000, "nested", None),
        (b'{"commandId": ' + b"9" * 10_000 + b"}", "not JSON", None),
        (b'{"commandId": 7}', "commandId", None),
        (b'{"commandId": ""}', "commandId", None),
        (b"{}", "commandId", None),
        (b'{"commandId": "c-5", "x": "' + b"y" * 300_000 + b'"}', "bytes", "c-5"),
    ],
)
def test_what_is_no_command_is_refused_and_answered_where_it_can_be(raw, word, command_id):
    refusal = rejection("start_monitoring", raw)
    assert word in str(refusal)
    assert refusal.command_id == command_id
    assert len(str(refusal)) < 500


@given(
    st.sampled_from([name.value for name in CommandName]) | st.text(max_size=30),
    st.binary(max_size=300)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(
                    [*GET_CONFIG, *SET_VALUE, "bacnetReaders", "id", "ipAddress", "port", "boot", "first_seq", "last_seq"]
                )
                | st.text(max_size=5),
                inner,
            )
        ),
        max_leaves=12,
    ).map(lambda document: json.dumps(document).encode()),
)
def test_anything_at_all_is_a_command_or_a_refusal(name, raw):
    try:
        outcome: object = decode_command(name, raw)
    except CommandRejected as refusal:
        outcome = refusal
    assert isinstance(outcome, Command) or str(outcome)
