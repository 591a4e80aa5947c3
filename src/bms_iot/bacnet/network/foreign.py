"""Being a foreign device: broadcasts through a BBMD of another network (ASHRAE 135 annex J.5).

The registration is renewed at half its time-to-live. One that is refused or not answered is tried again, ever more slowly; the
state can be read at any time, and each change of it is logged once.
"""

import asyncio
import enum
import ipaddress
import random
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import structlog

from bms_iot.bacnet.counters import Counters
from bms_iot.bacnet.network.npdu import BvlcResult, as_distributed, frame_register
from bms_iot.bacnet.network.udp import UdpPort
from bms_iot.domain.points import DEFAULT_PORT
from bms_iot.errors import TransportError

log = structlog.get_logger()

SUCCESS, REGISTER_NAK, DISTRIBUTE_NAK = 0x0000, 0x0030, 0x0060
"""BVLC-Result codes (clause J.2.1)."""
ANSWER_SECONDS = 3.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 2.0, 60.0


class Registration(enum.Enum):
    """How our registration stands."""

    ASKED = "asked"
    REGISTERED = "registered"
    REFUSED = "refused"
    SILENT = "silent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bbmd:
    """The BBMD to register with; `ttl_seconds` is 2 to 65,535."""

    host: str
    port: int = DEFAULT_PORT
    ttl_seconds: int = 300

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def parse_bbmd(address: str, ttl_seconds: int) -> Bbmd:
    """`IP` or `IP:PORT`. Raises TransportError for anything else."""
    host, _, port = address.partition(":")
    try:
        number = int(port or DEFAULT_PORT)
        if not 1 <= number <= 65_535:
            raise ValueError(port)
        return Bbmd(host=str(ipaddress.IPv4Address(host)), port=number, ttl_seconds=ttl_seconds)
    except ValueError:
        raise TransportError(
            f"{address} is no address of a BBMD", hint="give its IPv4 address, with :PORT when that is not 47808"
        ) from None


class ForeignDevice:
    """Keeps us registered while it is open. Entering waits a moment for the first answer, and goes on without one."""

    def __init__(self, bbmd: Bbmd, *, port: UdpPort, counters: Counters) -> None:
        self.bbmd = bbmd
        self.state = Registration.ASKED
        self._port = port
        self._counters = counters
        self._result: asyncio.Future[int] | None = None
        self._settled = asyncio.Event()
        self._again = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._settled.clear()
        self._task = asyncio.create_task(self._keep_registered(), name=f"foreign device of {self.bbmd}")
        await self._settled.wait()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def distribute(self, broadcast: bytes) -> None:
        """Have the BBMD broadcast this datagram; it is as good as lost while we are not registered."""
        self._port.send(as_distributed(broadcast), self.bbmd.host, self.bbmd.port)

    def receive(self, result: BvlcResult) -> bool:
        """Take a BVLC-Result; whether it was from our BBMD and for us."""
        if (result.host, result.port) != (self.bbmd.host, self.bbmd.port):
            return False
        if result.code == DISTRIBUTE_NAK:
            self._counters.registrations_failed += 1
            self._become(Registration.REFUSED, "it does not distribute our broadcasts")
            self._again.set()
            return True
        if result.code not in (SUCCESS, REGISTER_NAK) or self._result is None or self._result.done():
            return False
        self._result.set_result(result.code)
        return True

    async def _keep_registered(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            self._again.clear()
            await self._register()
            self._settled.set()
            if self.state is Registration.REGISTERED:
                pause = FIRST_PAUSE_SECONDS
                wait = max(1.0, self.bbmd.ttl_seconds / 2)
            else:
                wait = pause * random.uniform(0.9, 1.1)  # noqa: S311 - spreads retries
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            await self._wait(wait)

    async def _wait(self, seconds: float) -> None:
        """Until it is time, or at once (but not twice in a second) when the BBMD says that it does not know us."""
        if self.state is not Registration.REGISTERED:
            await asyncio.sleep(seconds)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._again.wait()
                await asyncio.sleep(min(1.0, FIRST_PAUSE_SECONDS))

    async def _register(self) -> None:
        self._result = asyncio.get_running_loop().create_future()
        self._port.send(frame_register(self.bbmd.ttl_seconds), self.bbmd.host, self.bbmd.port)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):  # unlike wait_for, it never swallows a cancellation
                code = await self._result
        except TimeoutError:
            self._counters.registrations_failed += 1
            self._become(Registration.SILENT, "it does not answer")
            return
        finally:
            self._result = None
        if code == SUCCESS:
            self._counters.registrations += 1
            self._become(Registration.REGISTERED, None)
        else:
            self._counters.registrations_failed += 1
            self._become(Registration.REFUSED, "it does not take foreign devices")

    def _become(self, state: Registration, reason: str | None) -> None:
        if state is self.state:
            return
        self.state = state
        if state is Registration.REGISTERED:
            log.info("bbmd_registered", bbmd=str(self.bbmd), ttl_seconds=self.bbmd.ttl_seconds)
        else:
            log.warning("bbmd_refused" if state is Registration.REFUSED else "bbmd_silent", bbmd=str(self.bbmd), reason=reason)
