"""Mutated frames towards our sockets: no hang, nothing raised, no value under the wrong point, memory flat."""

import asyncio
import gc
import hashlib
import tracemalloc
from collections.abc import Sequence
from random import Random

import pytest

from bms_iot.bacnet import BacnetNetwork
from bms_iot.bacnet.values.text import number_text
from bms_iot.domain.readings import Quality, Reading
from bms_iot.errors import BacnetError
from tests.chances import at_level, seeded
from tests.integration.bacnet_responder import Objects, Request, Responder, analog, frame, polite
from tests.integration.ill_manners import network
from tests.mutations import Mutator

FRAMES = at_level(change=20_000, nightly=1_000_000, release=10_000_000)
DEVICES, OBJECTS = 4, 30
MOST_FRAMES_FOR_ONE = 10
FLAT_OCTETS = 1_500_000
ROUND_SECONDS = 20

OTHERS = tuple(
    bytes.fromhex(octets)
    for octets in (
        "810b000c 0120ffff00ff 1008",
        "810a000a 0100 2001 0f",
        "810a000d 0100 50010c 9102 9120",
        "810a0009 0100 600109",
        "810a0009 0100 710104",
        "810a000a 0100 40010001",
        "810a0018 0100 38010004 0c 0c00800001 1955 3e4441ad999a3f",
        "810a0011 0100 3c010104 0e 0102030405",
        "810a0014 0100 1000 c402000fa1 2201e0 9103 210f",
        "810a002f 0100 1002 0912 1c02000fa1 2c00800001 3903 4e 0955 2e4441ad999a2f 096f 2e8204002f 4f",
        "810a002d 0104 0005 0701 0912 1c02000fa1 2c00800001 3903 4e 0955 2e4441ad999a2f 096f 2e8204002f 4f",
        "81000006 0000",
        "810b000a 0180 01 0005 0006",
        "810b0009 0180 03 01 0005",
        "8104000e 7f000309bac0 0100 1008",
        "810a0012 0108 0005 01 07 30010c 0c00800001",
    )
)
"""Datagrams of other kinds; those whose length is wrong are so on purpose."""


def own_value(device: int, instance: int) -> float:
    """A number that no mutation of another one is likely to be."""
    return float(int.from_bytes(hashlib.sha256(f"{device}/{instance}".encode()).digest()[:3], "big"))


def objects_of(device: int) -> Objects:
    return {(2, instance): analog(own_value(device, instance)) for instance in range(1, OBJECTS + 1)}


class Hostile:
    """Answers of one device: wrong frames before the right one. It counts them."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._mutator = Mutator(chance)
        self._seen: list[bytes] = list(OTHERS)
        self.frames = 0
        self.hostile = True

    def __call__(self, device: Responder, request: Request) -> Sequence[bytes]:
        right = frame(device.answer(request))
        if not self.hostile:
            return [right]
        self._seen.append(right)
        del self._seen[len(OTHERS) : -32]
        how_many = self._chance.randrange(0, MOST_FRAMES_FOR_ONE)
        answers = [self._mutator.mutated(self._chance.choice((right, *self._seen))) for _ in range(how_many)]
        answers += [self._mutator.mutated(right) for _ in range(how_many // 2)]
        self._chance.shuffle(answers)
        self.frames += len(answers)
        return [*answers, right] if self._chance.random() < 0.9 else answers


async def read(ours: BacnetNetwork, device: Responder, *, optional: bool) -> Sequence[Reading]:
    try:
        async with asyncio.timeout(ROUND_SECONDS):
            return await ours.read_points(device.device, device.points(), optional=optional)
    except BacnetError:
        return []


def check_not_mixed_up(readings: Sequence[Reading], device: int, texts: dict[str, tuple[int, int]]) -> int:
    """How many had their own value; raises AssertionError when a reading has the value of another point."""
    own = 0
    for instance, reading in enumerate(readings, start=1):
        belongs_to = texts.get(reading.present_value or "")
        assert belongs_to in (None, (device, instance)), (reading, belongs_to)
        assert (reading.present_value is None) == (reading.error is not None)
        own += belongs_to is not None
    return own


@pytest.mark.timeout(60 + FRAMES / 500)
async def test_mutated_answers_hang_nothing_raise_nothing_and_mix_nothing_up() -> None:
    chance = seeded("mutated answers")
    texts = {
        number_text(own_value(device, instance)): (device, instance)
        for device in range(DEVICES)
        for instance in range(1, OBJECTS + 1)
    }
    hostile = [Hostile(chance) for _ in range(DEVICES)]
    raised: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context))
    devices = [Responder(objects_of(device), instance=4001 + device, behaviour=hostile[device]) for device in range(DEVICES)]
    for device in devices:
        await device.__aenter__()
    own = before = rounds = 0
    try:
        async with network(timeout_seconds=0.05) as ours:
            tracemalloc.start()
            while (frames := sum(each.frames for each in hostile)) < FRAMES:
                optional = chance.random() < 0.1
                came = await asyncio.gather(*(read(ours, device, optional=optional) for device in devices))
                own += sum(check_not_mixed_up(readings, device, texts) for device, readings in enumerate(came))
                assert ours.open_transactions == 0
                rounds += 1
                for responder in devices:
                    responder.requests.clear()
                if before == 0 and frames > FRAMES / 4:
                    gc.collect()
                    before, _ = tracemalloc.get_traced_memory()
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            for each in hostile:
                each.hostile = False
            for number, responder in enumerate(devices):
                readings = await read(ours, responder, optional=False)
                assert check_not_mixed_up(readings, number, texts) == OBJECTS
                assert {reading.quality for reading in readings} == {Quality.GOOD}
            assert ours.open_transactions == 0
            assert ours.counters.malformed > FRAMES / 100
    finally:
        for device in devices:
            await device.__aexit__()
    print(f"{frames} frames, {rounds} rounds, {own} right values, {after - before} octets more")
    assert raised == []
    assert own > rounds
    assert after - before < FLAT_OCTETS


async def test_frames_nobody_asked_for_are_counted_and_leave_everything_as_it_was() -> None:
    chance = seeded("unasked frames")
    mutator = Mutator(chance)
    raised: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context))
    async with Responder(objects_of(0), behaviour=polite) as device, network(timeout_seconds=0.5) as ours:
        for _ in range(at_level(change=5_000, nightly=250_000, release=2_500_000) // 50):
            for _ in range(50):
                device.send(mutator.mutated(chance.choice(OTHERS)), ours.address)
            await asyncio.sleep(0)
        readings = await ours.read_points(device.device, device.points())
        assert [reading.present_value for reading in readings] == [
            number_text(own_value(0, instance)) for instance in range(1, OBJECTS + 1)
        ]
        assert ours.counters.datagrams > 1000
        assert ours.open_transactions == 0
    assert raised == []
