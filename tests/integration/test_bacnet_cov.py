"""Changes of value from devices of three stacks: subscribed, renewed, watched, lost and found again, cancelled."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import pytest
import rusty_bacnet
from bacpypes3.ipv4.app import NormalApplication
from bacpypes3.local.analog import AnalogInputObject
from bacpypes3.local.binary import BinaryInputObject
from bacpypes3.local.cov import GenericCriteria
from bacpypes3.local.device import DeviceObject
from bacpypes3.local.multistate import MultiStateInputObject
from bacpypes3.pdu import IPv4Address

from bms_iot.bacnet import BacnetNetwork
from bms_iot.domain.points import Device, ObjectType, Point
from bms_iot.domain.readings import Quality, Reading, StatusFlag
from bms_iot.domain.subscriptions import Coverage, CovTerms
from bms_iot.errors import TransportError
from bms_iot.simulator.adversary import octets, reading, requests
from bms_iot.simulator.adversary.device import AdversarialDevice
from bms_iot.simulator.adversary.manner import Manner
from bms_iot.simulator.adversary.requests import Asked, Request
from tests.integration.bacnet_devices import INSTANCE, adversary, as_device, client_network, point_of, points_of
from tests.integration.bacnet_responder import free_port

AI, BI, MI = ObjectType.ANALOG_INPUT, ObjectType.BINARY_INPUT, ObjectType.MULTI_STATE_INPUT
PATIENCE_SECONDS = 8.0


@dataclass
class Heard:
    """What a follower was told."""

    readings: list[Reading] = field(default_factory=list)
    coverage: dict[int, tuple[Coverage, str]] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def deliver(self, change: Reading) -> None:
        self.readings.append(change)
        self.news.set()

    def report(self, point: Point, coverage: Coverage, reason: str) -> None:
        self.coverage[point.id] = coverage, reason
        self.news.set()

    async def until(self, condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                self.news.clear()
                await self.news.wait()

    async def until_all(self, wanted: Coverage, points: Sequence[Point], seconds: float = PATIENCE_SECONDS) -> None:
        await self.until(lambda: all(self.coverage.get(point.id, (None, ""))[0] is wanted for point in points), seconds)

    def values(self, point: Point) -> list[str | None]:
        return [change.present_value for change in self.readings if change.point_id == point.id]


@asynccontextmanager
async def following(
    network: BacnetNetwork, points: Sequence[Point], *, lifetime_seconds: int = 60, confirmed: bool = False
) -> AsyncIterator[Heard]:
    heard = Heard()
    terms = CovTerms(lifetime_seconds=lifetime_seconds, confirmed=confirmed)
    task = asyncio.create_task(network.follow(points[0].device, points, terms, deliver=heard.deliver, report=heard.report))
    try:
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@dataclass
class Source:
    """A device and a way to change the values of its analog, binary and multi-state inputs."""

    device: Device
    change: Callable[[float, bool, int], object]

    @property
    def points(self) -> list[Point]:
        return [point_of(self.device, kind) for kind in (AI, BI, MI)]


Stack = Callable[[], AbstractAsyncContextManager[Source]]


@asynccontextmanager
async def ours() -> AsyncIterator[Source]:
    async with adversary() as (made, device):

        async def change(analog: float, binary: bool, state: int) -> None:
            for position, value in ((0, analog), (3, binary), (6, state)):
                await made.set(position, value)

        yield Source(device, change)


@asynccontextmanager
async def rusty() -> AsyncIterator[Source]:
    server = rusty_bacnet.BACnetServer(
        device_instance=INSTANCE,
        device_name="changing",
        interface="127.0.2.222",
        port=(port := free_port()),
        broadcast_address="127.255.255.255",
        share_port_by_address=True,
    )
    server.add_analog_input(1, "AI", 62, 21.5)
    server.add_binary_input(1, "BI")
    server.add_multistate_input(1, "MI", 3)

    async def change(analog: float, binary: bool, state: int) -> None:
        value, kind = rusty_bacnet.PropertyValue, rusty_bacnet.ObjectType
        for type_, new in (
            (kind.ANALOG_INPUT, value.real(analog)),
            (kind.BINARY_INPUT, value.enumerated(int(binary))),
            (kind.MULTI_STATE_INPUT, value.unsigned(state)),
        ):
            await server.set_present_value_local(rusty_bacnet.ObjectIdentifier(type_, 1), new)

    await server.start()
    try:
        yield Source(as_device(("127.0.2.222", port)), change)
    finally:
        await server.stop()


class ChangingMultiStateInput(MultiStateInputObject):  # type: ignore[misc]
    """bacpypes3 0.0.110 looks for a cov-increment, which multi-state objects have not (clause 13.1)."""

    _cov_criteria = GenericCriteria


def bacpypes_application(port: int) -> tuple[NormalApplication, Callable[[float, bool, int], None]]:
    identity = DeviceObject(
        objectIdentifier=("device", INSTANCE), objectName="bacpypes", maxApduLengthAccepted=1476, vendorIdentifier=999
    )
    application = NormalApplication(identity, IPv4Address(f"127.0.2.223:{port}"))
    more = {"eventState": "normal", "outOfService": False, "statusFlags": [0, 0, 0, 0]}
    analog = AnalogInputObject(
        objectIdentifier=("analog-input", 1), objectName="AI", presentValue=21.5, units=62, covIncrement=0.1, **more
    )
    binary = BinaryInputObject(
        objectIdentifier=("binary-input", 1), objectName="BI", presentValue="inactive", polarity="normal", **more
    )
    state = ChangingMultiStateInput(
        objectIdentifier=("multi-state-input", 1), objectName="MI", presentValue=1, numberOfStates=3, **more
    )
    for made in (analog, binary, state):
        application.add_object(made)

    def change(new_analog: float, new_binary: bool, new_state: int) -> None:
        analog.presentValue = new_analog
        binary.presentValue = "active" if new_binary else "inactive"
        state.presentValue = new_state

    return application, change


@asynccontextmanager
async def bacpypes(port: int = 0) -> AsyncIterator[Source]:
    application, change = bacpypes_application(port or (port := free_port()))
    await application.normal.server._local_transport_ready.wait()
    try:
        yield Source(as_device(("127.0.2.223", port)), change)
    finally:
        application.close()


async def made(changed: object) -> None:
    if asyncio.iscoroutine(changed):
        await changed


@pytest.mark.parametrize("confirmed", [False, True])
@pytest.mark.parametrize("stack", [ours, rusty, bacpypes])
async def test_analog_binary_and_multi_state_points_of_every_stack_tell_their_changes(stack: Stack, confirmed: bool) -> None:
    async with stack() as source, client_network() as network:
        analog, binary, state = source.points
        async with following(network, source.points, confirmed=confirmed) as heard:
            await heard.until_all(Coverage.COVERED, source.points)
            await made(source.change(30.25, True, 3))
            await heard.until(lambda: [heard.values(each)[-1:] for each in source.points] == [["30.25"], ["active"], ["3"]])
    assert heard.values(analog)[0] == "21.5"
    assert heard.values(binary)[0] == "inactive"
    assert heard.values(state)[0] == "1"
    assert all(change.quality is Quality.GOOD and change.out_of_service is False for change in heard.readings)
    assert network.counters.notifications_unknown == 0


async def test_a_change_says_what_its_status_flags_say() -> None:
    async with adversary() as (device, as_known), client_network() as network:
        point = point_of(as_known, AI)
        device.objects.kept[0, 1].properties[111] = octets.bits((1, 1, 0, 0))
        async with following(network, [point]) as heard:
            await heard.until_all(Coverage.COVERED, [point])
    (change,) = heard.readings
    assert change.status_flags == (StatusFlag.IN_ALARM, StatusFlag.FAULT)
    assert (change.quality, change.event_state, change.reliability) == (Quality.UNCERTAIN, None, None)
    assert change.out_of_service is False


async def test_a_subscription_outlives_its_lifetime_because_it_is_renewed() -> None:
    async with adversary() as (device, as_known), client_network() as network:
        point = point_of(as_known, BI)
        async with following(network, [point], lifetime_seconds=1) as heard:
            await heard.until(lambda: len(heard.values(point)) >= 5)
            assert heard.coverage[point.id][0] is Coverage.COVERED
            assert len(device.subscriptions) == 1
        assert len(device.subscriptions) == 0


async def test_subscriptions_are_cancelled_by_who_stops_following() -> None:
    async with adversary() as (device, as_known), client_network() as network:
        points = points_of(as_known)
        async with following(network, points) as heard:
            await heard.until_all(Coverage.COVERED, points)
            assert len(device.subscriptions) == len(points)
        assert len(device.subscriptions) == 0
        assert network.open_transactions == 0


async def test_stopping_takes_a_bounded_time_when_the_device_is_gone() -> None:
    async with client_network(timeout_seconds=10.0) as network:
        async with adversary() as (_, as_known):
            points = points_of(as_known)
            async with following(network, points) as heard:
                await heard.until_all(Coverage.COVERED, points)
        started = asyncio.get_running_loop().time()
        async with following(network, points) as heard:
            await asyncio.sleep(0.05)
        assert asyncio.get_running_loop().time() - started < 2.0
        assert network.open_transactions == 0


async def test_a_restarted_device_that_says_i_am_is_subscribed_to_again_at_once() -> None:
    async with adversary() as (device, as_known), client_network() as network:
        points = points_of(as_known)
        async with following(network, points, lifetime_seconds=4) as heard:
            await heard.until_all(Coverage.COVERED, points)
            device.subscriptions.forget()
            device.announce([network.address])
            before = len(heard.readings)
            await heard.until(lambda: len(heard.readings) >= before + len(points), seconds=1.7)
            assert len(device.subscriptions) == len(points)


@pytest.mark.parametrize("seconds_off", [0.0, 1.0])
async def test_a_power_cycled_device_of_another_stack_resumes_within_one_lifetime(seconds_off: float) -> None:
    lifetime, port = 2, free_port()
    async with client_network() as network:
        async with bacpypes(port) as source:
            points = source.points
            task_points = following(network, points, lifetime_seconds=lifetime)
            heard = await task_points.__aenter__()
            await heard.until_all(Coverage.COVERED, points)
        try:
            await asyncio.sleep(seconds_off)
            async with bacpypes(port) as again:
                before = len(heard.readings)
                await heard.until(lambda: len(heard.readings) >= before + len(points), seconds=lifetime)
                await made(again.change(77.5, True, 2))
                await heard.until(lambda: heard.values(points[0])[-1:] == ["77.5"], seconds=1.0)
                await heard.until_all(Coverage.COVERED, points, seconds=1.0)
        finally:
            await task_points.__aexit__(None, None, None)


async def test_a_device_that_accepts_and_never_notifies_is_said_to_be_silent_and_tried_again() -> None:
    async with adversary(words="no-notifications") as (device, as_known), client_network() as network:
        point = point_of(as_known, AI)
        async with following(network, [point], lifetime_seconds=1) as heard:
            await heard.until_all(Coverage.SILENT, [point])
            asked = device.requests
            async with asyncio.timeout(PATIENCE_SECONDS):
                while device.requests < asked + 2:
                    await asyncio.sleep(0.02)
    assert heard.readings == []


async def test_a_device_without_subscriptions_is_asked_once_for_all_its_points() -> None:
    async with adversary(words="no-subscriptions") as (device, as_known), client_network() as network:
        points = points_of(as_known)
        async with following(network, points, lifetime_seconds=1) as heard:
            await heard.until_all(Coverage.REFUSED, points)
            await asyncio.sleep(1.0)
        assert device.requests == 1
    assert {reason for _, reason in heard.coverage.values()} == {"not followed any more"}


class RefusesOne(Manner):
    """Has no room for the subscription of one object."""

    def refuse(self, request: Request, asked: Sequence[Asked]) -> bytes | None:
        if request.service == requests.SUBSCRIBE_COV and requests.subscribe_cov(request.body).object == (AI.number, 1):
            return reading.error(request, (3, 19))
        return None


async def test_a_point_that_is_refused_costs_no_other_point() -> None:
    async with adversary(RefusesOne(0, Random(1))) as (_, as_known), client_network() as network:
        points = points_of(as_known)
        async with following(network, points) as heard:
            await heard.until_all(Coverage.COVERED, points[1:])
            assert heard.coverage[points[0].id] == (Coverage.REFUSED, "resources, no-space-to-add-list-element")


async def test_a_silent_device_is_probed_and_covered_when_it_answers_again() -> None:
    port = free_port()
    async with client_network(timeout_seconds=0.1) as network:
        points = points_of(as_device(("127.0.5.240", port)))
        async with following(network, points, lifetime_seconds=2) as heard:
            await asyncio.sleep(0.6)
            probes = network.counters.timeouts
            assert 1 <= probes <= 4
            async with adversary(host="127.0.5.240", port=port):
                await heard.until_all(Coverage.COVERED, points, seconds=2.2)


async def test_notifications_of_somebody_elses_subscription_are_counted_and_refused() -> None:
    async with adversary() as (device, as_known), client_network() as network:
        point = point_of(as_known, AI)
        async with following(network, [point], confirmed=True) as heard:
            await heard.until_all(Coverage.COVERED, [point])
            ((_, process_id, _),) = device.subscriptions._subscribers
            for wrong in (
                subscription_of(process_id + 1, (0, 1)),
                subscription_of(process_id, (0, 2)),
            ):
                device.subscriptions.take(network.address, wrong)
            before = len(heard.readings)
            device.subscriptions._objects.kept[0, 2] = device.objects.kept[0, 1]
            device.subscriptions.notify((0, 1))
            device.subscriptions.notify((0, 2))
            await heard.until(lambda: len(heard.readings) > before)
            await until(lambda: network.counters.notifications_unknown == 2)
            assert len(heard.readings) == before + 1


def subscription_of(process_id: int, identifier: tuple[int, int]) -> requests.Subscription:
    return requests.Subscription(process=process_id, object=identifier, confirmed=True, lifetime=60)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


async def test_two_followers_of_one_device_have_their_own_process_ids_and_there_is_a_bound() -> None:
    async with adversary() as (device, as_known), client_network() as network:
        point = point_of(as_known, AI)
        async with following(network, [point]) as one, following(network, [point]) as other:
            await one.until_all(Coverage.COVERED, [point])
            await other.until_all(Coverage.COVERED, [point])
            assert sorted(process_id for _, process_id, _ in device.subscriptions._subscribers) == [1, 2]
            rest = [asyncio.create_task(follow_nothing_of(network, point)) for _ in range(7)]
            done, _ = await asyncio.wait(rest, return_when=asyncio.FIRST_COMPLETED)
            assert [type(task.exception()) for task in done] == [TransportError]
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)


async def follow_nothing_of(network: BacnetNetwork, point: Point) -> None:
    heard = Heard()
    await network.follow(point.device, [point], CovTerms(), deliver=heard.deliver, report=heard.report)


async def test_a_storm_of_notifications_is_taken_without_loss() -> None:
    async with adversary() as (device, as_known), client_network() as network:
        point = point_of(as_known, AI)
        async with following(network, [point]) as heard:
            await heard.until_all(Coverage.COVERED, [point])
            before, count = len(heard.readings), 2000
            for n in range(count):
                await device.set(0, float(n))
            await heard.until(lambda: len(heard.readings) == before + count)
    assert [float(change.present_value or "nan") for change in heard.readings[before:]] == [float(n) for n in range(count)]
    assert isinstance(device, AdversarialDevice)
