"""Devices that misbehave on request, seen from a plain UDP socket."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import pytest_asyncio

from bms_iot.simulator import Fault, SimulatedBuilding, SimulatedDevice

WHO_IS = bytes.fromhex("810a0008 0100 1008")
RPM_OF_AI_1 = "0e 0c00000001 1e 0955 091c 1f"
REPLY_SECONDS = 5.0
SILENCE_SECONDS = 0.3

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def building(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SimulatedBuilding]:
    log_path = tmp_path_factory.mktemp("faults") / "answers.jsonl"
    async with SimulatedBuilding(port=0, devices=3, points=30, tick_seconds=None, log_path=log_path) as started:
        yield started


@pytest.fixture
def device(building: SimulatedBuilding) -> Iterator[SimulatedDevice]:
    yield building.devices[1]
    building.clear_fault(building.devices[1].instance)


def confirmed(service_and_body: str, *, invoke_id: int = 7) -> bytes:
    apdu = bytes((0x00, 0x05, invoke_id)) + bytes.fromhex(service_and_body)
    return b"\x81\x0a" + (len(apdu) + 6).to_bytes(2, "big") + b"\x01\x04" + apdu


def object_list(device: SimulatedDevice, index: str = "") -> bytes:
    return confirmed(f"0c 0c{0x02000000 + device.instance:08x} 194c {index}")


def logged_reads(path: Path) -> int:
    return len(path.read_text().splitlines())


async def asked(device: SimulatedDevice, request: bytes, *, seconds: float = REPLY_SECONDS) -> bytes:
    """The APDU of the answer, empty when there was none in time."""
    loop = asyncio.get_running_loop()
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as udp:
        udp.setblocking(False)
        udp.bind(("127.0.0.1", 0))
        await loop.sock_sendto(udp, request, (device.address.host, device.address.port))
        try:
            async with asyncio.timeout(seconds):
                octets, _ = await loop.sock_recvfrom(udp, 2048)
        except TimeoutError:
            return b""
    assert int.from_bytes(octets[2:4], "big") == len(octets)
    return octets[6:]


async def test_a_silent_device_says_nothing_and_logs_nothing_while_the_others_answer(building, device):
    log_path = building.log_path
    building.set_fault(device.instance, Fault.SILENT)
    before = logged_reads(log_path)
    assert building.faults() == {device.instance: (Fault.SILENT,)}
    assert await asked(device, confirmed(RPM_OF_AI_1), seconds=SILENCE_SECONDS) == b""
    assert await asked(device, WHO_IS, seconds=SILENCE_SECONDS) == b""
    assert logged_reads(log_path) == before
    assert (await asked(building.devices[0], confirmed(RPM_OF_AI_1)))[0] == 0x30
    building.clear_fault(device.instance)
    assert (await asked(device, confirmed(RPM_OF_AI_1)))[0] == 0x30


async def test_a_slow_device_answers_late_and_its_answer_is_logged_when_it_leaves(building, device):
    log_path = building.log_path
    building.set_fault(device.instance, Fault.SLOW, seconds=0.5)
    before, began = logged_reads(log_path), time.monotonic()
    waiting = asyncio.create_task(asked(device, confirmed(RPM_OF_AI_1)))
    assert (await asked(building.devices[0], WHO_IS))[0] == 0x10
    assert logged_reads(log_path) == before
    assert (await waiting)[0] == 0x30
    assert time.monotonic() - began >= 0.5
    assert logged_reads(log_path) == before + 2


async def test_a_device_without_rpm_rejects_it_as_unrecognized_and_still_reads_single_properties(building, device):
    building.set_fault(device.instance, Fault.NO_RPM)
    assert await asked(device, confirmed(RPM_OF_AI_1, invoke_id=9)) == bytes((0x60, 9, 9))
    assert (await asked(device, confirmed("0c 0c00000001 1955")))[:3] == b"\x30\x07\x0c"


async def test_a_truncated_object_list_is_shorter_than_its_own_count(building, device):
    whole = await asked(device, object_list(device))
    building.set_fault(device.instance, Fault.TRUNCATED_OBJECT_LIST, keep=4)
    cut = await asked(device, object_list(device))
    count = await asked(device, object_list(device, "2900"))
    assert cut.count(b"\xc4") == 4
    assert count[-3:-1] == bytes((0x21, (len(whole) - 12) // 5))
    assert whole.startswith(cut[:-1])
    last = json.loads(building.log_path.read_text().splitlines()[-2])
    assert len(last["value"]) == 4


async def test_a_truncated_reply_ends_in_the_middle_and_is_logged_as_it_left(building, device):
    whole = await asked(device, confirmed(RPM_OF_AI_1))
    building.set_fault(device.instance, Fault.TRUNCATED_REPLY)
    cut = await asked(device, confirmed(RPM_OF_AI_1))
    assert len(cut) < len(whole)
    assert whole.startswith(cut)
    assert json.loads(building.log_path.read_text().splitlines()[-1])["undecodable"] == cut[3:].hex()


async def test_a_device_that_aborts_big_requests_answers_small_ones(building, device):
    building.set_fault(device.instance, Fault.ABORT, octets=20)
    assert await asked(device, confirmed(RPM_OF_AI_1 + "0c00000002 1e 0955 091c 1f")) == bytes((0x71, 7, 1))
    assert (await asked(device, confirmed(RPM_OF_AI_1)))[0] == 0x30


async def test_faults_add_up_and_end_one_by_one(building, device):
    building.set_fault(device.instance, Fault.SLOW, seconds=0.2)
    building.set_fault(device.instance, Fault.NO_RPM)
    began = time.monotonic()
    assert (await asked(device, confirmed(RPM_OF_AI_1)))[0] == 0x60
    assert time.monotonic() - began >= 0.2
    building.clear_fault(device.instance, Fault.NO_RPM)
    assert (await asked(device, confirmed(RPM_OF_AI_1)))[0] == 0x30
    assert building.faults() == {device.instance: (Fault.SLOW,)}


async def test_packets_that_are_no_bacnet_are_ignored(building, device):
    for packet in (b"", b"\x81", b"\x00" * 40, b"\x81\x0a\x00\x04", b"\x81\x04\x00\x08\x01\x00\x10\x08", bytes(range(256))):
        building.set_fault(device.instance, Fault.NO_RPM)
        assert await asked(device, packet, seconds=0.05) == b""
    assert (await asked(device, WHO_IS))[0] == 0x10


async def test_unknown_devices_options_and_missing_fronts_are_refused(building):
    with pytest.raises(ValueError, match="no device 1999"):
        building.set_fault(1999, Fault.SILENT)
    with pytest.raises(ValueError, match="does not take"):
        building.set_fault(2001, Fault.SILENT, seconds=1)
    async with SimulatedBuilding(port=0, devices=1, points=9, tick_seconds=None) as plain:
        with pytest.raises(ValueError, match="no fronts"):
            plain.set_fault(2001, Fault.SILENT)
