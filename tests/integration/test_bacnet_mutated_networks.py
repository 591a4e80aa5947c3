"""Mutated datagrams of routers, BBMDs and segmenting devices: nothing is raised, nothing hangs, nothing stays open."""

import asyncio
import random
import socket
from contextlib import suppress
from typing import Any

import pytest

from bms_iot.bacnet.network.foreign import Bbmd
from bms_iot.bacnet.network.npdu import Station, remote
from bms_iot.bacnet.services.reading import PropertyReference, encode_read_property
from bms_iot.bacnet.transactions.client import Client
from bms_iot.bacnet.values.codec import ObjectId
from bms_iot.errors import BacnetError

DATAGRAMS = 6_000
REQUEST = encode_read_property(PropertyReference(ObjectId(8, 1), 76))
SOUND = [
    bytes.fromhex(datagram)
    for datagram in (
        "810a0009 018001 07d1",  # I-Am-Router-To-Network
        "810a000a 018003 01 07d1",  # Reject-Message-To-Network: unreachable
        "810a000a 018003 02 07d1",  # … busy
        "810a0009 018004 07d1",  # Router-Busy-To-Network
        "810a0009 018005 07d1",  # Router-Available-To-Network
        "81000006 0000",  # BVLC-Result
        "81000006 0030",
        "81000006 0060",
        "810a0011 0108 07d1010a 3c000004 0c aa",  # segments from behind a router
        "810a0011 0108 07d1010a 3c000104 0c aa",
        "810a0011 0108 07d1010a 38000204 0c aa",
        "810a000c 0100 3c000010 0c aa",  # segments of our own network
        "810a000c 0100 3c000110 0c aa",
        "810a000c 0100 38000210 0c aa",
        "810a0009 0100 20000c",
        "810a0009 0100 710004",
        "8104000e 0a010203bac1 0100 1008",  # Forwarded-NPDU
        "810b0011 0120 ffff00ff 1000 c402000007",
        "810a000a 0100 40000001",
    )
]


def mutated(datagram: bytes, chance: random.Random) -> bytes:
    octets = bytearray(datagram)
    for _ in range(chance.randrange(4)):
        at = chance.randrange(4, len(octets)) if len(octets) > 4 else 0
        match chance.randrange(4):
            case 0:
                octets[at : at + 1] = bytes((chance.randrange(256),))
            case 1:
                del octets[at:]
            case 2:
                octets += chance.randbytes(chance.randrange(6))
            case 3:
                octets[at:at] = chance.randbytes(1)
    if chance.random() < 0.7:
        octets[2:4] = len(octets).to_bytes(2, "big")
    return bytes(octets)


@pytest.mark.parametrize("seed", [1, 2])
async def test_mutated_datagrams_leave_nothing_open(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("network.routers", "transactions.sending"):
        monkeypatch.setattr(f"bms_iot.bacnet.{module}.BUSY_SECONDS", 0.2)
    chance, raised = random.Random(seed), list[dict[str, Any]]()
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: raised.append(context))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.setblocking(False)
        peer.bind(("127.0.11.1", 0))
        here: tuple[str, int] = peer.getsockname()
        stations = [Station(*here), remote(2001, b"\x0a"), remote(7, b"\x01")]
        async with Client(
            host="127.0.11.2", port=0, timeout_seconds=0.1, tries=2, in_flight_per_device=4, bbmd=Bbmd(host=here[0], port=here[1])
        ) as ours:
            ended = 0

            async def ask(station: Station) -> None:
                nonlocal ended
                with suppress(BacnetError):
                    await ours.transact(station, REQUEST, segmented=chance.random() < 0.7, urgent=chance.random() < 0.1)
                ended += 1

            asked = []
            for number in range(DATAGRAMS):
                if number % 120 == 0:
                    asked.append(asyncio.create_task(ask(chance.choice(stations))))
                peer.sendto(mutated(chance.choice(SOUND), chance), ours.port.address)
                if number % 10 == 0:
                    await asyncio.sleep(0)
            async with asyncio.timeout(60):
                await asyncio.gather(*asked)
            assert ended == len(asked)
            assert ours.open_transactions == 0
            assert ours.counters.datagrams > DATAGRAMS / 2
    assert raised == []
