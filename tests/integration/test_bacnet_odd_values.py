"""The odd-value table over real UDP: each value in an object of each type, by both ways of reading, among good ones."""

from collections.abc import Sequence

import pytest

from bms_iot.bacnet.values import names
from bms_iot.domain.points import ObjectType
from bms_iot.domain.readings import OPTIONAL_PROPERTIES, Quality, Reading
from tests.integration.bacnet_responder import (
    Behaviour,
    Objects,
    Request,
    Responder,
    analog,
    enumerated,
    frame,
    polite,
    real,
    unsigned,
)
from tests.integration.ill_manners import network
from tests.odd_values import BROKEN, OPTIONALS, PRESENT_VALUES, Optional, PresentValue

READ_PROPERTY_MULTIPLE = 14
TYPES = tuple(ObjectType)


def without_multiple(device: Responder, request: Request) -> Sequence[bytes]:
    """Reject ReadPropertyMultiple as unrecognized-service."""
    if request.service == READ_PROPERTY_MULTIPLE:
        return [frame(bytes((0x60, request.invoke_id, 9)))]
    return polite(device, request)


BOTH_WAYS = pytest.mark.parametrize("behaviour", [polite, without_multiple], ids=["multiple", "single"])


def among_good_ones(octets: bytes) -> Objects:
    """An object of each type with that present-value, each between two good ones."""
    objects: Objects = {}
    for object_type in TYPES:
        objects[object_type.number, 1] = analog(1.5)
        objects[object_type.number, 2] = {**analog(0.0), 85: octets}
        objects[object_type.number, 3] = analog(3.5)
    return objects


def check(readings: Sequence[Reading], expected: PresentValue) -> None:
    for place, object_type in enumerate(TYPES):
        before, odd, after = readings[3 * place : 3 * place + 3]
        error = odd.error.error_code if odd.error is not None else None
        assert (odd.present_value, odd.quality, error) == (expected.text_of(object_type), expected.quality, expected.error)
        assert (before.present_value, before.quality) == ("1.5", Quality.GOOD)
        assert (after.present_value, after.quality) == ("3.5", Quality.GOOD)
        assert odd.reliability in ("no-fault-detected", None)


def test_the_table_is_as_long_as_promised() -> None:
    cases = [(case.hex, object_type) for case in (*PRESENT_VALUES, *BROKEN) for object_type in TYPES]
    assert len(set(cases)) == len(cases) >= 90 / 2
    assert 2 * len(cases) >= 90
    assert {case.column for case in OPTIONALS} == set(OPTIONAL_PROPERTIES)


@BOTH_WAYS
@pytest.mark.parametrize("case", PRESENT_VALUES, ids=lambda case: case.name)
async def test_an_odd_value_is_a_reading_of_its_own(case: PresentValue, behaviour: Behaviour) -> None:
    async with Responder(among_good_ones(case.octets), behaviour=behaviour) as device, network() as ours:
        for _ in range(3):  # decoded in general, learned, and known
            check(await ours.read_points(device.device, device.points()), case)
        assert ours.counters.malformed == 0
        assert ours.open_transactions == 0


@BOTH_WAYS
@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case.name)
async def test_a_broken_value_costs_its_own_object_and_no_other(case: PresentValue, behaviour: Behaviour) -> None:
    objects = {**among_good_ones(b"\x00"), (2, 2): {**analog(0.0), 85: case.octets}}
    async with Responder(objects, behaviour=behaviour) as device, network() as ours:
        readings = await ours.read_points(device.device, device.points())
        broken = [reading for reading in readings if reading.error is not None and reading.error.error_code == case.error]
        assert [device.points()[reading.point_id].object.type for reading in broken] == [ObjectType.ANALOG_VALUE]
        good = [reading for reading in readings if reading.quality is Quality.GOOD]
        assert len(good) == 2 * len(TYPES)
        assert ours.counters.malformed > 0
        assert ours.open_transactions == 0


@BOTH_WAYS
@pytest.mark.parametrize("case", OPTIONALS, ids=lambda case: f"{case.column} {case.hex}")
async def test_an_odd_optional_property_is_what_its_column_holds_and_spoils_no_other(case: Optional, behaviour: Behaviour) -> None:
    # Time-delay stands beside it, unless it is what is odd.
    beside = 17 if case.number == 113 else 113
    objects: Objects = {(case.type.number, 1): {**analog(1.5), beside: unsigned(9), case.number: case.octets}}
    async with Responder(objects, behaviour=behaviour) as device, network() as ours:
        (reading,) = await ours.read_points(device.device, device.points(), optional=True)
        assert reading.optional is not None
        neighbour = {"notification_class" if beside == 17 else "time_delay": 9}
        expected = {} if case.value is None else {case.column: case.value}
        assert dict(reading.optional) == {**neighbour, **expected}
        assert type(reading.optional.get(case.column)) is type(case.value)
        assert reading.present_value == "1.5"


async def test_an_event_state_and_a_reliability_of_0_are_values_and_the_vendors_are_numbers() -> None:
    objects: Objects = {(2, 1): analog(1.5), (2, 2): {**analog(1.5), 36: b"\x92\x03\xe8", 103: b"\x91\x40"}}
    async with Responder(objects) as device, network() as ours:
        known, vendors = await ours.read_points(device.device, device.points())
    assert (known.event_state, known.reliability) == ("normal", "no-fault-detected")
    assert (vendors.event_state, vendors.reliability, vendors.quality) == ("1000", "64", Quality.UNCERTAIN)


@BOTH_WAYS
@pytest.mark.parametrize("length", range(5, 150, 3))
async def test_a_value_that_swallows_its_neighbours_puts_none_of_theirs_under_its_own_point(
    length: int, behaviour: Behaviour
) -> None:
    swallowing = b"\x45" + bytes((length,)) + b"\x41\xad\x99\x9a"
    objects: Objects = {
        (2, n): {85: real(float(n)), 111: b"\x82\x04\x00", 36: enumerated(n), 81: b"\x10", 103: enumerated(n)} for n in range(1, 9)
    }
    objects[2, 4][85] = swallowing
    async with Responder(objects, behaviour=behaviour) as device, network() as ours:
        readings = await ours.read_points(device.device, device.points())
    for n, reading in enumerate(readings, start=1):
        assert reading.present_value == (None if n == 4 else str(n)), reading
        assert reading.event_state in (None, names.name_of(names.EVENT_STATES, n)), reading
        assert reading.reliability in (None, names.name_of(names.RELIABILITIES, n)), reading


async def test_an_object_that_is_two_points_is_asked_for_once_and_read_for_both() -> None:
    async with Responder({(2, 1): analog(1.5), (2, 2): analog(2.5)}) as device, network() as ours:
        first, second = device.points()
        readings = await ours.read_points(device.device, [first, second, first])
        assert [reading.present_value for reading in readings] == ["1.5", "2.5", "1.5"]
        assert sum(len(request.asked) for request in device.requests) == 2 * 5
