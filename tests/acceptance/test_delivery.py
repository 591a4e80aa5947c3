"""From the controllers to an independent consumer: nothing lost, nothing twice, nothing under the wrong point."""

import asyncio
import os

import pytest

from tests.acceptance import history
from tests.acceptance.site import open_site

pytestmark = pytest.mark.system
SECONDS = float(os.environ.get("BMS_TEST_SECONDS", "12"))
"""How long the flow is recorded."""


@pytest.mark.timeout(180 + SECONDS)
async def test_every_answered_read_arrives_once_under_the_right_point(tmp_path):
    async with open_site(tmp_path, test_mode=True) as site:
        await site.start()
        await site.until(lambda: bool(site.consumer.on("bulk")))
        await asyncio.sleep(SECONDS)
        await site.send("stop_monitoring", {"commandId": "s1"})
        assert (await site.answer("stop_monitoring", "s1"))["success"] is True
        await site.until(lambda: not site.waiting())
        assert await site.stop() == 0
        bulk = site.consumer.on("bulk")
        history.assert_gapless(bulk)
        expected = history.answered(tmp_path / "answers.jsonl")
        assert len(expected) == sum(len(device.objects) for device in site.building.devices) >= 250
        assert min(map(len, expected.values())) >= SECONDS / 2
        assert history.arrived(bulk) == expected


@pytest.mark.timeout(240)
async def test_a_killed_gateway_loses_no_committed_message_and_repeats_no_boot(tmp_path):
    async with open_site(tmp_path) as site:
        committed: set[tuple[int, int]] = set()
        for kill in range(3):
            await site.start()
            await site.until(lambda: len({message["boot"] for message in site.consumer.on("bulk")}) == kill + 1)  # noqa: B023
            await site.broker.stop()
            await asyncio.sleep(2.5)
            await site.kill()
            committed |= set(site.waiting())
            await site.broker.start()
        await site.start()
        await site.until(lambda: len({message["boot"] for message in site.consumer.on("bulk")}) == 4)
        await site.until(lambda: committed <= history.messages(site.consumer.on("bulk")).keys())
        assert await site.stop() == 0
        bulk = site.consumer.on("bulk")
        assert len(committed) >= 3
        assert committed <= history.messages(bulk).keys()
        history.assert_gapless(bulk)
        boots = list(
            dict.fromkeys(message["boot"] for message in site.consumer.on("status/update") if message["state"] == "online")
        )
        assert len(boots) == len(set(boots)) == 4
        assert boots == sorted(boots)


@pytest.mark.timeout(120)
async def test_the_last_will_says_offline_after_a_kill_and_a_clean_stop_says_shutdown(tmp_path):
    async with open_site(tmp_path) as site:
        await site.start()
        await site.until(lambda: bool(site.consumer.on("bulk")))
        await site.kill()
        await site.until(lambda: site.consumer.on("status/update")[-1]["state"] == "offline")
        assert site.consumer.on("status/update")[-1]["reason"] == "lost"
        await site.start()
        await site.until(lambda: site.consumer.on("status/update")[-1]["state"] == "online")
        started = asyncio.get_running_loop().time()
        assert await site.stop() == 0
        assert asyncio.get_running_loop().time() - started < 5
        await site.until(lambda: site.consumer.on("status/update")[-1]["state"] == "offline")
        states = [(message["state"], message.get("reason")) for message in site.consumer.on("status/update")]
        assert states == [("online", None), ("offline", "lost"), ("online", None), ("offline", "shutdown")]


@pytest.mark.timeout(120)
async def test_the_gateway_starts_and_polls_with_the_broker_down_and_delivers_when_it_comes(tmp_path):
    async with open_site(tmp_path) as site:
        await site.broker.stop()
        await site.start()
        await site.until(lambda: len(site.waiting()) > 10)
        await site.broker.start()
        await site.until(lambda: not site.waiting() or len(site.consumer.on("bulk")) > 20)
        assert await site.stop() == 0
        history.assert_gapless(site.consumer.on("bulk"))
