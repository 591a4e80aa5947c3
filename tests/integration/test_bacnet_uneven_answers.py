"""Answers to ReadPropertyMultiple that say more, less or something else than was asked: the right values all the same."""

import itertools
from collections.abc import Callable

import pytest

from bms_iot.bacnet.edge import BacnetNetwork
from bms_iot.bacnet.values.text import number_text
from bms_iot.domain.readings import Quality
from tests.integration.bacnet_responder import Objects, Request, Responder, SystemClock, analog, frame, object_id

MULTIPLE = 14
ABOUT_ONE = ((1, 31), (2, 32), (2, 27))
EXTRA_PROPERTY = b"\x29\x4d\x4e\x73\x00ab\x4f"
VENDOR_PROPERTY = b"\x2c\x00\x40\x00\x01\x4e\x21\x05\x4f"

Uneven = Callable[[bytes], bytes]
"""The results of one answer, as an ill-mannered device sends them: the objects' octets."""


def network() -> BacnetNetwork:
    return BacnetNetwork(host="127.0.0.1", port=0, clock=SystemClock(), timeout_seconds=0.3)


def objects(count: int) -> Objects:
    return {(0, instance): analog(instance + 0.5) for instance in range(1, count + 1)}


def groups(request: Request) -> list[Request]:
    """The same request, object by object."""
    return [
        Request(invoke_id=request.invoke_id, service=request.service, asked=tuple(asked))
        for _, asked in itertools.groupby(request.asked, key=lambda asked: asked[0])
    ]


def uneven(spoil: Callable[[list[bytes]], list[bytes]]) -> Callable[[Responder, Request], list[bytes]]:
    def behaviour(device: Responder, request: Request) -> list[bytes]:
        if request.service != MULTIPLE:
            return [frame(device.answer(request))]
        each = [device.answer(one)[3:] for one in groups(request)]
        return [frame(bytes((0x30, request.invoke_id, MULTIPLE)) + b"".join(spoil(each)))]

    return behaviour


MANNERS: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "every object twice": lambda each: [one for one in each for _ in range(2)],
    "a property nobody asked for": lambda each: [one[:-1] + EXTRA_PROPERTY + b"\x1f" for one in each],
    "a vendor's property of a large number": lambda each: [one[:6] + VENDOR_PROPERTY + one[6:] for one in each],
    "an object nobody asked for": lambda each: [*each, b"\x0c" + object_id(0, 4000) + b"\x1e" + EXTRA_PROPERTY + b"\x1f"],
    "the first object only": lambda each: each[:1],
    "another order": lambda each: each[::-1],
    "an octet too many": lambda each: [*each, b"\x00"],
    "nothing": lambda _each: [],
    "an index that was not asked for": lambda each: [one.replace(b"\x4e", b"\x39\x01\x4e") for one in each],
}


@pytest.mark.parametrize("manner", MANNERS)
async def test_every_value_is_read_of_a_device_whose_answers_have(manner: str) -> None:
    async with Responder(objects(40), behaviour=uneven(MANNERS[manner])) as device, network() as ours:
        points = device.points()
        for _ in range(3):
            readings = await ours.read_points(device.device, points)
            assert [reading.present_value for reading in readings] == [number_text(n + 0.5) for n in range(1, 41)]
            assert {reading.quality for reading in readings} == {Quality.GOOD}
        assert ours.open_transactions == 0


async def test_a_value_that_is_there_twice_and_not_the_same_is_asked_for_alone() -> None:
    def twice(each: list[bytes]) -> list[bytes]:
        return [*each, each[0].replace(b"\x55\x4e\x44\x3f", b"\x55\x4e\x44\x41")]

    async with Responder(objects(3), behaviour=uneven(twice)) as device, network() as ours:
        readings = await ours.read_points(device.device, device.points())
        assert [reading.present_value for reading in readings] == ["1.5", "2.5", "3.5"]


async def test_a_device_that_cuts_long_answers_is_asked_for_less_at_once() -> None:
    def cut(device: Responder, request: Request) -> list[bytes]:
        return [frame(device.answer(request)[:60])]

    async with Responder(objects(80), behaviour=cut) as device, network() as ours:
        for _ in range(2):
            readings = await ours.read_points(device.device, device.points())
            assert {reading.quality for reading in readings} == {Quality.GOOD}


@pytest.mark.parametrize("error", ABOUT_ONE)
async def test_a_whole_batch_refused_for_one_object_does_not_make_the_batches_smaller_for_good(error: tuple[int, int]) -> None:
    def refuse(device: Responder, request: Request) -> list[bytes]:
        if request.service == MULTIPLE and any(asked[0] == (0, 7) for asked in request.asked):
            return [frame(bytes((0x50, request.invoke_id, MULTIPLE, 0x91, error[0], 0x91, error[1])))]
        return [frame(device.answer(request))]

    async with Responder(objects(40), behaviour=refuse) as device, network() as ours:
        counts = []
        for _ in range(4):
            before = len(device.requests)
            readings = await ours.read_points(device.device, device.points())
            assert {reading.quality for reading in readings} == {Quality.GOOD}
            counts.append(len(device.requests) - before)
        assert counts[3] <= counts[0]


@pytest.mark.parametrize("parameters", ["9102911f", "0902191f", "0e9102911f0f", "9501029501 1f", "0e0902191f0f"])
async def test_class_and_code_of_an_error_are_read_in_whatever_tags_they_come(parameters: str) -> None:
    octets = bytes.fromhex(parameters)

    def wrong(device: Responder, request: Request) -> list[bytes]:
        if request.service != MULTIPLE:
            return [frame(bytes((0x50, request.invoke_id, request.service)) + octets)]
        return [frame(device.answer(request).replace(b"\x5e\x91\x02\x91\x1f\x5f", b"\x5e" + octets + b"\x5f"))]

    spoilt = objects(1)
    spoilt[0, 1][85] = (2, 31)  # type: ignore[assignment]
    async with Responder(spoilt, behaviour=wrong) as device, network() as ours:
        (reading,) = await ours.read_points(device.device, device.points())
        assert reading.error is not None
        assert (reading.error.error_class, reading.error.error_code) == ("property", "unknown-object")
