"""Who chooses how often a point is read."""

import pytest

from bms_iot.domain.classes import (
    Choice,
    Chooser,
    ClassRule,
    PointPattern,
    PollingClass,
    by_class,
    choose,
    class_of_cloud,
    spellings,
)
from bms_iot.domain.points import Device, DeviceAddress, ObjectIdentifier, ObjectType, Point

FAST, NORMAL, SLOW = PollingClass


def point(number: int = 1, object_type: ObjectType = ObjectType.ANALOG_INPUT, device: int = 1200) -> Point:
    return Point(
        id=number,
        device=Device(address=DeviceAddress(host="10.0.0.5"), instance=device, controller_id="ahu-north"),
        object=ObjectIdentifier(type=object_type, instance=number),
        iot_device_point_id=f"key-{number}",
    )


def chosen(properties=None, on_site=None, rules=()):
    return choose(point(), properties or {}, on_site=on_site or {}, rules=[ClassRule.parse(rule) for rule in rules])


def test_what_was_set_on_site_outweighs_the_cloud_and_the_cloud_the_settings():
    on_site, cloud, rules = {"key-1": SLOW}, {"pollingClass": "fast", "objectName": "Supply"}, ["normal 1200"]
    assert chosen(cloud, on_site, rules) == Choice(polling_class=SLOW, by=Chooser.SITE)
    assert chosen(cloud, {}, rules) == Choice(polling_class=FAST, by=Chooser.CLOUD)
    assert chosen({}, {}, rules) == Choice(polling_class=NORMAL, by=Chooser.SETTINGS)
    assert chosen() == Choice(polling_class=NORMAL, by=Chooser.NOBODY)


def test_the_first_rule_that_fits_counts():
    assert chosen(rules=["slow 1201", "fast */analog-*", "slow *"]).polling_class is FAST


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("1200", True),
        ("12*", True),
        ("1201", False),
        ("AHU-*", True),
        ("*/AI", True),
        ("*/analogInput", True),
        ("*/analog-input", True),
        ("*/analog-value", False),
        ("*/*/supply*", True),
        ("*/*/*temp [12]", True),
        ("*/*/return*", False),
        ("1200/ai/Supply/air temp 1", False),
    ],
)
def test_a_pattern_fits_device_type_and_name_in_any_spelling(pattern, fits):
    assert PointPattern.parse(pattern).fits(point(), "Supply temp 1") is fits


def test_a_name_pattern_fits_no_point_without_a_name():
    assert PointPattern.parse("1200/*/*").fits(point(), None)
    assert not PointPattern.parse("1200/*/?*").fits(point(), None)


@pytest.mark.parametrize("text", ["", "/", "1200/", "1200//x", "*/loop", "*/analogInputs"])
def test_what_is_no_pattern_is_refused(text):
    with pytest.raises(ValueError, match=r"pattern|no object type"):
        PointPattern.parse(text)


@pytest.mark.parametrize("text", ["quick 1200", "fast", "1200 fast"])
def test_what_is_no_rule_is_refused(text):
    with pytest.raises(ValueError, match=r"polling class|pattern"):
        ClassRule.parse(text)


def test_every_object_type_has_spellings_of_its_own():
    every = [spelling.lower() for known in ObjectType for spelling in set(spellings(known))]
    assert len(every) == len(set(every))


def test_a_class_the_cloud_made_up_later_is_none():
    assert class_of_cloud({"pollingClass": "hourly"}) is None
    assert class_of_cloud({"pollingClass": ["fast"]}) is None


def test_points_that_the_device_reports_by_itself_are_slow_whatever_was_chosen():
    points = [point(1), point(2), point(3)]
    groups = by_class(points, {1: FAST, 2: FAST}, reported={2})
    assert groups == {FAST: (points[0],), NORMAL: (points[2],), SLOW: (points[1],)}
