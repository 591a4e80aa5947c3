"""What discovery adds, keeps and never takes away."""

import pytest

from bms_iot.domain.configuration import ConfiguredDevice, ConfiguredObject
from bms_iot.domain.points import Device, DeviceAddress, ObjectIdentifier, ObjectType
from bms_iot.gateway.discover import Discovered, claim, merge

AI = ObjectType.ANALOG_INPUT


def device(
    *instances: int, controller: str = "c", host: str = "10.0.0.1", key: str | None = None, number: int = 7
) -> ConfiguredDevice:
    return ConfiguredDevice(
        device=Device(address=DeviceAddress(host=host), instance=number, controller_id=controller),
        objects=tuple(
            ConfiguredObject(
                object=ObjectIdentifier(type=AI, instance=instance), iot_device_point_id=key and f"{key}{instance}", properties={}
            )
            for instance in instances
        ),
    )


def found(configured: ConfiguredDevice, *, complete: bool = True) -> Discovered:
    return Discovered(configured=configured, complete=complete, other_objects=0)


def instances(devices: list[ConfiguredDevice]) -> list[list[int]]:
    return [[wanted.object.instance for wanted in configured.objects] for configured in devices]


@pytest.mark.parametrize("complete", [True, False])
def test_what_is_known_stays_and_keeps_its_keys(complete):
    merged = merge([device(1, 2, key="k")], [found(device(2, 3), complete=complete)])
    assert instances(merged) == [[1, 2, 3]]
    assert [wanted.iot_device_point_id for wanted in merged[0].objects] == ["k1", "k2", None]


def test_a_device_that_was_not_discovered_stays():
    assert instances(merge([device(1), device(1, number=8)], [found(device(5))])) == [[1, 5], [1]]


def test_an_empty_discovery_does_not_make_an_empty_device():
    assert merge([], [found(device())]) == []


def test_a_moved_device_takes_its_new_address():
    assert merge([device(1, key="k")], [found(device(1, host="10.0.0.9"))])[0].device.address.host == "10.0.0.9"


def test_a_device_found_by_hand_keeps_the_controller_id_the_cloud_gave_it():
    known = [device(1, controller="cloud")]
    for host in ("10.0.0.1", "10.0.0.9"):
        (renamed,), refused = claim([found(device(1, controller="made-up", host=host))], known)
        assert renamed.configured.device.controller_id == "cloud"
        assert refused == []


def test_a_second_device_of_a_known_instance_is_refused():
    home, other = found(device(1, controller="new")), found(device(1, controller="new", host="10.0.0.9"))
    claimed, refused = claim([home, other], [device(1, controller="cloud")])
    assert [one.configured.device.controller_id for one in claimed] == ["cloud"]
    assert refused == [other]


def test_new_devices_of_one_instance_get_controller_ids_of_their_own():
    found_by_hand = [found(device(1, controller="new")), found(device(1, controller="new", host="10.0.0.9"))]
    claimed, refused = claim(found_by_hand, [])
    assert len({one.configured.device.controller_id for one in claimed} | {"new"}) == 3
    assert refused == []
    assert len(merge([], claimed)) == 2
