"""The lines `bms-iot simulate` takes on standard input while it runs."""

import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from bms_iot.simulator import SimulatedBuilding


@asynccontextmanager
async def commands_from_stdin(building: "SimulatedBuilding") -> AsyncIterator[None]:
    """Obey lines of standard input meanwhile, where that is a pipe or a socket; a terminal or a file is left alone."""
    if not _is_pipe():
        yield
        return
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(0), "rb", 0))
    obeying = asyncio.create_task(_obey_lines(building, reader), name="commands from stdin")
    try:
        yield
    finally:
        obeying.cancel()
        await asyncio.wait([obeying])
        transport.close()


def obey(building: "SimulatedBuilding", line: str) -> str:
    """Carry out `silent 2003`, `slow=8 2004` or `heal 2003`; the answer says what was done. Raises ValueError."""
    from bms_iot.simulator.faults import parse_fault

    words = line.split()
    if len(words) != 2 or not words[1].isdecimal():
        raise ValueError(f"{line.strip()!r} is not FAULT DEVICE or heal DEVICE, such as silent 2003")
    instance = int(words[1])
    if words[0] == "heal":
        building.clear_fault(instance)
        return f"{instance} behaves"
    fault, options = parse_fault(words[0])
    building.set_fault(instance, fault, **options)
    return f"{instance} misbehaves: {words[0]}"


async def _obey_lines(building: "SimulatedBuilding", reader: asyncio.StreamReader) -> None:
    while line := await reader.readline():
        if not line.strip():
            continue
        try:
            said = obey(building, line.decode(errors="replace"))
        except ValueError as error:
            said = f"not understood: {error}"
        typer.echo(said, err=True)


def _is_pipe() -> bool:
    if sys.stdin is None or sys.stdin.closed:
        return False
    try:
        mode = os.fstat(0).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
