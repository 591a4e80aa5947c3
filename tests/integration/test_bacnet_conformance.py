"""One suite for devices of three stacks: values, errors, segmentation, changes of value, writes and broadcasts."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from bms_iot.bacnet import BacnetNetwork
from bms_iot.domain.points import ObjectIdentifier, ObjectType, Point
from bms_iot.domain.readings import Quality, Reading, ReadingError
from bms_iot.domain.subscriptions import Coverage, CovTerms
from bms_iot.domain.writing import PointWrite, WriteState, WrittenValue
from tests.integration.bacnet_responder import SystemClock, free_port
from tests.integration.bacnet_stacks import BROADCAST, INSTANCE, MANY, NAMES, STACKS, TEXTS, Serve, Stack

AI, AO, AV, BI, BO, BV, MI, MO, MV = ObjectType
PATIENCE_SECONDS = 8.0


@pytest_asyncio.fixture(params=STACKS, ids=lambda serve: serve.__name__)
async def stack(request: pytest.FixtureRequest) -> AsyncIterator[Stack]:
    serve: Serve = request.param
    async with serve() as served:
        yield served


@pytest_asyncio.fixture
async def network(stack: Stack) -> AsyncIterator[BacnetNetwork]:
    """Ours, on a port of its own; broadcasts go to the port of the device."""
    async with BacnetNetwork(
        host="127.0.0.1",
        port=free_port(),
        broadcast=BROADCAST,
        broadcast_port=stack.device.address.port,
        timeout_seconds=1.0,
        tries=2,
        clock=SystemClock(),
    ) as opened:
        yield opened
        assert opened.open_transactions == 0


async def test_the_nine_types_have_their_values(stack: Stack, network: BacnetNetwork) -> None:
    for _ in range(3):  # decoded in general, learned, and known
        readings = await network.read_points(stack.device, stack.points())
        assert tuple(reading.present_value for reading in readings) == TEXTS
        assert {reading.quality for reading in readings} == {Quality.GOOD}
        assert {(reading.event_state, reading.out_of_service) for reading in readings} == {("normal", False)}


async def test_optional_properties_have_the_shape_of_their_columns(stack: Stack, network: BacnetNetwork) -> None:
    readings = await network.read_points(stack.device, stack.points(), optional=True)
    for reading, object_type in zip(readings, ObjectType, strict=True):
        assert reading.optional is not None
        if object_type in (AO, BO, MO):
            array = reading.optional["priority_array"]
            assert isinstance(array, list)
            assert len(array) == 16


async def test_names_and_units_are_told(stack: Stack, network: BacnetNetwork) -> None:
    described = await network.describe_objects(stack.device, [point.object for point in stack.points()])
    assert [(each.name or "").rpartition(".")[2] for each in described] == list(NAMES)
    assert described[0].units == "degreesCelsius"
    assert described[3].units is None


async def test_an_unknown_object_and_an_unknown_property_are_errors_of_their_own(stack: Stack, network: BacnetNetwork) -> None:
    points = [stack.point(AI), stack.point(AI, 77), stack.point(MV)]
    first, missing, last = await network.read_points(stack.device, points)
    assert (first.present_value, last.present_value) == (TEXTS[0], TEXTS[-1])
    assert (missing.quality, missing.error) == (Quality.BAD, ReadingError(error_class="object", error_code="unknown-object"))
    described = await network.describe_objects(stack.device, [ObjectIdentifier(type=AI, instance=77)])
    assert (described[0].name, described[0].units) == (None, None)


async def test_the_object_list_comes_whole_though_it_takes_segments(stack: Stack, network: BacnetNetwork) -> None:
    listed = await network.read_object_list(stack.device)
    assert listed.complete
    assert len(set(listed.objects)) == len(listed.objects) == len(NAMES) + MANY
    assert network.counters.segments > 1


async def test_a_great_many_points_have_each_its_own_value(stack: Stack, network: BacnetNetwork) -> None:
    described = await network.describe_objects(
        stack.device, [ObjectIdentifier(type=AV, instance=number) for number in range(2, MANY + 2)]
    )
    names = [(each.name or "").rpartition(".")[2] for each in described]
    assert names == [f"AV{number}" for number in range(2, MANY + 2)]


@pytest.mark.parametrize("confirmed", [False, True])
async def test_changes_of_value_are_told(stack: Stack, network: BacnetNetwork, confirmed: bool) -> None:
    points = [stack.point(object_type) for object_type in (AI, BI, MI)]
    values: dict[int, list[str | None]] = {point.id: [] for point in points}
    coverage: dict[int, Coverage] = {}
    news = asyncio.Event()

    def deliver(reading: Reading) -> None:
        values[reading.point_id].append(reading.present_value)
        news.set()

    async def until(condition: str) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (
                all(coverage.get(point.id) is Coverage.COVERED for point in points)
                if condition == "covered"
                else [values[point.id][-1:] for point in points] == [["30.25"], ["active"], ["3"]]
            ):
                news.clear()
                await news.wait()

    def report(point: Point, covered: Coverage, _: str) -> None:
        coverage[point.id] = covered
        news.set()

    terms = CovTerms(lifetime_seconds=60, confirmed=confirmed)
    following = asyncio.create_task(network.follow(stack.device, points, terms, deliver=deliver, report=report))
    try:
        await until("covered")
        await stack.change(30.25, True, 3)
        await until("changed")
    finally:
        following.cancel()
        await asyncio.wait([following])


@pytest.mark.parametrize(
    ("object_type", "value", "text"),
    [(AO, 42.5, "42.5"), (AV, -0.5, "-0.5"), (BO, True, "active"), (BV, True, "active"), (MO, 2, "2"), (MV, 3, "3")],
)
async def test_a_value_is_written_read_back_and_relinquished(
    stack: Stack, network: BacnetNetwork, object_type: ObjectType, value: WrittenValue, text: str
) -> None:
    point = stack.point(object_type)
    before = (await network.read_points(stack.device, [point]))[0].present_value
    (written,) = await network.write_points(stack.device, [PointWrite(point=point, value=value, priority=8)])
    assert (written.state, written.after, written.priority, written.is_read_back) == (WriteState.DONE, text, 8, True)
    assert (await network.read_points(stack.device, [point]))[0].present_value == text
    (released,) = await network.write_points(stack.device, [PointWrite(point=point, value=None, priority=8)])
    assert (released.state, released.after) == (WriteState.DONE, before)


@pytest.mark.parametrize(("object_type", "instance", "value"), [(AO, 77, 99.0), (MV, 1, 9)])
async def test_a_write_that_cannot_be_is_refused_and_changes_nothing(
    stack: Stack, network: BacnetNetwork, object_type: ObjectType, instance: int, value: WrittenValue
) -> None:
    point = stack.point(object_type, instance)
    (outcome,) = await network.write_points(stack.device, [PointWrite(point=point, value=value, priority=8)])
    assert outcome.state is WriteState.REFUSED, outcome
    readings = await network.read_points(stack.device, stack.points())
    assert tuple(reading.present_value for reading in readings) == TEXTS


async def test_a_broadcast_who_is_is_answered_by_those_it_asks_for(stack: Stack, network: BacnetNetwork) -> None:
    for low, high, there in ((INSTANCE, INSTANCE, True), (0, 4_194_302, True), (INSTANCE + 1, INSTANCE + 9, False)):
        found = await network.who_is(low=low, high=high, wait_seconds=0.5)
        assert ((stack.device.address, INSTANCE) in {(each.address, each.instance) for each in found}) is there
    (one,) = await network.who_is(address=stack.device.address, wait_seconds=0.5)
    assert (one.instance, one.max_apdu >= 1024, one.segmentation) == (INSTANCE, True, "both")
