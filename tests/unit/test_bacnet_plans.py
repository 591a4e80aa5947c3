"""Prepared polls: chunks, and when a plan is used again."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bms_iot.bacnet.network.npdu import Station
from bms_iot.bacnet.polling.convert import references_of
from bms_iot.bacnet.polling.plans import MAX_PLANS_OF_STATION, Plans, prepare
from bms_iot.bacnet.polling.profile import REPLY_HEADER_OCTETS, Profile, estimate
from bms_iot.bacnet.services.reading import PropertyReference, encode_read_property_multiple
from bms_iot.bacnet.values.codec import ObjectId
from bms_iot.domain.points import Device, DeviceAddress, ObjectIdentifier, ObjectType, Point

DEVICE = Device(address=DeviceAddress(host="127.0.0.2"), instance=1, controller_id="controller")
STATION = Station("127.0.0.2", 47808)


def point(place: int, object_type: ObjectType = ObjectType.ANALOG_INPUT, instance: int | None = None) -> Point:
    identifier = ObjectIdentifier(type=object_type, instance=place if instance is None else instance)
    return Point(id=place, device=DEVICE, object=identifier, iot_device_point_id=f"point-{place}")


def analogs(count: int) -> tuple[Point, ...]:
    return tuple(point(place) for place in range(count))


@given(
    st.lists(st.tuples(st.sampled_from(ObjectType), st.integers(0, 0x3FFFFE)), min_size=1, max_size=80, unique=True),
    st.integers(50, 1476),
    st.data(),
)
def test_every_property_is_asked_once_in_chunks_no_larger_than_the_device_answers(objects, budget, data):
    points = tuple(point(place, *identifier) for place, identifier in enumerate(objects))
    profile = Profile(budget=budget)
    asked = [reference for each in points for reference in references_of(each, optional=False)]
    for reference in data.draw(st.sets(st.sampled_from(asked))):
        profile.lacks(reference)
    plan = prepare(points, profile)
    if plan is None:  # an object of its own, of which nothing but the present-value is there, is read by ReadProperty
        assert profile.absent
        return
    assert [reference for chunk in plan.chunks for reference in chunk.references()] == [
        reference for reference in asked if reference not in profile.absent
    ]
    assert [place for chunk in plan.chunks for place in range(chunk.start, chunk.stop)] == list(range(len(points)))
    for chunk in plan.chunks:
        references = chunk.references()
        assert chunk.request == encode_read_property_multiple(references)
        octets, previous = REPLY_HEADER_OCTETS, None
        for reference in references:
            octets += estimate(reference, previous)
            previous = reference.object
        assert octets <= budget


def test_a_full_reply_has_36_analog_objects():
    plan = prepare(analogs(144), Profile())
    assert plan is not None
    assert [chunk.stop - chunk.start for chunk in plan.chunks] == [36] * 4


def test_nothing_is_prepared_where_the_tolerant_way_knows_better():
    assert prepare(analogs(3), Profile(has_rpm=False)) is None
    assert prepare(analogs(3), Profile(budget=30)) is None
    assert prepare((point(1), point(2, instance=1)), Profile()) is None
    assert prepare((point(1, instance=-1),), Profile()) is None
    assert prepare((), Profile()) is None


def test_the_same_points_have_the_same_plan():
    plans, profile, points = Plans(), Profile(), analogs(5)
    plan = plans.of(STATION, points, profile)
    assert plan is not None
    assert plans.of(STATION, points, profile) is plan
    assert plans.of(STATION, list(points), profile) is plan
    assert plans.of(STATION, points[1:], profile) is not plan
    assert plans.of(Station("127.0.0.3", 47808), points, profile) is not plan
    moved = tuple(replace(each, id=each.id + 100) for each in points)
    changed = plans.of(STATION, moved, profile)
    assert changed is not None
    assert changed.point_ids == tuple(each.id for each in moved)


def test_a_plan_is_prepared_anew_when_the_device_turns_out_to_be_different():
    plans, profile, points = Plans(), Profile(), analogs(40)
    first = plans.of(STATION, points, profile)
    profile.shrink(1400)
    smaller = plans.of(STATION, points, profile)
    assert first is not None
    assert smaller is not None
    assert len(smaller.chunks) > len(first.chunks)
    profile.lacks(PropertyReference(ObjectId(0, 0), 103))
    without = plans.of(STATION, points, profile)
    assert without is not None
    assert len(without.chunks[0].references()) % 5 == 4
    profile.has_rpm = False
    assert plans.of(STATION, points, profile) is None


def test_plans_are_bounded():
    plans, profile, points = Plans(), Profile(), analogs(40)
    oldest = plans.of(STATION, points[:3], profile)
    for size in range(4, 4 + MAX_PLANS_OF_STATION):
        plans.of(STATION, points[:size], profile)
    assert plans.of(STATION, points[:3], profile) is not oldest
