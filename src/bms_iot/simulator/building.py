"""The simulated building: devices on loopback addresses, a model that moves them, and faults on request."""

import asyncio
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import cached_property, partial
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Self

from bms_iot.domain.points import DeviceAddress
from bms_iot.errors import ConfigurationError, TransportError
from bms_iot.simulator import model
from bms_iot.simulator.adversary.catalogue import parse_manners
from bms_iot.simulator.adversary.device import AdversarialDevice
from bms_iot.simulator.answer_log import AnswerLog
from bms_iot.simulator.described import SimulatedDevice, describe, host_of
from bms_iot.simulator.devices import building_devices, generic_devices, ill_mannered_devices
from bms_iot.simulator.encoding import Encoding
from bms_iot.simulator.faults import Fault, misbehaviour
from bms_iot.simulator.front import BroadcastListener, Front, Hearer
from bms_iot.simulator.ports import BROADCAST, free_port, take_port
from bms_iot.simulator.server import DeviceServer, load_rusty_bacnet
from bms_iot.simulator.specification import PointSpecification, Value
from bms_iot.simulator.write_log import WriteLog

FIRST_INSTANCE = 2001
MAX_DEVICES = 2000
MAX_POINTS = 4000
MAX_ILL_MANNERED = 200
MAX_OBJECTS = 200_000
MAX_WRITES_PER_TICK = 1000
"""A tick changes about so many present-values at most, the devices in turn: a thousand controllers leave the gateway some CPU."""


class SimulatedBuilding:
    """An async context manager; inside it the devices answer.

    `port`: None takes 47808 if it is free on every address, else a free one; 0 takes a free one; another number must be free.
    `test_mode`: present-values are those of `encoding` at tick `ticks`, instead of the model's; alarms are off.
    `log_path`: a line for each answered read is appended there (`AnswerLog`).
    `write_log_path`: a line for each write is appended there (`WriteLog`).
    `seed`, `speed`: the same seed gives the same weather, rooms and noise; the model runs `speed` times as fast as the clock.
    `devices`, `points`: that many generic devices of so many objects instead of the building's eleven; 0 for none.
    `ill_mannered`: so many devices more, each with the manners that text names (`adversary.catalogue`), such as `slow=2` or `nan`.
    `fronts`: devices behind a UDP front, which the log and the faults need; by default yes, and no for generic devices without log.
    `tick_seconds`: the time between two ticks; None leaves ticking to the caller (`tick`).

    Raises ConfigurationError without rusty-bacnet, ValueError for arguments out of range, TransportError when ports are taken.
    """

    def __init__(
        self,
        *,
        port: int | None = None,
        test_mode: bool = False,
        log_path: Path | None = None,
        seed: int = 0,
        speed: float = 1.0,
        devices: int | None = None,
        points: int = 50,
        ill_mannered: Sequence[str] = (),
        write_log_path: Path | None = None,
        fronts: bool | None = None,
        tick_seconds: float | None = 1.0,
    ) -> None:
        _check("port", 0 if port is None else port, 0, 65_535)
        _check("devices", 1 if devices is None else devices, 0 if ill_mannered else 1, MAX_DEVICES)
        _check("ill_mannered", len(ill_mannered), 0, MAX_ILL_MANNERED)
        _check("points", points, 1, MAX_POINTS)
        _check("devices times points", (devices or 1) * points, 1, MAX_OBJECTS)
        self._manners = [parse_manners(words) for words in ill_mannered]
        _check("speed", speed, 0.001, 3600)
        _check("tick_seconds", 1.0 if tick_seconds is None else tick_seconds, 0.01, 3600)
        well_mannered = building_devices() if devices is None else generic_devices(devices, points)
        self._well_mannered = len(well_mannered)
        self._specifications = (*well_mannered, *ill_mannered_devices(ill_mannered))
        self._seed = seed
        self._wanted_port = port
        self.log_path = log_path
        self._write_log_path = write_log_path
        self._speed = speed
        self._tick_seconds = tick_seconds
        self._with_fronts = (devices is None or log_path is not None or write_log_path is not None) if fronts is None else fronts
        if (log_path is not None or write_log_path is not None) and not self._with_fronts:
            raise ValueError("a log of answers or writes needs fronts")
        self.test_mode = test_mode
        self.broadcast = BROADCAST
        self.port = 0
        self.devices: tuple[SimulatedDevice, ...] = ()
        self.ticks = 0
        self.state = model.initial(seed)
        if test_mode:
            _ = self.encoding
        self._servers: list[DeviceServer | AdversarialDevice] = []
        self._fronts: dict[int, Front] = {}
        self._next_to_write = 0
        self._stack = AsyncExitStack()
        self._ticking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        if self._well_mannered:
            load_rusty_bacnet()
        async with AsyncExitStack() as stack:
            log, writes = None, None
            if self.log_path is not None:
                log = _opened(self.log_path)
                stack.callback(log.close)
            if self._write_log_path is not None:
                writes = WriteLog(self._write_log_path)
                stack.callback(writes.close)
            hosts = [host_of(k) for k in range(1, len(self._specifications) + 1)]
            sockets = take_port(hosts, self._wanted_port)
            for public in sockets:
                stack.callback(public.close)
            self.port = sockets[0].getsockname()[1]
            rude = self._ill_mannered(sockets[self._well_mannered :])
            private_port = self._open_public(sockets[: self._well_mannered], stack, log, writes)
            self._hear_broadcasts([*self._fronts.values(), *rude], stack)
            await self._start_servers(hosts, private_port, rude, stack)
            self.devices = tuple(
                describe(server.instance, DeviceAddress(host=host, port=self.port), server.specification)
                for host, server in zip(hosts, self._servers, strict=True)
            )
            await self._write_present_values(limit=None)
            if self._tick_seconds is not None:
                self._ticking = asyncio.create_task(self._tick_for_ever(self._tick_seconds), name="simulated building")
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._stop_ticking()
        finally:
            await self._stack.aclose()
            self._servers.clear()
            self._fronts.clear()

    @cached_property
    def encoding(self) -> Encoding:
        """How test mode makes present-values. Raises ValueError when there are too many objects to tell apart."""
        return Encoding.sized(devices=len(self._specifications), objects=max(len(device.points) for device in self._specifications))

    async def wait(self) -> None:
        """Wait for ever; raises what stopped the model, if anything did."""
        if self._ticking is None:
            await asyncio.Event().wait()
        else:
            await asyncio.shield(self._ticking)

    async def tick(self) -> None:
        """One tick: the model moves on by `speed` times the tick (1 s where the caller ticks), the present-values follow."""
        self.ticks += 1
        if not self.test_mode:
            commands: dict[str, float] = {}
            for server in self._servers:
                commands |= await server.commands()
            self.state = model.step(self.state, (self._tick_seconds or 1.0) * self._speed, commands)
        await self._write_present_values(limit=MAX_WRITES_PER_TICK)

    def set_fault(self, instance: int, fault: Fault, **options: float) -> None:
        """Let a device misbehave from now on. Raises ValueError for an unknown device or option, or where there are no fronts."""
        self._front(instance).faults[fault] = misbehaviour(fault, **options)

    def clear_fault(self, instance: int, fault: Fault | None = None) -> None:
        """End one fault of a device, or all of them. Raises ValueError for an unknown device."""
        faults = self._front(instance).faults
        if fault is None:
            faults.clear()
        else:
            faults.pop(fault, None)

    def faults(self) -> dict[int, tuple[Fault, ...]]:
        """The faults in force, by device instance."""
        return {instance: tuple(front.faults) for instance, front in self._fronts.items() if front.faults}

    def _front(self, instance: int) -> Front:
        if not self._fronts:
            raise ValueError("these devices have no fronts, so they cannot misbehave")
        if instance not in self._fronts:
            raise ValueError(f"there is no device {instance}; there are {FIRST_INSTANCE} to {max(self._fronts)}")
        return self._fronts[instance]

    def _open_public(
        self, sockets: Sequence[socket.socket], stack: AsyncExitStack, log: AnswerLog | None, writes: WriteLog | None
    ) -> int:
        """Put a front behind each public socket; the answer is the devices' port, which is another one behind fronts."""
        hosts = [public.getsockname()[0] for public in sockets]
        if not self._with_fronts or not hosts:
            for public in sockets:  # released for the devices to take
                public.close()
            return self.port
        private_port = free_port(hosts)
        for n, (host, public) in enumerate(zip(hosts, sockets, strict=True)):
            instance, address = FIRST_INSTANCE + n, DeviceAddress(host=host, port=self.port)
            on_sent = None if log is None else partial(log.sent, device=instance, address=address)
            on_heard = None if writes is None else partial(writes.heard, device=instance)
            front = Front(public=public, private=(host, private_port), on_sent=on_sent, on_heard=on_heard)
            stack.callback(front.close)
            self._fronts[instance] = front
        return private_port

    def _hear_broadcasts(self, hearers: list[Hearer], stack: AsyncExitStack) -> None:
        if not hearers:
            return
        try:
            listener = BroadcastListener(address=(BROADCAST, self.port), hearers=hearers)
        except OSError as error:
            raise TransportError(f"broadcasts cannot be heard at {BROADCAST}:{self.port}: {error}") from error
        stack.callback(listener.close)

    def _ill_mannered(self, sockets: Sequence[socket.socket]) -> list[AdversarialDevice]:
        first = self._well_mannered
        return [
            AdversarialDevice(
                instance=FIRST_INSTANCE + first + n,
                specification=self._specifications[first + n],
                udp=udp,
                broadcast=(BROADCAST, self.port),
                manners=manners,
                chance=Random(f"{self._seed} {n} {self._specifications[first + n].manners}"),  # noqa: S311  repeatable, not secret
            )
            for n, (udp, manners) in enumerate(zip(sockets, self._manners, strict=True))
        ]

    async def _start_servers(
        self, hosts: Sequence[str], port: int, rude: Sequence[AdversarialDevice], stack: AsyncExitStack
    ) -> None:
        well = [
            DeviceServer(instance=FIRST_INSTANCE + n, specification=specification, host=host, port=port, broadcast=BROADCAST)
            for n, (host, specification) in enumerate(zip(hosts, self._specifications[: self._well_mannered], strict=False))
        ]
        servers: list[DeviceServer | AdversarialDevice] = [*well, *rude]
        for server in servers:
            stack.push_async_callback(server.stop)
            await server.start(alarms=not self.test_mode)
            self._servers.append(server)

    async def _tick_for_ever(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            # A tick that comes late is made up for by none: the clock of the model is counted in ticks.
            due = max(due + seconds, loop.time())
            await asyncio.sleep(due - loop.time())
            await self.tick()

    async def _stop_ticking(self) -> None:
        ticking, self._ticking = self._ticking, None
        if ticking is None:
            return
        ticking.cancel()
        await asyncio.wait([ticking])
        if not ticking.cancelled():
            ticking.result()

    async def _write_present_values(self, *, limit: int | None) -> None:
        """Give every object its value of this moment, beginning with the device where the last tick had to stop."""
        written = 0
        count = len(self._servers)
        for n in range(count):
            k = (self._next_to_write + n) % count
            for position, point in enumerate(self._specifications[k].points):
                written += await self._servers[k].set(position, self._present_value(k + 1, position + 1, point))
            if limit is not None and written >= limit:
                self._next_to_write = (k + 1) % count
                return

    def _present_value(self, device: int, position: int, point: PointSpecification) -> Value:
        if not self.test_mode:
            return point.default if point.source is None else point.source(self.state)
        if point.type.is_analog:
            return self.encoding.analog(device, position, self.ticks)
        if point.type.is_binary:
            return self.encoding.binary(device, position, self.ticks)
        return self.encoding.multi_state(device, position, self.ticks, len(point.states))


def _check(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} is {value}, it must be from {low} to {high}")


def _opened(path: Path) -> AnswerLog:
    try:
        return AnswerLog(path)
    except OSError as error:
        raise ConfigurationError(f"the log of answers cannot be written to {path}: {error.strerror}") from error
