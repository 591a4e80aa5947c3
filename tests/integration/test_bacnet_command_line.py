"""`bms-iot bacnet` as a person meets it: devices by instance and address, any spelling, exit codes, beside a running gateway."""

import asyncio
import io
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pytest
import rusty_bacnet

from bms_iot.cli import main
from tests.integration.bacnet_devices import INSTANCE, adversary, bound
from tests.integration.bacnet_responder import free_port

BROADCAST = "127.255.255.255"


@dataclass(frozen=True, kw_only=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True, kw_only=True)
class CommandLine:
    """`bms-iot bacnet` with settings of its own."""

    home: Path
    port: int

    def environment(self, **settings: str) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("BMS_")}
        return {
            **inherited,
            "BMS_DATA_DIRECTORY": str(self.home),
            "BMS_BACNET__ADDRESS": "127.0.0.9",
            "BMS_BACNET__PORT": str(self.port),
            "BMS_BACNET__BROADCAST": BROADCAST,
            "BMS_BACNET__TIMEOUT_SECONDS": "0.3",
            "COLUMNS": "80",
            **settings,
        }

    async def run(self, *arguments: str, **settings: str) -> Done:
        """In a thread of this process, which spares the start of another; the devices go on beside it."""
        # How this process logs stays as it is.
        with patch.dict(os.environ, self.environment(**settings), clear=True), patch("bms_iot.cli.log.configure"):
            return await asyncio.to_thread(_run, arguments)

    async def start(self, *arguments: str) -> Done:
        """In a process of its own, as a person does."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bms_iot", "bacnet", *arguments, env=self.environment(), stdin=DEVNULL, stdout=PIPE, stderr=PIPE
        )
        async with asyncio.timeout(30):
            out, err = await process.communicate()
        assert process.returncode is not None
        return Done(code=process.returncode, out=out.decode(), err=err.decode())


def _run(arguments: Sequence[str]) -> Done:
    code: object = 0
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        try:
            main(["bacnet", *arguments])
        except SystemExit as ended:
            code = ended.code
    return Done(code=int(str(code or 0)), out=out.getvalue(), err=err.getvalue())


@pytest.fixture
def bms(tmp_path: Path) -> CommandLine:
    return CommandLine(home=tmp_path, port=free_port())


@asynccontextmanager
async def found_by_broadcast(port: int) -> AsyncIterator[None]:
    """A rusty-bacnet device that hears broadcasts."""
    server = rusty_bacnet.BACnetServer(
        device_instance=INSTANCE,
        device_name="found",
        interface="127.0.2.230",
        port=port,
        broadcast_address=BROADCAST,
        share_port_by_address=True,
    )
    server.add_analog_input(1, "Supply", 62, 21.7)
    server.add_analog_output(1, "Valve", 98)
    await server.start()
    try:
        yield
    finally:
        await server.stop()


async def test_a_device_is_found_by_its_instance_and_read_in_any_spelling(bms: CommandLine) -> None:
    async with found_by_broadcast(bms.port):
        plain = await bms.run("read", str(INSTANCE), "AI1")
        named = await bms.run("read", str(INSTANCE), "(analog-input, 1)", "units")
        several = await bms.run("read", str(INSTANCE), "0:1", "85", "objectName", "--json")
        listed = await bms.run("read", str(INSTANCE), f"device:{INSTANCE}", "object-list", "--json")
    assert (plain.code, plain.out) == (0, "21.7\n"), plain
    assert (named.code, named.out) == (0, "degrees-celsius\n"), named
    assert [(row["property"], row["value"]) for row in several.rows] == [("present-value", 21.7), ("object-name", "Supply")]
    assert listed.rows[0]["value"] == [f"device:{INSTANCE}", "analog-input:1", "analog-output:1"]


async def test_a_device_nobody_knows_is_said_to_be_missing_with_what_to_do(bms: CommandLine) -> None:
    done = await bms.run("read", "77", "AI1", "--wait", "0.2")
    assert done.code == 1
    assert "device 77 did not answer" in done.err
    assert "next:" in done.err
    assert done.out == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("read", "1.2.3", "AI1"), "is no device and no address"),
        (("read", "1200", "AX1"), "there is no type 'AX'"),
        (("read", "1200", "AI1", "presnt-value"), "did you mean present-value"),
        (("write", "1200", "AO1", "warm"), "is no number"),
        (("write", "1200", "AO1", "nan"), "not a finite number"),
        (("write", "1200", "BO1", "2"), "is no binary value"),
        (("write", "1200", "MSV1", "0"), "is no state"),
        (("write", "1200", "AO1"), "a value is missing"),
        (("write", "1200", "AO1", "5", "--release"), "a value is missing, or there is one beside --release"),
        (("write", "1200", "AO1", "5", "--priority", "6"), "reserved for minimum on and off times"),
        (("write", "1200", "schedule:1", "5"), "is no analog, binary or multi-state object"),
        (("subscribe", "1200", "device:1200"), "is no analog, binary or multi-state object"),
    ],
)
def test_wrong_input_is_a_usage_error_that_says_why_and_what_next(
    arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["bacnet", *arguments])
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert says in error
    assert "next:" in error


async def test_an_address_is_read_also_beside_a_gateway_that_has_our_port(bms: CommandLine) -> None:
    taken = bound("127.0.0.9", bms.port)
    try:
        async with adversary() as (_, device):
            done = await bms.run("read", f"{device.address.host}:{device.address.port}", "AO1", "priority-array")
    finally:
        taken.close()
    assert done.code == 0, done
    assert f"has UDP port {bms.port}" in done.err
    assert done.out.splitlines()[0] == "[1] null"
    assert done.out.splitlines()[15] == "[16] 20.0"


async def test_what_cannot_be_read_is_an_error_and_costs_nothing_else(bms: CommandLine) -> None:
    async with adversary() as (_, device):
        done = await bms.run("read", f"{device.address.host}:{device.address.port}", "AI1", "present-value", "4000", "--json")
    assert done.code == 1
    assert [(row["value"], row["error"]) for row in done.rows] == [(21.5, None), (None, "property, unknown-property")]


async def test_the_objects_of_a_device_are_listed_with_their_values_in_80_columns(bms: CommandLine) -> None:
    async with adversary() as (_, device):
        address = f"{device.address.host}:{device.address.port}"
        table = await bms.run("objects", address)
        rows = await bms.run("objects", address, "--json")
    assert table.code == 0, table
    assert len(table.out.splitlines()) == 9
    assert table.out.splitlines()[0].split() == ["analog-input:1", "21.5", "degreesCelsius", "device.AI"]
    assert max(map(len, table.out.splitlines())) <= 80
    assert "9 objects and 1 of other types" in table.err
    assert rows.rows[3]["present_value"] == "inactive"


async def test_the_examples_of_the_help_are_lines_of_their_own(bms: CommandLine) -> None:
    for verb in ("discover", "objects", "read", "write", "subscribe"):
        done = await bms.run(verb, "--help")
        lines = [line.strip() for line in done.out.splitlines()]
        assert sum(line.startswith(f"bms-iot bacnet {verb}") for line in lines) >= 2
        assert "\\b" not in done.out
        assert "\b" not in done.out


async def test_writes_are_off_until_a_setting_turns_them_on_and_somebody_confirms(bms: CommandLine) -> None:
    async with adversary() as (made, device):
        address = f"{device.address.host}:{device.address.port}"
        off = await bms.run("write", address, "AO1", "55", "--yes")
        unconfirmed = await bms.run("write", address, "AO1", "55", BMS_WRITES__ENABLED="true")
        too_high = await bms.run("write", address, "AO1", "55", "--yes", "--priority", "5", BMS_WRITES__ENABLED="true")
        assert made.requests == 0
    assert (off.code, "writes are off" in off.err, "config set writes.enabled true" in off.err) == (78, True, True)
    assert (unconfirmed.code, "--yes" in unconfirmed.err) == (2, True)
    assert (too_high.code, "writes.priority_floor" in too_high.err) == (78, True)


async def test_a_value_is_written_explained_and_given_back(bms: CommandLine) -> None:
    async with adversary() as (_, device):
        address, on = f"{device.address.host}:{device.address.port}", {"BMS_WRITES__ENABLED": "true"}
        written = await bms.run("write", address, "AO1", "55", "--yes", "--json", **on)
        below = await bms.run("write", address, "AV1", "-5", "--yes", **on)
        released = await bms.run("write", address, "AO1", "--release", "--yes", **on)
        refused = await bms.run("write", address, "AO1", "101", "--yes", **on)
    (row,) = written.rows
    assert (written.code, row["state"], row["after"], row["holder"]) == (0, "done", "55", {"priority": 8, "value": "55"})
    assert (below.code, below.out) == (0, "done: written; priority 8 holds the point (21 -> -5)\n")
    assert released.out == "done: relinquished at priority 8; priority 16 holds the point at 20 (55 -> 20)\n"
    assert (refused.code, refused.out) == (1, "refused: 101 is above its max-pres-value, 100\n")


async def test_changes_are_printed_as_they_come_and_the_subscriptions_end(bms: CommandLine) -> None:
    async with adversary() as (made, device):
        address = f"{device.address.host}:{device.address.port}"
        running = asyncio.create_task(bms.start("subscribe", address, "AI1", "BI1", "--seconds", "1.5", "--json"))
        async with asyncio.timeout(20):
            while len(made.subscriptions) < 2:
                await asyncio.sleep(0.02)
        await made.set(0, 33.0)
        done = await running
        assert len(made.subscriptions) == 0
    assert done.code == 0, done
    values = [(row["object"], row["present_value"]) for row in done.rows]
    assert values == [("analog-input:1", "21.5"), ("binary-input:1", "inactive"), ("analog-input:1", "33")]


async def test_a_device_without_subscriptions_says_so_and_the_command_ends(bms: CommandLine) -> None:
    async with adversary(words="no-subscriptions") as (_, device):
        done = await bms.start("subscribe", f"{device.address.host}:{device.address.port}", "AI1")
    assert done.code == 1
    assert "refused: reject, unrecognized-service" in done.err
