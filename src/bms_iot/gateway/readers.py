"""Our BACnet interfaces together, as one network: each controller is reached through the reader whose network contains it."""

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

import structlog

from bms_iot.domain.configuration import Reader
from bms_iot.domain.identifiers import AnyObject, AnyProperty, AnyValue
from bms_iot.domain.points import Device, DeviceAddress, ObjectIdentifier, Point
from bms_iot.domain.ports import ControllerNetwork, FoundDevice, ObjectDescription, ObjectList
from bms_iot.domain.profiles import LearnedProfile
from bms_iot.domain.readings import Reading
from bms_iot.domain.subscriptions import CovTerms, Deliver, Report
from bms_iot.domain.writing import PointWrite, WriteOutcome
from bms_iot.errors import BacnetError, DeviceUnreachable, TransportError

log = structlog.get_logger()

RETRY_SECONDS = 30.0
MAX_NOTES = 20_000
"""Addresses of which it is remembered who found them."""

Answer = TypeVar("Answer")

OpenReader = Callable[[Reader], AbstractAsyncContextManager[ControllerNetwork]]


class Readers:
    """A `ControllerNetwork` over the readers in use.

    A controller is reached through the reader whose network contains it, else through the one that found it, else through the
    first. One that is silent there and answers through another reader, to a probe or by an I-Am of its own, is reached through that
    one from then on, until it is silent there in turn.
    """

    def __init__(self, open_reader: OpenReader) -> None:
        self._open_reader = open_reader
        self._in_use: dict[Reader, tuple[ControllerNetwork, AsyncExitStack]] = {}
        self._wanted: tuple[Reader, ...] = ()
        self._found: dict[DeviceAddress, Reader] = {}
        self._instead: dict[DeviceAddress, Reader] = {}
        self._silent: dict[DeviceAddress, Reader] = {}
        """Those whose last request went unanswered, and through which reader."""
        self._listeners: list[Callable[[FoundDevice], None]] = []
        self._changing = asyncio.Lock()
        """Held while readers are opened and closed."""
        self._followed: dict[asyncio.Timeout, tuple[DeviceAddress, Reader]] = {}
        """Who is followed through which reader; the time-out ends it, so that it goes on through another."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for reader in list(self._in_use):
            await self._close(reader)

    async def use(self, readers: Sequence[Reader]) -> None:
        """Open these and close the others; those that cannot be opened now are tried again by `keep_open`.

        Raises TransportError when none of them can be opened: then those before are in use again.
        """
        async with self._changing:
            before = list(self._in_use)
            for reader in before:
                if reader not in readers:
                    await self._close(reader)
            error = await self._open_missing(readers)
            self._wanted = tuple(readers)
            if not self._in_use and error is not None:
                if before:
                    self._wanted = tuple(before)
                    await self._open_missing(before)
                raise error
        self._follow_elsewhere()

    async def keep_open(self) -> None:
        """Try again and again to open what is wanted and not open, until cancelled."""
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            async with self._changing:
                await self._open_missing(self._wanted)
            self._follow_elsewhere()

    async def _open_missing(self, readers: Sequence[Reader]) -> TransportError | None:
        """The first failure."""
        failure = None
        for reader in readers:
            if reader not in self._in_use:
                try:
                    await self._open(reader)
                except TransportError as error:
                    log.error("reader_unusable", reader=reader.id, address=reader.host, port=reader.port, reason=str(error))
                    failure = failure or error
        return failure

    async def _open(self, reader: Reader) -> None:
        async with AsyncExitStack() as stack:
            network = await stack.enter_async_context(self._open_reader(reader))
            stack.callback(network.listen(partial(self._hear, reader)))
            self._in_use[reader] = network, stack.pop_all()

    async def _close(self, reader: Reader) -> None:
        _, stack = self._in_use.pop(reader)
        await stack.aclose()

    def _through(self, address: DeviceAddress) -> ControllerNetwork:
        if not self._in_use:
            raise TransportError("no BACnet reader is open")
        return self._in_use[self._chosen(address)][0]

    def _chosen(self, address: DeviceAddress) -> Reader:
        """There must be one in use."""
        containing = max((r for r in self._in_use if _contains(r, address)), key=lambda r: r.prefix_length, default=None)
        for reader in (self._instead.get(address), containing, self._found.get(address)):
            if reader in self._in_use:
                return reader
        return next(iter(self._in_use))

    async def _asked(self, address: DeviceAddress, answer: Awaitable[Answer]) -> Answer:
        """Note whether the device is silent while it is asked."""
        reader = self._chosen(address)
        try:
            result = await answer
        except DeviceUnreachable:
            _note(self._silent, address, reader)
            raise
        self._silent.pop(address, None)
        return result

    def _reach_through(self, reader: Reader, address: DeviceAddress) -> None:
        """From now on, instead of the one it was silent through."""
        log.info("device_through_another_reader", address=str(address), reader=reader.id, before=self._chosen(address).id)
        _note(self._instead, address, reader)
        self._silent.pop(address, None)
        self._follow_elsewhere()

    def _follow_elsewhere(self) -> None:
        """End what follows a controller through another reader than it is reached through now."""
        for limit, (address, reader) in tuple(self._followed.items()):
            if not self._in_use or self._chosen(address) != reader:
                del self._followed[limit]
                limit.reschedule(asyncio.get_running_loop().time())

    async def who_is(
        self, *, low: int | None = None, high: int | None = None, address: DeviceAddress | None = None, wait_seconds: float = 3.0
    ) -> list[FoundDevice]:
        asked = list(self._in_use)
        if address is not None and (not _is_behind_a_router(address) or address in self._found or len(asked) < 2):
            return await self._through(address).who_is(low=low, high=high, address=address, wait_seconds=wait_seconds)
        answers = await asyncio.gather(
            *(self._in_use[r][0].who_is(low=low, high=high, address=address, wait_seconds=wait_seconds) for r in asked),
            return_exceptions=True,
        )
        found: dict[tuple[DeviceAddress, int], FoundDevice] = {}
        failures: list[BacnetError] = []
        for reader, answer in zip(asked, answers, strict=True):
            if isinstance(answer, BaseException):
                if not isinstance(answer, BacnetError):
                    raise answer
                failures.append(answer)
                log.error("reader_cannot_ask", reader=reader.id, address=reader.host, reason=str(answer))
                continue
            for device in answer:
                if device.address not in self._found:
                    _note(self._found, device.address, reader)
                found.setdefault((device.address, device.instance), device)
        if failures and len(failures) == len(asked):
            raise failures[0]
        return list(found.values())

    def _hear(self, reader: Reader, found: FoundDevice) -> None:
        address = found.address
        if self._silent.get(address, reader) != reader:
            self._reach_through(reader, address)
        for listener in tuple(self._listeners):
            listener(found)

    def listen(self, listener: Callable[[FoundDevice], None]) -> Callable[[], None]:
        """See `ControllerNetwork`; hears the readers that are opened later, too."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def probe(self, device: Device, *, tries: int | None = None) -> None:
        address = device.address
        silent = self._chosen(address) if self._in_use else None
        try:
            await self._asked(address, self._through(address).probe(device, tries=tries))
        except DeviceUnreachable:
            for reader in [other for other in self._in_use if other != silent]:
                with suppress(BacnetError):
                    await self._in_use[reader][0].probe(device, tries=1)
                    self._reach_through(reader, address)
                    return
            raise

    def learned(self, device: Device) -> LearnedProfile | None:
        return self._through(device.address).learned(device) if self._in_use else None

    def recall(self, device: Device, profile: LearnedProfile) -> None:
        if self._in_use:
            self._through(device.address).recall(device, profile)

    async def read_object_list(self, device: Device) -> ObjectList:
        return await self._through(device.address).read_object_list(device)

    async def describe_objects(self, device: Device, objects: Sequence[ObjectIdentifier]) -> list[ObjectDescription]:
        return await self._through(device.address).describe_objects(device, objects)

    async def read_points(self, device: Device, points: Sequence[Point], *, optional: bool = False) -> Sequence[Reading]:
        return await self._asked(device.address, self._through(device.address).read_points(device, points, optional=optional))

    async def read_any(self, device: Device, wanted: Sequence[tuple[AnyObject, AnyProperty]]) -> list[AnyValue]:
        return await self._through(device.address).read_any(device, wanted)

    async def identify(self, address: DeviceAddress) -> int:
        return await self._through(address).identify(address)

    async def write_points(self, device: Device, writes: Sequence[PointWrite]) -> list[WriteOutcome]:
        return await self._through(device.address).write_points(device, writes)

    async def follow(self, device: Device, points: Sequence[Point], terms: CovTerms, *, deliver: Deliver, report: Report) -> None:
        """See `ControllerNetwork`; through another reader as soon as the device is reached through that one."""
        while True:
            async with self._changing:
                network = self._through(device.address)
                reader = self._chosen(device.address)
            try:
                async with asyncio.timeout(None) as limit:
                    self._followed[limit] = device.address, reader
                    try:
                        await network.follow(device, points, terms, deliver=deliver, report=report)
                    finally:
                        self._followed.pop(limit, None)
                return
            except TimeoutError:
                if not limit.expired():
                    raise
            except TransportError:
                if self._in_use.get(reader, (None,))[0] is network:
                    raise


def _note(notes: dict[DeviceAddress, Reader], address: DeviceAddress, reader: Reader) -> None:
    """Bounded: the oldest goes first."""
    notes.pop(address, None)
    if len(notes) >= MAX_NOTES:
        del notes[next(iter(notes))]
    notes[address] = reader


def _is_behind_a_router(address: DeviceAddress) -> bool:
    """`net:mac`, or the `*` of a whole network: which reader leads there is not in the address."""
    return ":" in address.host or address.host.endswith("*")


def _contains(reader: Reader, address: DeviceAddress) -> bool:
    try:
        host = ipaddress.IPv4Address(address.host)
    except ValueError:
        return False  # net:mac, behind a router
    return reader.prefix_length > 0 and host in ipaddress.IPv4Network((reader.host, reader.prefix_length), strict=False)
