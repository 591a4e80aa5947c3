"""Commands from the cloud: good ones are typed, everything else is refused with a reason, and nothing else ever happens."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms_iot.domain.commands import CommandName, GetConfig, StartMonitoring, StopMonitoring
from bms_iot.domain.configuration import Reader
from bms_iot.domain.points import Device, DeviceAddress
from bms_iot.errors import CommandRejected
from bms_iot.mqtt.payload import decode_command

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


@pytest.mark.parametrize("name", ["set_value_to_point", "reboot", "resend"])
def test_a_command_of_a_later_release_is_answered_as_such(name):
    refusal = rejection(name, {"commandId": "c-3"})
    assert str(refusal) == f"{name} is not available in this release"
    assert refusal.command_id == "c-3"


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
                st.sampled_from([*GET_CONFIG, "bacnetReaders", "id", "ipAddress", "port"]) | st.text(max_size=5), inner
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
    assert isinstance(outcome, GetConfig | StartMonitoring | StopMonitoring) or str(outcome)
