"""Registration as a foreign device (ASHRAE 135 annex J.5), against a BBMD that does as it is told."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from bms_iot.bacnet import BacnetNetwork
from bms_iot.errors import TransportError
from tests.integration.bacnet_responder import SystemClock, free_port

Address = tuple[str, int]
OK, REGISTER_NAK, DISTRIBUTE_NAK = b"\x81\x00\x00\x06\x00\x00", b"\x81\x00\x00\x06\x00\x30", b"\x81\x00\x00\x06\x00\x60"
I_AM_7 = bytes.fromhex("1000 c402000007 2205c4 9103 210f")


@dataclass
class Bbmd:
    """`answer` to a registration, None for silence. `registrations` are the times-to-live, `distributed` the NPDUs it was given."""

    host: str = "127.0.8.1"
    answer: bytes | None = OK
    refuses_broadcasts: bool = False
    registrations: list[int] = field(default_factory=list)
    distributed: list[bytes] = field(default_factory=list)
    happened: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0
    _transport: asyncio.DatagramTransport | None = None

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not holds():
                self.happened.clear()
                await self.happened.wait()

    def received(self, datagram: bytes, address: Address) -> None:
        assert self._transport is not None
        if datagram[1] == 0x05:
            self.registrations.append(int.from_bytes(datagram[4:6], "big"))
            if self.answer is not None:
                self._transport.sendto(self.answer, address)
        elif datagram[1] == 0x09:
            self.distributed.append(datagram[4:])
            if self.refuses_broadcasts:
                self._transport.sendto(DISTRIBUTE_NAK, address)
            elif datagram.endswith(b"\x10\x08"):
                forwarded = bytes((10, 9, 8, 7, 0xBA, 0xC0)) + b"\x01\x00" + I_AM_7
                self._transport.sendto(b"\x81\x04" + (len(forwarded) + 4).to_bytes(2, "big") + forwarded, address)
        self.happened.set()


@asynccontextmanager
async def bbmd(answer: bytes | None = OK) -> AsyncIterator[Bbmd]:
    made = Bbmd(answer=answer)

    class Protocol(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: Address) -> None:
            made.received(data, addr)

    made._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Protocol, (made.host, 0))
    made.port = made._transport.get_extra_info("sockname")[1]
    yield made
    made._transport.close()
    await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bms_iot.bacnet.network.foreign.ANSWER_SECONDS", 0.2)
    monkeypatch.setattr("bms_iot.bacnet.network.foreign.FIRST_PAUSE_SECONDS", 0.05)


def registered_with(there: Bbmd, *, ttl: int = 300) -> BacnetNetwork:
    return BacnetNetwork(
        host="127.0.8.100", port=free_port(), bbmd=f"{there.host}:{there.port}", bbmd_ttl_seconds=ttl, clock=SystemClock()
    )


async def test_we_register_before_anything_else_and_broadcast_through_the_bbmd() -> None:
    """What it forwards to us comes from the origin it names."""
    async with bbmd() as there, registered_with(there) as ours:
        assert ours.registration == "registered"
        assert there.registrations == [300]
        found = await ours.who_is(wait_seconds=0.2)
        assert [(str(device.address), device.instance) for device in found] == [("10.9.8.7", 7)]
        assert there.distributed == [bytes.fromhex("0120ffff00ff 1008")]
        assert ours.counters.registrations == 1


async def test_the_registration_is_renewed_at_half_its_time_to_live() -> None:
    async with bbmd() as there, registered_with(there, ttl=2):
        started = asyncio.get_running_loop().time()
        await there.until(lambda: len(there.registrations) == 2)
        assert 0.8 < asyncio.get_running_loop().time() - started < 1.8


@pytest.mark.parametrize(
    ("answer", "state"), [(REGISTER_NAK, "refused"), (None, "silent"), (b"\x81\x00\x00\x06\x00\x10", "silent")]
)
async def test_a_registration_that_fails_is_seen_and_tried_again_until_it_works(answer: bytes | None, state: str) -> None:
    async with bbmd(answer) as there, registered_with(there) as ours:
        assert ours.registration == state
        await there.until(lambda: len(there.registrations) > 2)
        assert ours.counters.registrations_failed >= 2
        there.answer = OK
        before = len(there.registrations)
        await there.until(lambda: len(there.registrations) > before)
        while ours.registration != "registered":
            await asyncio.sleep(0.01)


async def test_a_bbmd_that_forgot_us_is_registered_with_again() -> None:
    async with bbmd() as there, registered_with(there) as ours:
        there.refuses_broadcasts = True
        await ours.who_is(wait_seconds=0.05)
        await there.until(lambda: len(there.registrations) > 1)
        assert ours.counters.registrations_failed >= 1


async def test_results_of_strangers_are_not_taken() -> None:
    async with bbmd(None) as there, bbmd() as stranger, registered_with(there) as ours:
        assert stranger._transport is not None
        stranger._transport.sendto(OK, ours.address)
        await asyncio.sleep(0.05)
        assert ours.registration == "silent"
        assert ours.counters.ignored >= 1


@pytest.mark.parametrize("address", ["bbmd.example", "10.0.0", "10.0.0.1:0", "10.0.0.1:65536", "10.0.0.1:x", ""])
def test_what_is_no_address_of_a_bbmd_is_refused(address: str) -> None:
    with pytest.raises(TransportError, match="BBMD"):
        BacnetNetwork(host="127.0.8.100", bbmd=address, clock=SystemClock())
