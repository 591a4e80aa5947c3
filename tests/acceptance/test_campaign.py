"""A site that is disturbed at random keeps I1 to I4: killed brokers and gateways, and a network that drops, delays, holds and cuts.

`BMS_CHAOS_LEVEL=nightly` disturbs it as often as releases need; a printed seed (`BMS_CHAOS_SEED`) repeats the choices.
"""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from tests.acceptance.campaign import Amqtt, Plan, mosquitto, open_campaign
from tests.chances import at_level, seeded

pytestmark = pytest.mark.system
PLANS = {
    "mosquitto": Plan(
        broker_kills=at_level(change=2, nightly=20, release=80),
        gateway_kills=at_level(change=2, nightly=30, release=120),
        each_fault=at_level(change=1, nightly=10, release=40),
        commands=at_level(change=6, nightly=60, release=240),
    ),
    "amqtt": Plan(
        broker_kills=at_level(change=1, nightly=20, release=80),
        gateway_kills=at_level(change=1, nightly=30, release=120),
        each_fault=at_level(change=1, nightly=10, release=40),
        commands=at_level(change=3, nightly=60, release=240),
    ),
}


@pytest.mark.timeout(at_level(change=240, nightly=3600, release=14_400))
@pytest.mark.parametrize("kind", PLANS)
async def test_what_was_committed_arrives_and_commands_happen_once_whatever_is_killed_or_cut(tmp_path, kind):
    chance = seeded(kind)
    async with (
        mosquitto(tmp_path) if kind == "mosquitto" else Amqtt() as broker,
        open_campaign(tmp_path, broker, chance) as campaign,
    ):
        await campaign.run(PLANS[kind])
    await judge(tmp_path, campaign.database, kind)


async def judge(directory: Path, database: Path, kind: str) -> None:
    """By the checker, as the program it is."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.acceptance.checker", directory, "--database", database,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert not err.decode()
    print(kind, out.decode())
    figures = json.loads(out)
    assert figures["broken"] == []
    assert process.returncode == 0
    assert figures["boots"] >= 2
    assert figures["writes"] >= 1
