"""Mutated segments and notifications: no hang, nothing raised, and afterwards everything as right as before."""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import replace
from random import Random

import pytest

from bms_iot.bacnet import BacnetNetwork
from bms_iot.domain.points import ObjectType, Point
from bms_iot.domain.readings import Reading
from bms_iot.domain.subscriptions import Coverage, CovTerms
from bms_iot.errors import BacnetError
from bms_iot.simulator.adversary.manner import Manner, Sending
from bms_iot.simulator.adversary.requests import Request
from tests.chances import at_level, seeded
from tests.integration.bacnet_devices import INSTANCE, adversary, client_network, point_of
from tests.mutations import Mutator

OBJECTS = 900
SEGMENT = 0x38
LISTS = at_level(change=40, nightly=4_000, release=40_000)
NOTIFICATIONS = at_level(change=10_000, nightly=500_000, release=5_000_000)
BOUND_SECONDS = 30
PATIENCE_SECONDS = 10


class MutatedSegments(Manner):
    """Sends wrong segments before right ones, and by chance instead of them; what comes in one piece is left alone."""

    def __init__(self, chance: Random) -> None:
        super().__init__(0, chance)
        self.mutator = Mutator(chance)
        self.is_hostile = True
        self.frames = 0

    def send(self, request: Request, sendings: Iterable[Sending]) -> Iterator[Sending]:
        for each in sendings:
            if not self.is_hostile or each.datagram[6] & 0xF8 != SEGMENT:
                yield each
                continue
            if self.chance.random() < 0.3:
                for _ in range(self.chance.randrange(1, 4)):
                    self.frames += 1
                    yield replace(each, datagram=self.mutator.mutated(each.datagram))
            if self.chance.random() < 0.95:
                yield each


@pytest.mark.timeout(60 + LISTS)
async def test_mutated_segments_hang_nothing_and_raise_nothing() -> None:
    chance = seeded("mutated segments")
    raised: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context))
    hostile = MutatedSegments(chance)
    whole = failed = 0
    async with adversary(hostile, words=f"many-objects={OBJECTS}") as (made, device):
        for _ in range(LISTS):
            made.window = chance.choice((1, 2, 7, 16))
            # A client of its own each time: one that failed would go on index by index.
            async with client_network(timeout_seconds=0.05) as ours:
                try:
                    async with asyncio.timeout(BOUND_SECONDS):
                        listed = await ours.read_object_list(device)
                except BacnetError:
                    failed += 1
                else:
                    whole += listed.complete
                assert ours.open_transactions == 0
        hostile.is_hostile = False
        async with client_network() as ours:
            listed = await ours.read_object_list(device)
            assert listed.complete
            assert len(listed.objects) == OBJECTS + 9
            assert ours.open_transactions == 0
    print(f"{hostile.frames} mutated, {whole} whole lists, {failed} failed, {LISTS} asked")
    assert raised == []
    assert hostile.frames > LISTS
    assert whole > 0


class Follower:
    """What a follower was told, and a way to wait for a value."""

    def __init__(self) -> None:
        self.told: dict[int, Reading] = {}
        self.coverage: dict[int, Coverage] = {}
        self.news = asyncio.Event()

    def deliver(self, reading: Reading) -> None:
        self.told[reading.point_id] = reading
        self.news.set()

    def report(self, point: Point, coverage: Coverage, _: str) -> None:
        self.coverage[point.id] = coverage
        self.news.set()

    async def until(self, points: list[Point], texts: list[str]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while [self.told[each.id].present_value if each.id in self.told else None for each in points] != texts:
                self.news.clear()
                await self.news.wait()


def notification(confirmed: bool, object_type: int, value: str) -> bytes:
    """One as the device sends it, by hand."""
    head = "0104 0005 0701" if confirmed else "0100 1002"
    device, monitored = (8 << 22 | INSTANCE).to_bytes(4, "big").hex(), (object_type << 22 | 1).to_bytes(4, "big").hex()
    body = f"{head} 0901 1c{device} 2c{monitored} 393c 4e 0955 2e {value} 2f 096f 2e 820400 2f 4f"
    octets = bytes.fromhex(body)
    return b"\x81\x0a" + (len(octets) + 4).to_bytes(2, "big") + octets


RIGHT = (
    notification(False, 0, "44 41ad999a"),
    notification(True, 0, "44 7fc00000"),
    notification(False, 3, "91 01"),
    notification(True, 3, "11"),
    notification(False, 13, "21 02"),
    notification(False, 13, "00"),
)


@pytest.mark.timeout(60 + NOTIFICATIONS / 500)
async def test_mutated_notifications_hang_nothing_and_raise_nothing_and_are_of_followed_points_only() -> None:
    chance = seeded("mutated notifications")
    mutator = Mutator(chance)
    raised: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context))
    async with adversary() as (made, device), client_network() as ours:
        points = [
            point_of(device, kind) for kind in (ObjectType.ANALOG_INPUT, ObjectType.BINARY_INPUT, ObjectType.MULTI_STATE_INPUT)
        ]
        follower = Follower()
        following = asyncio.create_task(
            ours.follow(device, points, CovTerms(lifetime_seconds=120), deliver=follower.deliver, report=follower.report)
        )
        try:
            await follower.until(points, ["21.5", "inactive", "1"])
            await flood(ours, made.udp.sendto, mutator, chance)
            assert not following.done()
            assert set(follower.told) == {point.id for point in points}
            for reading in follower.told.values():
                assert (reading.present_value is None) == (reading.error is not None)
            for position, value in ((0, 33.5), (3, True), (6, 3)):
                await made.set(position, value)
            await follower.until(points, ["33.5", "active", "3"])
        finally:
            following.cancel()
            await asyncio.wait([following])
        assert ours.counters.datagrams > NOTIFICATIONS / 2
        assert ours.open_transactions == 0
    assert raised == []


async def flood(ours: BacnetNetwork, send, mutator: Mutator, chance: Random) -> None:  # type: ignore[no-untyped-def]
    """Wrong notifications, from the device's own port; now and then a right one."""
    for n in range(NOTIFICATIONS):
        right = chance.choice(RIGHT)
        send(mutator.mutated(right) if chance.random() < 0.95 else right, ours.address)
        if n % 50 == 49:
            await asyncio.sleep(0)
