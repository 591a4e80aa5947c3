"""Prepared polls over UDP: the same readings as the tolerant way, with their own times, and nothing left behind."""

import asyncio
import itertools
import random

import pytest

from bms_iot.bacnet.edge import BacnetNetwork
from bms_iot.bacnet.network.npdu import Station
from bms_iot.bacnet.polling.convert import references_of, to_reading
from bms_iot.bacnet.polling.poller import read_properties
from bms_iot.bacnet.polling.profile import Profile
from bms_iot.bacnet.transactions.client import Client
from bms_iot.domain.readings import Sweep
from bms_iot.errors import DeviceUnreachable
from tests.integration.bacnet_responder import (
    Objects,
    Request,
    Responder,
    SystemClock,
    analog,
    enumerated,
    frame,
    polite,
    real,
    silent,
    text,
    unsigned,
)

ODD = [
    real(float("nan")),
    b"\x00",
    b"",
    text("broken"),
    unsigned(3),
    b"\x55\x08" + bytes(8),
    b"\x2e\x44\x00\x00\x00\x00\x2f",
    b"\x11",
]


def network(*, timeout_seconds: float = 3.0, in_flight_per_device: int = 1) -> BacnetNetwork:
    return BacnetNetwork(
        host="127.0.0.1",
        port=0,
        clock=SystemClock(),
        timeout_seconds=timeout_seconds,
        in_flight_per_device=in_flight_per_device,
    )


def mixed(count: int) -> Objects:
    objects: Objects = {}
    for instance in range(1, count + 1):
        for number, value in ((0, real(instance / 3)), (5, enumerated(instance % 2)), (19, unsigned(instance % 9))):
            objects[number, instance] = {**analog(0), 85: value}
    return objects


async def tolerantly(device: Responder) -> list[tuple[object, ...]]:
    async with Client(host="127.0.0.1", port=0) as client:
        references = [reference for point in device.points() for reference in references_of(point, optional=False)]
        now = SystemClock().now
        answers = await read_properties(client, Station(device.host, device.port), Profile(), references, now)
    return [to_reading(point, answers.outcomes, now(), optional=False)[2:] for point in device.points()]


async def test_prepared_polls_read_what_the_tolerant_way_reads_whatever_becomes_of_the_values():
    chance = random.Random(4)
    async with Responder(mixed(30)) as device, network() as ours:
        points = tuple(device.points())
        for _ in range(12):
            swept = await ours.read_points(device.device, points)
            assert [reading[2:] for reading in swept] == await tolerantly(device)
            assert [reading.point_id for reading in swept] == [point.id for point in points]
            for identifier in chance.sample(sorted(device.objects), 20):
                kind = chance.choice([85, 85, 111, 103, 36, 0])
                if kind == 85:
                    device.objects[identifier][85] = chance.choice([real(chance.uniform(-50, 50)), enumerated(1), *ODD])
                elif kind == 111:
                    device.objects[identifier][111] = b"\x82\x04" + bytes([chance.randrange(16) << 4])
                elif kind in device.objects[identifier]:  # what was taken away is not asked for again for a day
                    device.objects[identifier][kind] = enumerated(chance.randrange(5))
                elif not kind:
                    device.objects[identifier].pop(chance.choice([36, 81, 103]), None)


async def test_a_reply_like_the_last_one_makes_readings_of_their_own_time():
    async with Responder(mixed(20)) as device, network() as ours:
        points = tuple(device.points())
        sweeps = [await ours.read_points(device.device, points) for _ in range(3)]
    for before, after in itertools.pairwise(sweeps):
        assert isinstance(before, Sweep)
        assert isinstance(after, Sweep)
        assert all(then < now for then, now in zip(before.acquired_at, after.acquired_at, strict=True))
        assert all(one is other for one, other in zip(before.present_values, after.present_values, strict=True))
        assert all(one is other for one, other in zip(before.conditions, after.conditions, strict=True))
        assert before.point_ids is after.point_ids


async def test_a_poll_asks_no_more_than_it_must():
    async with Responder(mixed(30)) as device, network() as ours:
        points = tuple(device.points())
        for polls in range(1, 5):
            await ours.read_points(device.device, points)
            assert [request.service for request in device.requests] == [14] * 3 * polls


async def test_one_chunk_that_is_spoilt_costs_the_others_nothing():
    spoilt = (5, 17)

    def spoil(device: Responder, request: Request) -> list[bytes]:
        answer = device.answer(request)
        return [frame(answer[:-3] if any(asked[0] == spoilt for asked in request.asked) else answer)]

    async with Responder(mixed(30)) as device, network() as ours:
        points = tuple(device.points())
        good = await ours.read_points(device.device, points)
        device.behaviour = spoil
        readings = await ours.read_points(device.device, points)
        device.behaviour = polite
        again = await ours.read_points(device.device, points)
    for point, first, reading, last in zip(points, good, readings, again, strict=True):
        is_spoilt = (point.object.type.number, point.object.instance) == spoilt
        assert (reading.error is not None) is is_spoilt
        assert is_spoilt or reading[2:] == first[2:]
        assert last[2:] == first[2:]


@pytest.mark.parametrize("in_flight_per_device", [1, 3])
async def test_a_device_that_falls_silent_between_two_chunks_keeps_what_it_answered(in_flight_per_device):
    def twice(device: Responder, request: Request) -> list[bytes]:
        return [] if len(device.requests) > 2 else list(polite(device, request))

    async with (
        Responder(mixed(48), behaviour=twice) as device,
        network(timeout_seconds=0.1, in_flight_per_device=in_flight_per_device) as ours,
    ):
        readings = await ours.read_points(device.device, tuple(device.points()))
        assert ours.open_transactions == 0
    errors = [reading.error.error_code if reading.error else None for reading in readings]
    assert set(errors) == {None, "timeout"}
    assert 60 < errors.count(None) < 80


async def test_a_poll_that_is_cancelled_leaves_nothing_on_its_way():
    async with Responder(mixed(20), behaviour=silent) as device, network(timeout_seconds=30) as ours:
        poll = asyncio.create_task(ours.read_points(device.device, tuple(device.points())))
        await device.asked.wait()
        poll.cancel()
        with pytest.raises(asyncio.CancelledError):
            await poll
        assert ours.open_transactions == 0
        device.behaviour = polite
        assert len(await ours.read_points(device.device, tuple(device.points()))) == 60


async def test_a_silent_device_is_unreachable_after_the_tries_of_one_request():
    async with Responder(mixed(30), behaviour=silent) as device, network(timeout_seconds=0.05) as ours:
        with pytest.raises(DeviceUnreachable):
            await ours.read_points(device.device, tuple(device.points()))
        assert len(device.requests) == 3


async def test_a_poll_that_is_cancelled_after_an_answer_it_could_not_take_leaves_no_value_of_it():
    """The first reply comes again: it is not taken for what is known."""
    spoil = False
    going_on = asyncio.Event()

    def behaviour(device, request):
        answer = polite(device, request)
        if not spoil:
            return answer
        going_on.set()
        return [] if len(device.requests) > asked else [answer[0].replace(b"\x91\x00\x29\x51", b"\x97\x00\x29\x51")]

    async with Responder({(0, 1): analog(1.0), (0, 2): analog(2.0)}, behaviour=behaviour) as device, network() as ours:
        points = tuple(device.points())
        first = await ours.read_points(device.device, points)
        asked, spoil = len(device.requests) + 1, True
        device.objects[0, 1] = analog(77.0)
        reading = asyncio.create_task(ours.read_points(device.device, points))
        await going_on.wait()
        await asyncio.sleep(0.05)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        spoil = False
        device.objects[0, 1] = analog(1.0)
        again = await ours.read_points(device.device, points)
        assert [each[2:4] for each in again] == [each[2:4] for each in first]
