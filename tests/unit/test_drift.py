"""What is different on the network from what is known."""

import json

from bms_iot.domain.configuration import ConfiguredDevice, ConfiguredObject
from bms_iot.domain.drift import DriftKind, Presence, SeenDevice, compare, whereabouts
from bms_iot.domain.points import Device, DeviceAddress, ObjectIdentifier, ObjectType

AI, AV = ObjectType.ANALOG_INPUT, ObjectType.ANALOG_VALUE


def address(host: str) -> DeviceAddress:
    return DeviceAddress(host=host)


def known(
    instance: int, host: str, *, vendor: int | None = 8, key: str = "", controller: str = "", **names: str
) -> ConfiguredDevice:
    """A device whose analog inputs 1, 2 … have these names (`ai1="Supply"`)."""
    return ConfiguredDevice(
        device=Device(
            address=address(host), instance=instance, controller_id=controller or f"controller-{instance}", vendor_id=vendor
        ),
        objects=tuple(
            ConfiguredObject(
                object=ObjectIdentifier(type=AI, instance=int(number[2:])),
                iot_device_point_id=key or f"{controller}{instance}-{number}",
                properties={"objectName": name} if name else {},
            )
            for number, name in names.items()
        ),
    )


def at(instance: int, host: str, vendor: int | None = 8) -> Presence:
    return Presence(instance=instance, address=address(host), vendor_id=vendor)


def seen(instance: int, host: str, names: dict[str, str | None], *, complete: bool = True) -> SeenDevice:
    """`names` by `ai1`, `av1` …"""
    return SeenDevice(
        device=Device(address=address(host), instance=instance, controller_id="?"),
        names={ObjectIdentifier(type=AI if n[:2] == "ai" else AV, instance=int(n[2:])): name for n, name in names.items()},
        is_complete=complete,
    )


def found(devices, present=(), objects=()):
    return [
        (drift.kind.value, drift.device_instance, drift.object and str(drift.object), drift.was, drift.now)
        for drift in compare(devices, present, objects).drifts
    ]


def test_a_network_as_it_is_known_has_no_drift():
    report = compare([known(7, "a", ai1="Supply")], [at(7, "a")], [seen(7, "a", {"ai1": "Supply"})])
    assert not report
    assert report.devices == 1


def test_new_missing_and_renamed_objects_are_told_apart():
    devices = [known(7, "a", ai1="Supply", ai2="Return", ai3="")]
    assert found(devices, [at(7, "a")], [seen(7, "a", {"ai1": "Supply air", "ai3": "Mixed", "ai4": None})]) == [
        ("missing", 7, "analogInput:2", "Return", None),
        ("new", 7, "analogInput:4", None, None),
        ("renamed", 7, "analogInput:1", "Supply", "Supply air"),
    ]


def test_an_object_list_read_in_part_makes_nothing_missing():
    assert found([known(7, "a", ai1="x", ai2="y")], [at(7, "a")], [seen(7, "a", {"ai1": "x"}, complete=False)]) == []


def test_an_object_that_comes_back_under_its_name_as_another_type_has_changed_its_type():
    assert found([known(7, "a", ai1="Setpoint")], [at(7, "a")], [seen(7, "a", {"av1": "Setpoint"})]) == [
        ("type-changed", 7, "analogInput:1", "analogInput:1", "analogValue:1")
    ]


def test_a_device_that_answers_elsewhere_and_not_at_home_has_moved():
    moved = found([known(7, "a", ai1="x")], [at(7, "b")], [seen(7, "b", {"ai1": "x", "ai2": "y"})])
    assert moved == [("moved", 7, None, "a", "b"), ("new", 7, "analogInput:2", None, "y")]


def test_two_devices_that_changed_places_have_both_moved():
    assert found([known(7, "a"), known(8, "b")], [at(7, "b"), at(8, "a")]) == [
        ("moved", 7, None, "a", "b"),
        ("moved", 8, None, "b", "a"),
    ]


def test_one_instance_at_two_addresses_is_a_conflict_and_nobody_has_moved():
    assert found([known(7, "a")], [at(7, "a"), at(7, "b")]) == [("id-conflict", 7, None, "a", "b")]
    assert found([known(7, "a")], [at(7, "b"), at(7, "c")]) == [
        ("id-conflict", 7, None, "a", "b"),
        ("id-conflict", 7, None, "a", "c"),
        ("missing", 7, None, "a", None),
    ]


def test_another_vendor_is_no_device_that_moved():
    assert found([known(7, "a", vendor=8)], [at(7, "b", vendor=9)]) == [
        ("id-conflict", 7, None, "a", "b"),
        ("missing", 7, None, "a", None),
    ]
    assert found([known(7, "a", vendor=None)], [at(7, "b", vendor=9)]) == [("moved", 7, None, "a", "b")]


def test_another_device_at_a_known_address_is_a_conflict():
    assert found([known(7, "a")], [at(9, "a")]) == [
        ("missing", 7, None, "a", None),
        ("id-conflict", 7, None, "device 7", "device 9"),
        ("new", 9, None, None, "a"),
    ]


def test_two_known_devices_of_one_instance_are_each_at_home_and_a_fault_of_the_site():
    devices = [known(7, "a", controller="north"), known(7, "b", controller="south")]
    assert found(devices, [at(7, "a"), at(7, "b")]) == [
        ("id-conflict", 7, None, "controller north at a", "controller south at b"),
    ]
    assert whereabouts(devices[0].device, devices, [at(7, "c")]).address is None


def test_a_device_that_answered_twice_at_one_address_is_one():
    assert found([], [at(9, "a"), at(9, "a", vendor=None)]) == [("new", 9, None, None, "a")]


def test_points_that_share_an_id_are_a_conflict():
    assert found([known(7, "a", key="k", ai1="", ai2="")], [at(7, "a")]) == [
        ("id-conflict", 7, "analogInput:2", "k of 7/analogInput:1", "k of 7/analogInput:2")
    ]


def test_strangers_are_new_and_those_of_one_instance_are_in_conflict():
    assert found([], [at(9, "a"), at(9, "b")]) == [
        ("new", 9, None, None, "a"),
        ("id-conflict", 9, None, "a", "b"),
        ("new", 9, None, None, "b"),
        ("id-conflict", 9, None, "b", "a"),
    ]


def test_the_json_form_is_cut_and_its_counts_are_not():
    report = compare([known(7, "a"), known(8, "b")], [], [])
    assert json.loads(json.dumps(report.as_json(at_most=1))) == {
        "devices": 2,
        "counts": {"missing": 2},
        "drift": [{"kind": "missing", "device_instance": 7, "address": "a", "was": "a"}],
    }
    assert report.drifts[0].kind is DriftKind.MISSING
