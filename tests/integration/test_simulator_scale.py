"""Two hundred simulated controllers."""

import asyncio
import socket
import time
from contextlib import closing

import pytest

from bms_iot.simulator import SimulatedBuilding

DEVICES, POINTS = 200, 50


@pytest.mark.parametrize("fronts", [False, True], ids=["owning their addresses", "behind fronts"])
async def test_two_hundred_devices_start_soon_and_all_answer(fronts):
    began = time.monotonic()
    async with SimulatedBuilding(port=0, devices=DEVICES, points=POINTS, fronts=fronts, tick_seconds=None) as building:
        assert time.monotonic() - began < 60
        assert [len(device.objects) for device in building.devices] == [POINTS] * DEVICES
        loop = asyncio.get_running_loop()
        found: set[tuple[int, str]] = set()
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as udp:
            udp.setblocking(False)
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            udp.bind(("127.0.0.1", 0))
            async with asyncio.timeout(30):
                await loop.sock_sendto(udp, bytes.fromhex("810b0008 0100 1008"), (building.broadcast, building.port))
                while len(found) < DEVICES:
                    octets, (host, _) = await loop.sock_recvfrom(udp, 2048)
                    found.add((int.from_bytes(octets[9:13], "big") & 0x3FFFFF, host))
                for device in building.devices:
                    request = bytes.fromhex("810a0011 0104 0005 01 0c 0c00000001 1955")
                    await loop.sock_sendto(udp, request, (device.address.host, building.port))
                    octets, (host, _) = await loop.sock_recvfrom(udp, 2048)
                    assert (host, octets[6:9]) == (device.address.host, b"\x30\x01\x0c")
        assert found == {(device.instance, device.address.host) for device in building.devices}


async def test_a_tick_of_many_devices_changes_some_at_a_time_and_all_in_turn():
    async with SimulatedBuilding(port=0, devices=60, points=50, test_mode=True, tick_seconds=None) as building:
        await building.tick()
        first = building._next_to_write
        assert 0 < first < 60
        await building.tick()
        assert first < building._next_to_write < 60
