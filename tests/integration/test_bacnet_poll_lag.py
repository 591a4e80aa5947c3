"""Ill-mannered devices do not slow the others: ten of them beside well-mannered ones, polled on time over real UDP."""

import asyncio
import math
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

from bms_iot.bacnet import BacnetNetwork
from bms_iot.domain.points import DeviceAddress
from bms_iot.domain.readings import Reading
from bms_iot.errors import BacnetError
from bms_iot.simulator import Encoding, SimulatedBuilding, SimulatedDevice
from bms_iot.simulator.described import describe, host_of
from bms_iot.simulator.devices import ill_mannered_devices
from tests.chances import at_level, seeded
from tests.integration.ill_manners import EXPECTED, RIGHT, Simulated, check, network, points_of, read

WELL_MANNERED, RUDE = 8, 10
INTERVAL_SECONDS = 1.0
POLLS, POLLS_OF_RUDE = 8, 4
TICK_SECONDS = 0.35
MANY_TICKS = 90
"""More than the other process makes in a test; it does not say which it is at."""
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


async def poll(building: Simulated, ours: BacnetNetwork, k: int, watch: Watch, ticks_of: Callable[[], int]) -> None:
    """Poll device `k` (from 1) on time and check every outcome; the lag is from when it was due until it was there."""
    device = building.devices[k - 1]
    points = points_of(device)
    expected = EXPECTED[rudeness(device.manners)] if device.manners else RIGHT
    loop = asyncio.get_running_loop()
    begun = loop.time()
    # Each in its own place within the interval, as the schedule spreads them.
    due = begun + INTERVAL_SECONDS * k / RUDE
    for _ in range(POLLS_OF_RUDE if device.manners else POLLS):
        await asyncio.sleep(max(0.0, due - loop.time()))
        ticks = ticks_of()
        outcome = await read(ours, points)
        watch.lags.append(loop.time() - due)
        moved = device.manners.startswith("moved-address") and loop.time() - begun > MOVES_SECONDS - 2
        if not (moved and is_failure(outcome)):
            check(building, k, outcome, range(0 if device.manners else max(0, ticks - 1), ticks_of() + 1), expected)
        watch.outcomes += 1
        due = max(due + INTERVAL_SECONDS, loop.time()) if device.manners else due + INTERVAL_SECONDS


def is_failure(outcome: Sequence[Reading] | BacnetError) -> bool:
    return isinstance(outcome, BacnetError) or all(reading.error is not None for reading in outcome)


def rudeness(words: str) -> str:
    """The words of the table for those of the device."""
    return next((known for known, said in SAID.items() if said == words), words)


async def discover(building: Simulated, ours: BacnetNetwork, k: int) -> None:
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


@dataclass(frozen=True, kw_only=True)
class Rude:
    """Ill-mannered devices of another process, so that what is measured is what they do to us and not to their own event loop."""

    devices: tuple[SimulatedDevice, ...]
    encoding: Encoding
    port: int


@asynccontextmanager
async def rude_ones(manners: Sequence[str], seed: int) -> AsyncIterator[Rude]:
    options = [option for words in manners for option in ("--ill-mannered", words)]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bms_iot", "simulate", "--devices", "0", "--port", "0", "--test-mode", "--seed", str(seed)),
        *options,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stderr is not None
        first = (await process.stderr.readline()).decode()
        assert "answer on UDP port" in first, first
        port = int(first.split("UDP port ")[1].split(";")[0])
        specifications = ill_mannered_devices(manners)
        yield Rude(
            devices=tuple(
                describe(2001 + n, DeviceAddress(host=host_of(1 + n), port=port), specification)
                for n, specification in enumerate(specifications)
            ),
            encoding=Encoding.sized(devices=len(specifications), objects=len(specifications[0].points)),
            port=port,
        )
    finally:
        process.terminate()
        await process.communicate()


async def poll_beside(manners: Sequence[str], seed: int) -> None:
    """Poll well-mannered devices beside these; right values or right errors of all, and the well-mannered ones in time."""
    print("ill-mannered:", *manners)
    async with (
        rude_ones(manners, seed) as rude,
        SimulatedBuilding(devices=WELL_MANNERED, points=36, port=0, test_mode=True, tick_seconds=None, seed=seed) as building,
        network(timeout_seconds=TIMEOUT_SECONDS, broadcast_port=rude.port) as ours,
    ):
        of_well, of_rude = Watch(), Watch()
        ticking = asyncio.create_task(tick(building))
        try:
            async with asyncio.timeout(60), asyncio.TaskGroup() as group:
                for k in range(1, WELL_MANNERED + 1):
                    group.create_task(poll(building, ours, k, of_well, lambda: building.ticks))
                for k in range(1, len(manners) + 1):
                    group.create_task(poll(rude, ours, k, of_rude, lambda: MANY_TICKS))
                    group.create_task(discover(rude, ours, k))
        finally:
            ticking.cancel()
            await asyncio.wait([ticking])
        print(f"p99 lag {of_well.p99():.3f} s of {len(of_well.lags)} polls every {INTERVAL_SECONDS:g} s")
        assert len(of_well.lags) == WELL_MANNERED * POLLS
        assert of_well.p99() < INTERVAL_SECONDS, (manners, of_well.p99())
        assert of_rude.outcomes == RUDE * POLLS_OF_RUDE
        assert ours.open_transactions == 0
