"""Answers in segments (ASHRAE 135 clause 5.4.4): whole and right, or an error in time, and nothing left open."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from bms_iot.bacnet.apdu import Abort, ComplexAck
from bms_iot.bacnet.services.reading import PropertyReference, encode_read_property
from bms_iot.bacnet.transactions import segments
from bms_iot.bacnet.transactions.client import Client
from bms_iot.bacnet.values.codec import ObjectId
from bms_iot.errors import DeviceRefused, DeviceUnreachable, MalformedReply
from tests.integration.bacnet_responder import free_port
from tests.integration.segmenting_device import SegmentingDevice, Wire, unspoilt

REQUEST = encode_read_property(PropertyReference(ObjectId(8, 4001), 76))
LONG = bytes(range(256)) * 24
TIMEOUT = 0.3


@asynccontextmanager
async def client(*, timeout_seconds: float = TIMEOUT, tries: int = 3) -> AsyncIterator[Client]:
    """A client; afterwards no transaction is open."""
    async with Client(host="127.0.0.1", port=free_port(), timeout_seconds=timeout_seconds, tries=tries) as opened:
        yield opened
        assert opened.open_transactions == 0


async def ask(ours: Client, device: SegmentingDevice) -> bytes:
    return await asyncio.wait_for(ours.request(device.station, REQUEST, segmented=True), 10)


@pytest.mark.parametrize("window", [0, 1, 2, 3, 7, 16, 17, 127, 255])
async def test_an_answer_in_segments_is_put_together_whatever_window_the_device_proposes(window: int) -> None:
    async with SegmentingDevice(LONG, window=window) as device, client() as ours:
        assert await ask(ours, device) == LONG
        await asyncio.sleep(0)
    granted = min(max(window, 1), 16)
    assert {ack[2] for ack in device.acknowledged} == {granted}
    assert device.sent == list(range(len(device.segments)))
    assert len(device.acknowledged) <= 2 + len(device.segments) // granted
    assert not any(negative for negative, *_ in device.acknowledged)


async def test_more_segments_than_sequence_numbers_are_put_together() -> None:
    async with SegmentingDevice(LONG * 3, window=16) as device, client() as ours:
        assert len(device.segments) > 256
        assert await ask(ours, device) == LONG * 3


async def test_only_requests_that_ask_for_it_accept_segments() -> None:
    async with SegmentingDevice(LONG) as device, client() as ours:
        await ask(ours, device)
        with pytest.raises(DeviceRefused, match="segmentation-not-supported"):
            await ours.request(device.station, REQUEST)
        await asyncio.wait_for(device.aborted.wait(), 1)
    assert [request[:2].hex() for request in device.requests] == ["0275", "0005"]
    assert device.aborts == [segments.SEGMENTATION_NOT_SUPPORTED]


def lost_once(*numbers: int) -> Wire:
    return lambda number, before, apdu: [] if number in numbers and before == 0 else [apdu]


def doubled(_number: int, _before: int, apdu: bytes) -> Sequence[bytes]:
    return [apdu, apdu]


def swapped() -> Wire:
    """Each pair of segments the other way round."""
    held: list[bytes] = []

    def wire(number: int, before: int, apdu: bytes) -> Sequence[bytes]:
        if number == 0 or before:
            return [apdu]
        if held:
            return [apdu, held.pop()]
        held.append(apdu)
        return []

    return wire


def with_old_ones() -> Wire:
    """Every segment behind one that was sent long before it."""
    seen: list[bytes] = []

    def wire(number: int, _before: int, apdu: bytes) -> Sequence[bytes]:
        seen.append(apdu)
        return [seen[number - 5], apdu] if number > 20 else [apdu]

    return wire


@pytest.mark.parametrize("window", [1, 4, 16])
@pytest.mark.parametrize(
    "spoilt",
    [
        pytest.param(lambda: lost_once(0), id="the first is lost"),
        pytest.param(lambda: lost_once(5), id="one is lost"),
        pytest.param(lambda: lost_once(5, 6, 20, 21, 22), id="several are lost"),
        pytest.param(lambda: lost_once(122), id="the last is lost"),
        pytest.param(lambda: lost_once(*range(0, 123, 3)), id="every third is lost"),
        pytest.param(lambda: doubled, id="all are doubled"),
        pytest.param(swapped, id="they come in another order"),
        pytest.param(with_old_ones, id="old ones come again"),
    ],
)
async def test_lost_doubled_and_reordered_segments_are_got_over(window: int, spoilt: Callable[[], Wire]) -> None:
    async with SegmentingDevice(LONG, window=window, wire=spoilt(), segment_timeout_seconds=0.02) as device, client() as ours:
        assert len(device.segments) == 123
        assert await ask(ours, device) == LONG


@pytest.mark.parametrize("window", [1, 4, 16])
async def test_a_lost_acknowledgement_is_sent_again(window: int) -> None:
    """The device repeats its window, which is acknowledged again."""
    async with SegmentingDevice(LONG, window=window, segment_timeout_seconds=0.03) as device, client() as ours:
        ignored = iter([1, 3])
        take, lose = device._segment_ack, {next(ignored), next(ignored)}
        count = 0

        def deaf_now_and_then(negative: bool, sequence: int, window: int) -> None:
            nonlocal count
            count += 1
            if count not in lose:
                take(negative, sequence, window)

        device._segment_ack = deaf_now_and_then  # type: ignore[method-assign]
        assert await ask(ours, device) == LONG


async def test_a_device_that_takes_longer_than_we_do_to_repeat_its_window_is_waited_for() -> None:
    async with (
        SegmentingDevice(LONG, window=1, wire=lost_once(3), segment_timeout_seconds=0.16) as device,
        client(timeout_seconds=0.1) as ours,
    ):
        assert await ask(ours, device) == LONG


@pytest.mark.parametrize("after", [0, 1, 2, 7])
async def test_a_device_that_stops_in_the_middle_is_given_up_in_time_and_told(after: int) -> None:
    def stop(number: int, _before: int, apdu: bytes) -> Sequence[bytes]:
        return [apdu] if number <= after else []

    async with SegmentingDevice(LONG, wire=stop, segment_timeout_seconds=30) as device, client(timeout_seconds=0.1) as ours:
        started = asyncio.get_running_loop().time()
        with pytest.raises(DeviceUnreachable, match="in the middle"):
            await ask(ours, device)
        assert asyncio.get_running_loop().time() - started < 1
        await asyncio.wait_for(device.aborted.wait(), 1)
        assert device.aborts == [segments.TSM_TIMEOUT]


async def test_a_stalled_device_is_asked_for_the_next_segment() -> None:
    """The last segment of its window was lost, and it does not repeat by itself for long."""
    async with (
        SegmentingDevice(LONG, window=8, wire=lost_once(8), segment_timeout_seconds=30, strict=False) as device,
        client(timeout_seconds=0.1) as ours,
    ):
        assert await ask(ours, device) == LONG
    assert any(negative for negative, *_ in device.acknowledged)


async def test_a_device_that_trickles_is_given_up_when_the_whole_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bms_iot.bacnet.transactions.receiving.MAX_SECONDS", 0.3)

    def one_at_a_time(number: int, before: int, apdu: bytes) -> Sequence[bytes]:
        return [apdu] if before else []

    async with (
        SegmentingDevice(LONG, window=1, wire=one_at_a_time, segment_timeout_seconds=0.05) as device,
        client(timeout_seconds=0.2) as ours,
    ):
        started = asyncio.get_running_loop().time()
        with pytest.raises(DeviceUnreachable):
            await ask(ours, device)
        assert asyncio.get_running_loop().time() - started < 1.5


async def test_an_answer_beyond_all_bounds_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "MAX_OCTETS", 1000)
    async with SegmentingDevice(LONG) as device, client() as ours:
        with pytest.raises(MalformedReply, match="octets"):
            await ask(ours, device)
        await asyncio.wait_for(device.aborted.wait(), 1)
        assert device.aborts == [segments.BUFFER_OVERFLOW]


async def test_segments_without_end_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "MAX_SEGMENTS", 40)

    def empty(_number: int, _before: int, apdu: bytes) -> Sequence[bytes]:
        return [apdu[:5]]

    async with SegmentingDevice(LONG, wire=empty) as device, client() as ours:
        with pytest.raises(MalformedReply, match="segments"):
            await ask(ours, device)


async def test_a_damaged_segment_fails_the_request_at_once() -> None:
    def another_length(number: int, _before: int, apdu: bytes) -> Sequence[bytes]:
        if number == 3:
            assert device._transport is not None
            device._transport.sendto(b"\x81\x0a\x00\xff\x01\x00" + apdu, device._peer)
            return []
        return [apdu]

    async with SegmentingDevice(LONG, wire=another_length) as device, client(timeout_seconds=5) as ours:
        with pytest.raises(MalformedReply):
            await asyncio.wait_for(ask(ours, device), 2)
        await asyncio.wait_for(device.aborted.wait(), 1)


def with_service(service: int, at: int) -> Wire:
    return lambda number, before, apdu: [apdu[:4] + bytes((service,)) + apdu[5:]] if number == at and not before else [apdu]


@pytest.mark.parametrize("at", [0, 3])
async def test_a_segment_of_another_service_is_not_taken(at: int) -> None:
    wire = with_service(14, at)
    async with SegmentingDevice(LONG, wire=wire, segment_timeout_seconds=0.05) as device, client() as ours:
        assert await ask(ours, device) == LONG
        assert ours.counters.foreign >= 1


async def test_another_answer_in_the_middle_is_not_taken_but_an_abort_is() -> None:
    def interrupted(number: int, before: int, apdu: bytes) -> Sequence[bytes]:
        whole = bytes((0x30, apdu[1], 12)) + b"\xaa"
        simple = bytes((0x20, apdu[1], 12))
        return [whole, simple, apdu] if number == 3 and not before else [apdu]

    async with SegmentingDevice(LONG, wire=interrupted) as device, client() as ours:
        assert await ask(ours, device) == LONG
        assert ours.counters.foreign == 2

    def aborted(number: int, _before: int, apdu: bytes) -> Sequence[bytes]:
        return [bytes((0x71, apdu[1], 9))] if number == 3 else [apdu]

    async with SegmentingDevice(LONG, wire=aborted) as device, client() as ours:
        answer = await ours.transact(device.station, REQUEST, segmented=True)
        assert isinstance(answer, Abort)
        assert answer.reason == 9


async def test_segments_nobody_waits_for_are_answered_with_an_abort() -> None:
    async with SegmentingDevice(LONG, segment_timeout_seconds=0.05) as device, client() as ours:
        asking = asyncio.create_task(ask(ours, device))
        while not ours.counters.segments:
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait_for(device.aborted.wait(), 1)
        device.aborted.clear()
        device.send(bytes((0x3C, device._invoke_id, 1, 4, 12)) + b"late")
        await asyncio.wait_for(device.aborted.wait(), 1)
    assert device.aborts[0] == segments.TSM_TIMEOUT
    assert set(device.aborts[1:]) == {segments.INVALID_APDU_IN_THIS_STATE}


async def test_segments_of_a_stranger_are_not_taken() -> None:
    async with SegmentingDevice(LONG) as device, SegmentingDevice(LONG) as stranger, client() as ours:

        def with_forgeries(number: int, _before: int, apdu: bytes) -> Sequence[bytes]:
            stranger._peer = device._peer
            stranger.send(apdu[:5] + bytes(len(apdu) - 5))
            return [apdu]

        device.wire = with_forgeries
        assert await ask(ours, device) == LONG
        assert ours.counters.foreign >= 1


async def test_a_one_piece_answer_to_a_request_that_accepts_segments_is_as_good() -> None:
    def one_piece(_number: int, _before: int, apdu: bytes) -> Sequence[bytes]:
        return [bytes((0x30, apdu[1], 12)) + apdu[5:]]

    async with SegmentingDevice(b"short", wire=one_piece) as device, client() as ours:
        answer = await ours.transact(device.station, REQUEST, segmented=True)
        assert answer == ComplexAck(invoke_id=0, service=12, parameters=b"short")
        assert unspoilt(0, 0, b"x") == [b"x"]
