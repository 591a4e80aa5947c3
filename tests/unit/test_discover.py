"""What discovery adds, keeps and never takes away."""

from bms_iot.domain.configuration import ConfiguredDevice, ConfiguredObject
from bms_iot.domain.points import Device, DeviceAddress, ObjectIdentifier, ObjectType
from bms_iot.gateway.discover import Discovered, keep_known_controllers, merge

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


def test_a_whole_object_list_replaces_what_was_known_and_keeps_the_keys():
    merged = merge([device(1, 2, key="k")], [found(device(2, 3))])
    assert instances(merged) == [[2, 3]]
    assert [wanted.iot_device_point_id for wanted in merged[0].objects] == ["k2", None]


def test_a_partial_object_list_never_removes_known_objects():
    assert instances(merge([device(1, 2, key="k")], [found(device(3), complete=False)])) == [[1, 2, 3]]


def test_a_device_that_was_not_discovered_stays():
    assert instances(merge([device(1), device(1, number=8)], [found(device(5))])) == [[5], [1]]


def test_an_empty_discovery_does_not_make_an_empty_device():
    assert merge([], [found(device())]) == []


def test_a_moved_device_takes_its_new_address():
    assert merge([device(1, key="k")], [found(device(1, host="10.0.0.9"))])[0].device.address.host == "10.0.0.9"


def test_a_device_found_by_hand_keeps_the_controller_id_the_cloud_gave_it():
    renamed = keep_known_controllers([found(device(1, controller="made-up"))], [device(1, controller="cloud")])
    assert renamed[0].configured.device.controller_id == "cloud"
