"""Devices that are silent, late, wrong or clumsy, over real UDP."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from bms_iot.bacnet import BacnetNetwork
from bms_iot.domain.points import DeviceAddress, ObjectIdentifier, ObjectType
from bms_iot.domain.ports import ControllerNetwork
from bms_iot.domain.readings import Quality, ReadingError
from bms_iot.errors import DeviceRefused, DeviceUnreachable, MalformedReply, TransportError
from tests.integration.bacnet_responder import (
    Objects,
    Request,
    Responder,
    SystemClock,
    analog,
    frame,
    free_port,
    polite,
    real,
    silent,
    text,
)

TIMEOUT = 0.15


@asynccontextmanager
async def network(
    *, timeout_seconds: float = TIMEOUT, tries: int = 3, in_flight_per_device: int = 1, in_flight_total: int = 64
) -> AsyncIterator[BacnetNetwork]:
    async with BacnetNetwork(
        host="127.0.0.1",
        port=free_port(),
        timeout_seconds=timeout_seconds,
        tries=tries,
        in_flight_per_device=in_flight_per_device,
        in_flight_total=in_flight_total,
        clock=SystemClock(),
    ) as opened:
        yield opened


def analogs(count: int) -> Objects:
    """Analog values whose present-value is their instance."""
    return {(2, instance): analog(float(instance)) for instance in range(1, count + 1)}


def as_the_gateway_sees_it(ours: BacnetNetwork) -> ControllerNetwork:
    """Checked by the type checker: the client is what the gateway asks for."""
    return ours


async def test_reads_every_point_in_order_with_the_value_of_its_own_object() -> None:
    async with Responder(analogs(100)) as device, network() as ours:
        readings = await as_the_gateway_sees_it(ours).read_points(device.device, device.points())
    assert [reading.point_id for reading in readings] == list(range(100))
    assert [reading.present_value for reading in readings] == [str(instance) for instance in range(1, 101)]
    assert {reading.quality for reading in readings} == {Quality.GOOD}
    assert {request.service for request in device.requests} == {14}


async def test_a_silent_device_is_unreachable_after_three_tries_and_in_bounded_time() -> None:
    async with Responder(analogs(3), behaviour=silent) as device, network() as ours:
        started = asyncio.get_running_loop().time()
        with pytest.raises(DeviceUnreachable, match=device.host):
            await ours.read_points(device.device, device.points())
        took = asyncio.get_running_loop().time() - started
        assert len(device.requests) == 3
        assert 3 * TIMEOUT <= took < 3 * TIMEOUT + 1
        assert ours.counters.retries == 1
        assert ours.counters.timeouts == 2


async def test_a_lost_answer_is_asked_for_again_with_the_same_invoke_id() -> None:
    def lose_the_first(device: Responder, request: Request) -> Sequence[bytes]:
        return [] if len(device.requests) == 1 else polite(device, request)

    async with Responder(analogs(3), behaviour=lose_the_first) as device, network() as ours:
        readings = await ours.read_points(device.device, device.points())
    assert [reading.present_value for reading in readings] == ["1", "2", "3"]
    assert device.requests[0] == device.requests[1]
    assert ours.counters.retries == 1


async def test_a_silent_device_does_not_hold_up_the_others_even_when_it_is_many() -> None:
    async with network(timeout_seconds=1.0, tries=1, in_flight_total=4) as ours, Responder(analogs(2)) as alive:
        dead = [Responder(analogs(1), behaviour=silent) for _ in range(12)]
        for each in dead:
            await each.__aenter__()
        asked = [asyncio.create_task(ours.read_points(each.device, each.points())) for each in dead]
        await asyncio.sleep(0)
        async with asyncio.timeout(0.9 * 2):
            readings = await ours.read_points(alive.device, alive.points())
        assert [reading.present_value for reading in readings] == ["1", "2"]
        assert not any(task.done() and task.exception() is None for task in asked)
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {DeviceUnreachable}
        for each in dead:
            await each.__aexit__()


async def test_an_answer_that_comes_after_giving_up_is_counted_as_late_and_given_to_nobody() -> None:
    async with Responder(analogs(2), behaviour=silent) as device, network(tries=1) as ours:
        with pytest.raises(DeviceUnreachable):
            await ours.read_points(device.device, device.points())
        late = frame(device.answer(device.requests[0]))
        device.objects[2, 1] = analog(71.0)
        device.behaviour = lambda responder, request: [late, *polite(responder, request)]
        readings = await ours.read_points(device.device, device.points())
        assert readings[0].present_value == "71"
        assert ours.counters.late == 1


async def test_a_duplicated_answer_is_counted_and_ignored() -> None:
    async with Responder(analogs(60), behaviour=lambda d, r: [*polite(d, r)] * 2) as device, network() as ours:
        readings = await ours.read_points(device.device, device.points())
        again = await ours.read_points(device.device, device.points())
        assert [reading.present_value for reading in again] == [reading.present_value for reading in readings]
        assert ours.counters.duplicates >= 2
        assert ours.counters.late == 0


async def test_an_answer_from_another_port_or_for_another_service_is_not_taken() -> None:
    async with Responder(analogs(1)) as stranger, Responder({(2, 1): analog(7.0)}) as device, network() as ours:

        def forge(responder: Responder, request: Request) -> Sequence[bytes]:
            stranger.send(frame(stranger.answer(request)), ours.address)
            wrong_service = bytes((0x30, request.invoke_id, 6))
            return [frame(wrong_service), *polite(responder, request)]

        device.behaviour = forge
        (reading,) = await ours.read_points(device.device, device.points())
        assert reading.present_value == "7"
        assert ours.counters.foreign == 2


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda apdu: apdu[:-3], id="cut off"),
        pytest.param(lambda apdu: apdu[:3], id="empty"),
        pytest.param(lambda apdu: apdu + b"\x00\x01\x02", id="garbage behind"),
        pytest.param(lambda apdu: apdu[:2], id="header cut off"),
        pytest.param(lambda apdu: apdu[:3] + bytes(range(40)), id="garbage"),
    ],
)
async def test_a_malformed_answer_fails_its_request_at_once_and_the_points_say_so(spoil: Callable[[bytes], bytes]) -> None:
    async with (
        Responder(analogs(2), behaviour=lambda d, r: [frame(spoil(d.answer(r)))]) as device,
        network(timeout_seconds=30) as ours,
    ):
        async with asyncio.timeout(5):
            readings = await ours.read_points(device.device, device.points())
            with pytest.raises(MalformedReply):
                await ours.read_object_list(device.device)
    assert {reading.quality for reading in readings} == {Quality.BAD}
    assert {reading.error for reading in readings} == {ReadingError(error_class="communication", error_code="malformed-message")}
    assert ours.counters.malformed > 0


async def test_a_datagram_shorter_than_it_says_fails_its_request_at_once() -> None:
    async with (
        Responder(analogs(2), behaviour=lambda d, r: [frame(d.answer(r))[:-4]]) as device,
        network(timeout_seconds=30) as ours,
    ):
        async with asyncio.timeout(5):
            readings = await ours.read_points(device.device, device.points())
    assert {reading.quality for reading in readings} == {Quality.BAD}


@pytest.mark.parametrize("datagram", [b"\x81", b"\x81\x0a\x00\x06\x01\x00", b"\x00" * 30])
async def test_an_answer_of_which_nothing_is_left_fails_the_request_at_once(datagram: bytes) -> None:
    async with Responder(analogs(1), behaviour=lambda d, r: [datagram]) as device, network(timeout_seconds=30) as ours:
        async with asyncio.timeout(5):
            (reading,) = await ours.read_points(device.device, device.points())
    assert reading.quality is Quality.BAD


async def test_a_value_too_long_for_one_answer_is_asked_for_once() -> None:
    objects = analogs(3)
    objects[2, 2][351] = text("x" * 80) * 3
    async with Responder(objects, max_apdu=206) as device, network() as ours:
        first = await ours.read_points(device.device, device.points(), optional=True)
        device.requests.clear()
        second = await ours.read_points(device.device, device.points(), optional=True)
    assert {reading.quality for reading in (*first, *second)} == {Quality.GOOD}
    assert first[1].optional == {}
    assert 351 not in {number for request in device.requests for _, number, _ in request.asked}


async def test_one_object_with_a_malformed_value_does_not_spoil_the_others() -> None:
    objects = analogs(30)
    objects[2, 11] = {**analog(0.0), 85: b"\x44\x01"}
    async with Responder(objects) as device, network() as ours:
        readings = await ours.read_points(device.device, device.points())
    values = [reading.present_value for reading in readings]
    assert values == [None if instance == 11 else str(instance) for instance in range(1, 31)]


async def test_a_device_without_read_property_multiple_is_read_property_by_property_and_remembered() -> None:
    def reject(device: Responder, request: Request) -> Sequence[bytes]:
        return [frame(bytes((0x60, request.invoke_id, 9)))] if request.service == 14 else polite(device, request)

    async with Responder(analogs(3), behaviour=reject) as device, network() as ours:
        for _ in range(2):
            readings = await ours.read_points(device.device, device.points())
            assert [reading.present_value for reading in readings] == ["1", "2", "3"]
    assert [request.service for request in device.requests].count(14) == 1


async def test_a_device_that_aborts_every_read_property_multiple_is_read_property_by_property() -> None:
    def abort(device: Responder, request: Request) -> Sequence[bytes]:
        return [frame(bytes((0x71, request.invoke_id, 0)))] if request.service == 14 else polite(device, request)

    async with Responder(analogs(20), behaviour=abort) as device, network() as ours:
        readings = await ours.read_points(device.device, device.points())
        refused = [request.service for request in device.requests].count(14)
        device.requests.clear()
        await ours.read_points(device.device, device.points())
    assert [reading.present_value for reading in readings] == [str(instance) for instance in range(1, 21)]
    assert refused <= 8
    assert {request.service for request in device.requests} == {12}


async def test_batches_are_halved_until_the_device_can_answer_and_stay_so() -> None:
    async with Responder(analogs(60), max_apdu=206) as device, network() as ours:
        readings = await ours.read_points(device.device, device.points())
        assert [reading.present_value for reading in readings] == [str(instance) for instance in range(1, 61)]
        refused = ours.counters.refused
        assert refused > 0
        await ours.read_points(device.device, device.points())
        assert ours.counters.refused == refused


async def test_an_i_am_tells_how_much_a_device_can_answer() -> None:
    async with Responder(analogs(60), max_apdu=206) as device, network() as ours:
        (found,) = await ours.who_is(address=device.device.address, wait_seconds=0.2)
        assert (found.instance, found.max_apdu, found.segmentation, found.vendor_id) == (4001, 206, "none", 15)
        readings = await ours.read_points(device.device, device.points())
        assert [reading.present_value for reading in readings] == [str(instance) for instance in range(1, 61)]
        assert ours.counters.refused == 0


async def test_a_device_that_drops_big_requests_is_asked_for_less() -> None:
    def drop(device: Responder, request: Request) -> Sequence[bytes]:
        return [] if len(request.asked) > 40 else polite(device, request)

    async with Responder(analogs(30), behaviour=drop) as device, network() as ours:
        readings = await ours.read_points(device.device, device.points())
        assert [reading.present_value for reading in readings] == [str(instance) for instance in range(1, 31)]
        timeouts = ours.counters.timeouts
        await ours.read_points(device.device, device.points())
        assert ours.counters.timeouts == timeouts


async def test_a_device_that_drops_every_read_property_multiple_is_read_property_by_property() -> None:
    def drop(device: Responder, request: Request) -> Sequence[bytes]:
        return [] if request.service == 14 else polite(device, request)

    async with Responder(analogs(30), behaviour=drop) as device, network() as ours:
        readings = await ours.read_points(device.device, device.points())
        assert [reading.present_value for reading in readings] == [str(instance) for instance in range(1, 31)]
        assert ours.counters.timeouts == 2
        await ours.read_points(device.device, device.points())
        assert ours.counters.timeouts == 2


async def test_a_property_the_device_never_answers_for_costs_a_bounded_time() -> None:
    def drop(device: Responder, request: Request) -> Sequence[bytes]:
        return [] if ((2, 50), 85, None) in request.asked else polite(device, request)

    async with Responder(analogs(100), behaviour=drop) as device, network(timeout_seconds=0.05) as ours:
        async with asyncio.timeout(5):
            first = await ours.read_points(device.device, device.points())
            for _ in range(3):
                last = await ours.read_points(device.device, device.points())
    assert sum(reading.quality is Quality.GOOD for reading in first) >= 30
    assert [reading.point_id for reading in last if reading.quality is not Quality.GOOD] == [49]


async def test_a_device_that_falls_silent_in_the_middle_leaves_the_rest_bad() -> None:
    def first_only(device: Responder, request: Request) -> Sequence[bytes]:
        return polite(device, request) if len(device.requests) == 1 else []

    async with Responder(analogs(200), behaviour=first_only) as device, network() as ours:
        readings = await ours.read_points(device.device, device.points())
    good = [reading for reading in readings if reading.quality is Quality.GOOD]
    bad = [reading for reading in readings if reading.quality is Quality.BAD]
    assert len(good) + len(bad) == 200
    assert good
    assert {reading.error for reading in bad} == {ReadingError(error_class="communication", error_code="timeout")}


async def test_a_property_the_device_leaves_out_of_its_answer_is_asked_for_once_more() -> None:
    def forget_the_last(device: Responder, request: Request) -> Sequence[bytes]:
        asked = request.asked[:-5] if len(request.asked) > 5 else request.asked
        return polite(device, Request(invoke_id=request.invoke_id, service=request.service, asked=asked))

    async with Responder(analogs(4), behaviour=forget_the_last) as device, network() as ours:
        readings = await ours.read_points(device.device, device.points())
    assert [reading.present_value for reading in readings] == ["1", "2", "3", "4"]


async def test_values_of_objects_that_were_not_asked_for_are_assigned_to_nobody() -> None:
    def shift(device: Responder, request: Request) -> Sequence[bytes]:
        asked = tuple(((kind, instance + 1), number, index) for (kind, instance), number, index in request.asked)
        return polite(device, Request(invoke_id=request.invoke_id, service=request.service, asked=asked))

    async with Responder(analogs(4), behaviour=shift) as device, network() as ours:
        first, *_ = await ours.read_points(device.device, device.points())
    assert first.present_value is None
    assert first.quality is Quality.BAD


async def test_a_read_property_answer_about_another_object_is_not_taken() -> None:
    def shift(device: Responder, request: Request) -> Sequence[bytes]:
        if request.service == 14:
            return [frame(bytes((0x60, request.invoke_id, 9)))]
        asked = tuple(((kind, instance + 1), number, index) for (kind, instance), number, index in request.asked)
        return polite(device, Request(invoke_id=request.invoke_id, service=request.service, asked=asked))

    async with Responder(analogs(3), behaviour=shift) as device, network() as ours:
        first, *_ = await ours.read_points(device.device, device.points()[:1])
    assert first.present_value is None
    assert first.error == ReadingError(error_class="communication", error_code="malformed-message")


async def test_asking_one_address_finds_the_devices_of_that_address_only() -> None:
    async with Responder(analogs(1), instance=1) as device, Responder(analogs(1), instance=2) as stranger, network() as ours:
        asked = asyncio.create_task(ours.who_is(address=device.device.address, wait_seconds=0.3))
        await asyncio.sleep(0)
        stranger.send(stranger.i_am(), ours.address)
        found = await asked
        assert [each.instance for each in found] == [1]
        assert ours.counters.unconfirmed == 2


async def test_a_property_an_object_lacks_is_asked_for_once() -> None:
    async with Responder(analogs(2)) as device, network() as ours:
        first = await ours.read_points(device.device, device.points(), optional=True)
        asked = sum(len(request.asked) for request in device.requests)
        device.requests.clear()
        await ours.read_points(device.device, device.points(), optional=True)
    assert first[0].optional == {}
    assert asked == 2 * 28
    assert sum(len(request.asked) for request in device.requests) == 2 * 5


async def test_an_unknown_object_is_a_bad_reading_beside_good_ones() -> None:
    async with Responder(analogs(3)) as device, network() as ours:
        points = device.points()
        del device.objects[2, 2]
        readings = await ours.read_points(device.device, points)
    assert [reading.quality for reading in readings] == [Quality.GOOD, Quality.BAD, Quality.GOOD]
    assert readings[1].error == ReadingError(error_class="object", error_code="unknown-object")


async def test_an_object_list_too_long_for_one_answer_is_read_by_index() -> None:
    async with Responder(analogs(300), max_apdu=480) as device, network() as ours:
        found = await ours.read_object_list(device.device)
    assert len(found.objects) == 300
    assert [identifier.instance for identifier in found.objects] == list(range(1, 301))
    assert found.other == 1
    assert found.complete


async def test_an_object_list_shorter_than_its_own_length_is_completed_by_index() -> None:
    def cut(device: Responder, request: Request) -> Sequence[bytes]:
        if request.asked[0][1:] != (76, None):
            return polite(device, request)
        hidden = {key: device.objects.pop(key) for key in list(device.objects)[5:]}
        answer = polite(device, request)
        device.objects.update(hidden)
        return answer

    async with Responder(analogs(12), behaviour=cut) as device, network() as ours:
        found = await ours.read_object_list(device.device)
    assert len(found.objects) == 12
    assert found.complete


async def test_an_object_list_with_entries_that_cannot_be_read_is_incomplete() -> None:
    class Gappy(Responder):
        def value(self, identifier: tuple[int, int], number: int, index: int | None) -> bytes | tuple[int, int]:
            return (2, 42) if index == 7 else super().value(identifier, number, index)

    async with Gappy(analogs(300), max_apdu=480) as device, network() as ours:
        found = await ours.read_object_list(device.device)
    assert len(found.objects) == 299
    assert not found.complete


async def test_a_device_that_refuses_its_object_list_says_why() -> None:
    def deny(device: Responder, request: Request) -> Sequence[bytes]:
        return [frame(bytes((0x50, request.invoke_id, request.service, 0x91, 2, 0x91, 27)))]

    async with Responder(analogs(1), behaviour=deny) as device, network() as ours:
        with pytest.raises(DeviceRefused) as caught:
            await ours.read_object_list(device.device)
    assert (caught.value.error_class, caught.value.error_code) == ("property", "read-access-denied")


async def test_objects_are_described_by_name_and_units_and_missing_ones_are_none() -> None:
    objects = {(2, 1): {**analog(1.0), 28: text("Zone\0 1"), 117: b"\x91\x3e"}, (2, 2): {85: real(1.0), 117: b"\x92\x03\xe8"}}
    async with Responder(objects) as device, network() as ours:
        first, second = await ours.describe_objects(device.device, [point.object for point in device.points()])
    assert (first.name, first.description, first.units) == ("analog", "Zone 1", "degreesCelsius")
    assert (second.name, second.description, second.units) == (None, None, "unit-1000")


async def test_garbage_on_our_port_is_counted_and_harms_nobody() -> None:
    async with Responder(analogs(2)) as device, network() as ours:
        garbage = (
            b"",
            b"\x81",
            b"\x81\x0a\x00\x04",
            b"\x81\x0a\x00\x06\x01\x00",
            b"\x82" * 50,
            frame(b"\xff\xff"),
            frame(b"\x30\x07\x0e"),
        )
        for datagram in garbage:
            device.send(datagram, ours.address)
        readings = await ours.read_points(device.device, device.points())
        assert [reading.present_value for reading in readings] == ["1", "2"]
        assert ours.counters.malformed >= 5


async def test_several_requests_in_flight_to_one_device_keep_their_answers_apart() -> None:
    async with Responder(analogs(400)) as device, network(in_flight_per_device=8) as ours:
        readings = await ours.read_points(device.device, device.points())
    assert [reading.present_value for reading in readings] == [str(instance) for instance in range(1, 401)]


async def test_a_cancelled_reading_gives_its_place_to_the_next() -> None:
    async with Responder(analogs(2), behaviour=silent) as device, network(timeout_seconds=30) as ours:
        stuck = asyncio.create_task(ours.read_points(device.device, device.points()))
        await device.asked.wait()
        stuck.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stuck
        device.behaviour = polite
        async with asyncio.timeout(5):
            readings = await ours.read_points(device.device, device.points())
    assert [reading.present_value for reading in readings] == ["1", "2"]


async def test_closing_fails_what_is_on_its_way() -> None:
    async with Responder(analogs(2), behaviour=silent) as device:
        async with network(timeout_seconds=30) as ours:
            stuck = asyncio.create_task(ours.read_points(device.device, device.points()))
            await device.asked.wait()
        with pytest.raises(TransportError, match="closed"):
            await stuck


async def test_a_port_that_is_taken_is_named_with_what_to_do() -> None:
    async with Responder(analogs(1)) as device:
        with pytest.raises(TransportError, match=f"{device.host}:{device.port}") as caught:
            async with BacnetNetwork(host=device.host, port=device.port, clock=SystemClock()):
                pass
    assert caught.value.hint is not None
    assert str(device.port) in caught.value.hint


@pytest.mark.parametrize(
    "host", ["localhost", "10.0.0", "2001:", "2001:0x", "2001:zz", "65535:0a", "0:0a", ":0a", "::1", "2001:" + 19 * "0a"]
)
async def test_what_is_no_address_is_unreachable_without_looking_it_up(host: str) -> None:
    async with network() as ours:
        with pytest.raises(DeviceUnreachable, match=r"IPv4|NETWORK:MAC"):
            await ours.who_is(address=DeviceAddress(host=host), wait_seconds=0.1)


@pytest.mark.parametrize("port", [-1, 0, 65_536])
async def test_a_port_that_cannot_be_is_unreachable(port: int) -> None:
    async with network() as ours:
        with pytest.raises(DeviceUnreachable, match="port"):
            await ours.who_is(address=DeviceAddress(host="127.0.0.1", port=port), wait_seconds=0.1)


async def test_instances_that_cannot_be_are_bad_readings_and_unreachable_devices() -> None:
    async with Responder(analogs(2)) as device, network() as ours:
        impossible = ObjectIdentifier(type=ObjectType.ANALOG_VALUE, instance=2**22)
        good, bad = device.points()
        readings = await ours.read_points(device.device, [good, replace(bad, object=impossible)])
        with pytest.raises(DeviceUnreachable, match="instance"):
            await ours.read_object_list(replace(device.device, instance=-1))
        described = await ours.describe_objects(device.device, [impossible])
    assert [reading.quality for reading in readings] == [Quality.GOOD, Quality.BAD]
    assert described[0].name is None


async def test_a_closed_network_says_so_and_can_be_opened_again() -> None:
    async with Responder(analogs(1)) as device:
        ours = BacnetNetwork(host="127.0.0.1", port=free_port(), clock=SystemClock())
        for _ in range(2):
            with pytest.raises(TransportError, match="closed"):
                await ours.read_points(device.device, device.points())
            async with ours:
                (reading,) = await ours.read_points(device.device, device.points())
            assert reading.present_value == "1"


async def test_who_is_without_a_broadcast_address_says_so() -> None:
    async with network() as ours:
        with pytest.raises(TransportError, match="broadcast"):
            await ours.who_is(wait_seconds=0.1)


async def test_a_storm_of_i_am_is_bounded_and_the_first_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ever new devices at one address."""
    monkeypatch.setattr("bms_iot.bacnet.discovery.MAX_FOUND", 50)
    async with Responder(analogs(1)) as device, network() as ours:
        asking = asyncio.create_task(ours.who_is(address=device.device.address, wait_seconds=0.5))
        while not ours.counters.unconfirmed:
            await asyncio.sleep(0.001)
        for instance in range(1000):
            device.instance = instance
            device.send(device.i_am(), ours.address)
        found = await asking
        assert len(found) == 50
        assert ours.counters.i_am_passed_over > 900


async def test_several_devices_at_one_address_are_told_apart_by_their_ports() -> None:
    async with (
        Responder({(2, 1): analog(1.0)}, host="127.0.12.1", instance=7) as one,
        Responder({(2, 1): analog(2.0)}, host="127.0.12.1", instance=7) as other,
        network() as ours,
    ):
        for device, value in ((one, "1"), (other, "2")):
            (found,) = await ours.who_is(address=device.device.address, low=7, high=7, wait_seconds=1)
            assert found.address == device.device.address
            (reading,) = await ours.read_points(device.device, device.points())
            assert reading.present_value == value
