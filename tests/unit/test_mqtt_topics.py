"""The topic tree: what consumers in the field subscribe to, letter by letter."""

import pytest

from bms_iot.mqtt.topics import Topics

TOPICS = Topics(organization_id="org_1", site_id="site-2", iot_device_id="device-3")
BASE = "iot/global/org_1/site-2/device-3"


def test_the_topics_are_those_consumers_subscribe_to():
    assert TOPICS.bulk == f"{BASE}/bulk"
    assert TOPICS.status_update == f"{BASE}/status/update"
    assert TOPICS.heartbeat == f"{BASE}/status/heartbeat"
    assert TOPICS.command_request("get_config") == f"{BASE}/command/get_config/request"
    assert TOPICS.command_response("get_config") == f"{BASE}/command/get_config/response"
    assert TOPICS.subscriptions == (f"{BASE}/command/+/request",)


def test_a_request_topic_gives_its_command_back():
    for name in ("get_config", "reboot", "something_new"):
        assert TOPICS.command_name(TOPICS.command_request(name)) == name


@pytest.mark.parametrize(
    "topic",
    [
        f"{BASE}/command/get_config/response",
        f"{BASE}/command//request",
        f"{BASE}/command/request",
        f"{BASE}/command/a/b/request",
        f"{BASE}/bulk",
        "iot/global/org_1/site-2/another/command/get_config/request",
        "",
    ],
)
def test_any_other_topic_is_no_command(topic):
    assert TOPICS.command_name(topic) is None


@pytest.mark.parametrize("level", ["", "  ", "a/b", "+", "a#", "a\x00b", "a\nb"])
@pytest.mark.parametrize("field", ["organization_id", "site_id", "iot_device_id"])
def test_an_id_that_would_change_the_tree_is_refused_by_name(field, level):
    ids = {"organization_id": "org_1", "site_id": "s", "iot_device_id": "d", field: level}
    with pytest.raises(ValueError, match=field):
        Topics(**ids)
