"""How fast controllers are read: our poller beside a bacpypes3 and a rusty-bacnet client, on the same simulated devices."""

import json
import os
import socket
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.bacnet.measured import FIRST_DEVICE, INTERVAL_SECONDS, PER_REQUEST, PROPERTIES, Measured
from benchmarks.record import publish

ROUNDS = int(os.environ.get("BMS_BENCH_ROUNDS", "5"))
SECONDS = float(os.environ.get("BMS_BENCH_SECONDS", "3"))
DEVICES, POINTS = 200, 144
LATENCY_MS = 20
VARIANTS = 16


def main(*, record: bool) -> None:
    compared: dict[str, list[Measured]] = {case: [] for case in ("ours", "rusty", "bacpypes3")}
    cold: dict[str, list[Measured]] = {"cold": [], "cold_unlike": []}
    for _ in range(ROUNDS):
        with devices(VARIANTS) as port:
            for case, rounds in compared.items():
                rounds.append(run(case, DEVICES, POINTS, port))
            for case, rounds in cold.items():
                rounds.append(run(case, DEVICES, POINTS, port))
    with devices(1) as port:
        unchanged = [run("ours", DEVICES, POINTS, port) for _ in range(ROUNDS)]
    with devices(VARIANTS, delay_ms=LATENCY_MS) as port:
        late = {count: [run("late", count, POINTS, port) for _ in range(ROUNDS)] for count in (DEVICES // 4, DEVICES)}
    with devices(VARIANTS) as port:
        beat = run("beat", DEVICES, 50, port, 3 * INTERVAL_SECONDS)
    body = "\n\n".join((_comparison(compared), _ours(compared["ours"], cold, unchanged, late, beat)))
    publish("performance.md", "bacnet", body, record=record)


@contextmanager
def devices(variants: int, *, delay_ms: int = 0) -> Iterator[int]:
    """The simulated devices in a process of their own; their port."""
    port = _free_port()
    command = [sys.executable, "-m", "benchmarks.bacnet.devices", FIRST_DEVICE, *map(str, (DEVICES, port, delay_ms, variants))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if process.stdout.readline() != "ready\n":
                raise SystemExit("the simulated devices did not start")
            yield port
        finally:
            process.stdin.close()


def _free_port() -> int:
    """An even UDP port that is free, as is the one after it."""
    for _ in range(100):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as next_:
            probe.bind(("0.0.0.0", 0))
            port: int = probe.getsockname()[1]
            try:
                next_.bind(("0.0.0.0", port + 1))
            except OSError:
                continue
            return port
    raise SystemExit("no UDP port is free")


def run(case: str, count: int, points: int, port: int, seconds: float = SECONDS) -> Measured:
    """One client in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.bacnet.clients", case, *map(str, (count, points, port, seconds))]
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    measured = Measured(**json.loads(finished.stdout))
    print(f"{case}: {measured.values:,} values, {measured.cpu:.2f} s of processor, {measured.wall:.2f} s", file=sys.stderr)
    return measured


def _per_core(rounds: list[Measured]) -> float:
    """Values for each second of processor."""
    return statistics.median(each.values / each.cpu for each in rounds)


def _by_the_clock(rounds: list[Measured]) -> float:
    """Values for each second that passed."""
    return statistics.median(each.values / each.wall for each in rounds)


def _comparison(compared: dict[str, list[Measured]]) -> str:
    named = {"ours": "ours, to `Reading`s", "rusty": "rusty-bacnet", "bacpypes3": "bacpypes3"}
    rows = [
        "| client | values/s of one core | values/s by the clock | processor per value | memory | ours is |",
        "|---|---|---|---|---|---|",
    ]
    for case, name in named.items():
        rounds = compared[case]
        per_core, memory = _per_core(rounds), statistics.median(each.rss for each in rounds)
        rows.append(
            f"| {name} | {per_core:,.0f} | {_by_the_clock(rounds):,.0f} | {1e6 / per_core:.2f} µs | {memory / 1e6:.0f} MB "
            f"| {_per_core(compared['ours']) / per_core:.1f}× |"
        )
    return "\n".join(rows)


def _ours(
    warm: list[Measured],
    cold: dict[str, list[Measured]],
    unchanged: list[Measured],
    late: dict[int, list[Measured]],
    beat: Measured,
) -> str:
    cap = 1000 / LATENCY_MS * PER_REQUEST * len(PROPERTIES)
    rows = {
        "every present-value changed": f"{_per_core(warm):,.0f} values/s of one core",
        "replies unchanged": f"{_per_core(unchanged):,.0f} values/s of one core",
        "first sweep, nothing learned": f"{_per_core(cold['cold']):,.0f} values/s of one core",
        "first sweep, no two devices alike": f"{_per_core(cold['cold_unlike']):,.0f} values/s of one core",
        **{
            f"{count} devices that take {LATENCY_MS} ms, one request in flight to each": (
                f"{_by_the_clock(rounds) / (count * cap):.0%} by the clock of the {count * cap:,.0f} values/s they can give; "
                f"{_per_core(rounds):,.0f} values/s of one core"
            )
            for count, rounds in late.items()
        },
        f"10,000 points × {len(PROPERTIES)} properties on {DEVICES} devices every {INTERVAL_SECONDS:g} s": (
            f"{beat.cpu / beat.wall:.2%} of a core, all of the process"
        ),
    }
    return "\n".join(["| ours | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])
