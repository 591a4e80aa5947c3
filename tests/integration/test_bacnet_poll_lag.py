"""Ill-mannered devices do not slow the others: ten of them beside well-mannered ones, polled on time over real UDP."""

import asyncio
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from bms_iot.bacnet import BacnetNetwork
from bms_iot.domain.readings import Reading
from bms_iot.errors import BacnetError
from bms_iot.simulator import SimulatedBuilding
from tests.chances import at_level, seeded
from tests.integration.ill_manners import EXPECTED, RIGHT, check, network, points_of, read

WELL_MANNERED, RUDE = 8, 10
INTERVAL_SECONDS = 0.5
POLLS = 14
TICK_SECONDS = 0.35
TIMEOUT_SECONDS = 0.3
MOVES_SECONDS = 2.0

SAID = {"i-am-storm": "i-am-storm=2000", "moved-address": f"moved-address={MOVES_SECONDS:g}", "late-answers=1": "late-answers=2"}


@dataclass
class Watch:
    """What came of the polls."""

    lags: list[float] = field(default_factory=list)
    outcomes: int = 0

    def p99(self) -> float:
        return sorted(self.lags)[math.ceil(0.99 * len(self.lags)) - 1]


async def poll(building: SimulatedBuilding, ours: BacnetNetwork, k: int, watch: Watch) -> None:
    """Poll device `k` (from 1) on time and check every outcome; the lag is from when it was due until it was there."""
    device = building.devices[k - 1]
    points = points_of(device)
    expected = EXPECTED[rudeness(device.manners)] if device.manners else RIGHT
    loop = asyncio.get_running_loop()
    begun = loop.time()
    # Each in its own place within the interval, as the schedule spreads them.
    due = begun + INTERVAL_SECONDS * k / len(building.devices)
    for _ in range(POLLS):
        await asyncio.sleep(max(0.0, due - loop.time()))
        ticks = building.ticks
        outcome = await read(ours, points)
        watch.lags.append(loop.time() - due)
        moved = device.manners.startswith("moved-address") and loop.time() - begun > MOVES_SECONDS - 2
        if not (moved and is_failure(outcome)):
            check(building, k, outcome, range(max(0, ticks - 1), building.ticks + 1), expected)
        watch.outcomes += 1
        due = max(due + INTERVAL_SECONDS, loop.time()) if device.manners else due + INTERVAL_SECONDS


def is_failure(outcome: Sequence[Reading] | BacnetError) -> bool:
    return isinstance(outcome, BacnetError) or all(reading.error is not None for reading in outcome)


def rudeness(words: str) -> str:
    """The words of the table for those of the device."""
    return next((known for known, said in SAID.items() if said == words), words)


async def discover(building: SimulatedBuilding, ours: BacnetNetwork, k: int) -> None:
    """What a discovery asks an ill-mannered device for, meanwhile."""
    device = building.devices[k - 1]
    await ours.who_is(address=device.address, wait_seconds=0.5)
    with suppress(BacnetError):
        found = await ours.read_object_list(points_of(device)[0].device)
        assert len(found.objects) <= 50_000 + len(device.objects)


async def tick(building: SimulatedBuilding) -> None:
    while True:
        await asyncio.sleep(TICK_SECONDS)
        await building.tick()


WORST = (
    "silent",
    "slow=0.2",
    "late-answers=2",
    "lost-answers",
    "wrong-invoke-ids",
    "wrong-service",
    "drops-big-requests",
    "i-am-storm=2000",
    "many-objects",
    "truncated-answers",
)
"""The ten that cost the most time, sockets or answers."""


async def test_the_worst_ten_cost_the_others_less_than_an_interval() -> None:
    await poll_beside(WORST, seeded("poll lag, worst").randrange(2**32))


@pytest.mark.parametrize("draw", range(at_level(change=1, nightly=50, release=500)))
async def test_any_ten_ill_mannered_devices_cost_the_others_less_than_an_interval(draw: int) -> None:
    chance = seeded(f"poll lag {draw}")
    manners = [SAID.get(words, words) for words in chance.sample(sorted(EXPECTED), RUDE)]
    await poll_beside(manners, chance.randrange(2**32))


async def poll_beside(manners: Sequence[str], seed: int) -> None:
    """Poll well-mannered devices beside these; right values or right errors of all, and the well-mannered ones in time."""
    print("ill-mannered:", *manners)
    async with (
        SimulatedBuilding(
            devices=WELL_MANNERED,
            points=36,
            ill_mannered=manners,
            port=0,
            test_mode=True,
            tick_seconds=None,
            seed=seed,
        ) as building,
        network(timeout_seconds=TIMEOUT_SECONDS, broadcast_port=building.port) as ours,
    ):
        well, rude = Watch(), Watch()
        ticking = asyncio.create_task(tick(building))
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for k in range(1, len(building.devices) + 1):
                group.create_task(poll(building, ours, k, well if k <= WELL_MANNERED else rude))
                if k > WELL_MANNERED:
                    group.create_task(discover(building, ours, k))
        ticking.cancel()
        await asyncio.wait([ticking])
        assert len(well.lags) == WELL_MANNERED * POLLS
        assert well.p99() < INTERVAL_SECONDS, (manners, well.p99())
        assert rude.outcomes == RUDE * POLLS
        assert ours.open_transactions == 0
