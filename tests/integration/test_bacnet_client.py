"""Requests on real UDP: their order, their retries, and what is left when nobody waits for them any more."""

import asyncio
from collections.abc import Sequence

import pytest

from bms_iot.bacnet.network.npdu import Station
from bms_iot.bacnet.services.reading import PropertyReference, encode_read_property
from bms_iot.bacnet.transactions.client import Client
from bms_iot.bacnet.values.codec import ObjectId
from bms_iot.errors import DeviceUnreachable
from tests.integration.bacnet_responder import Request, Responder, analog, frame, free_port, silent


def reading(instance: int) -> bytes:
    return encode_read_property(PropertyReference(ObjectId(2, instance), 85))


def asked(device: Responder) -> list[int]:
    return [request.asked[0][0][1] for request in device.requests]


def analogs(count: int) -> Responder:
    return Responder({(2, instance): analog(float(instance)) for instance in range(1, count + 1)})


async def test_a_write_goes_ahead_of_the_polls_that_wait_for_the_same_device() -> None:
    async with analogs(5) as device, Client(host="127.0.0.1", port=free_port()) as ours:
        station = Station(device.host, device.port)
        polls = [ours.transact(station, reading(instance)) for instance in (1, 2, 3)]
        writes = [ours.transact(station, reading(instance), urgent=True) for instance in (4, 5)]
        await asyncio.gather(*polls, *writes)
    assert asked(device) == [1, 4, 5, 2, 3]


async def test_a_write_does_not_wait_for_a_place_among_all_that_is_on_its_way() -> None:
    async with analogs(1) as device, Client(host="127.0.0.1", port=free_port(), in_flight_total=1) as ours:
        device.behaviour = silent
        async with analogs(1) as other:
            poll = asyncio.create_task(ours.transact(Station(device.host, device.port), reading(1)))
            await device.asked.wait()
            waiting = asyncio.create_task(ours.transact(Station(other.host, other.port), reading(1)))
            await asyncio.wait_for(ours.transact(Station(other.host, other.port), reading(1), urgent=True), 0.2)
            for task in (poll, waiting):
                task.cancel()
            await asyncio.gather(poll, waiting, return_exceptions=True)
        assert ours.open_transactions == 0


async def test_retries_wait_longer_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what was lost together is not sent together again."""
    monkeypatch.setattr("bms_iot.bacnet.transactions.sending.JITTER", 1.0)
    monkeypatch.setattr("bms_iot.bacnet.transactions.sending.random.random", lambda: 1.0)
    async with analogs(1) as device, Client(host="127.0.0.1", port=free_port(), timeout_seconds=0.1, tries=3) as ours:
        device.behaviour = silent
        started = asyncio.get_running_loop().time()
        with pytest.raises(DeviceUnreachable):
            await ours.transact(Station(device.host, device.port), reading(1))
        assert asyncio.get_running_loop().time() - started >= 0.1 + 2 * 0.2
        assert len(device.requests) == 3


async def test_a_request_nobody_waits_for_any_more_gives_its_place_to_the_next() -> None:
    async with analogs(2) as device, Client(host="127.0.0.1", port=free_port(), timeout_seconds=30) as ours:
        device.behaviour = silent
        station = Station(device.host, device.port)
        abandoned = asyncio.create_task(ours.transact(station, reading(1)))
        await device.asked.wait()
        device.behaviour = Responder.behaviour
        following = asyncio.create_task(ours.transact(station, reading(2)))
        await asyncio.sleep(0)
        abandoned.cancel()
        await asyncio.wait_for(following, 1)
        assert ours.open_transactions == 0


async def test_an_answer_forwarded_by_a_bbmd_is_none() -> None:
    """Its origin could be anybody's claim."""

    def forged_and_real(device: Responder, request: Request) -> Sequence[bytes]:
        real = device.answer(request)
        origin = bytes(map(int, device.host.split("."))) + device.port.to_bytes(2, "big")
        forged = origin + b"\x01\x00" + real[:-2] + b"\xff" + real[-1:]
        return [b"\x81\x04" + (len(forged) + 4).to_bytes(2, "big") + forged, frame(real)]

    async with analogs(1) as device, Client(host="127.0.0.1", port=free_port()) as ours:
        device.behaviour = forged_and_real
        answer = await ours.request(Station(device.host, device.port), reading(1))
        assert b"\x44\x3f\x80\x00\x00" in answer
        assert ours.counters.foreign == 1


async def test_a_request_of_the_device_that_is_cut_off_does_not_fail_what_it_is_asked() -> None:
    cut_off = [frame(apdu) for apdu in (b"\x10", b"\x00", b"\x0c\x05\x01")]

    def behaviour(device: Responder, request: Request) -> Sequence[bytes]:
        return [*cut_off, frame(device.answer(request))]

    async with analogs(1) as device, Client(host="127.0.0.1", port=free_port()) as ours:
        device.behaviour = behaviour
        await ours.request(Station(device.host, device.port), reading(1))
        assert ours.counters.malformed == len(cut_off)
