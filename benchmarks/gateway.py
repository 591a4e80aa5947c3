"""What the gateway needs: processor and memory while it reads the simulated building every 5 s, for 10 minutes."""

import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.record import publish, table
from bms_iot.demo.scene import open_scene

MINUTES = float(os.environ.get("BMS_BENCH_MINUTES", "10"))
INTERVAL_SECONDS = 5
SAMPLE_SECONDS = 5.0


def main(*, record: bool) -> None:
    with tempfile.TemporaryDirectory() as directory:
        publish("performance.md", "gateway", table(asyncio.run(_measure(Path(directory)))), record=record)


async def _measure(directory: Path) -> dict[str, str]:
    settings = {"BMS_POLLING__INTERVAL_SECONDS": str(INTERVAL_SECONDS), "BMS_HEARTBEAT_SECONDS": "30"}
    async with open_scene(directory, settings) as scene:
        process = psutil.Process(scene.gateway.pid)
        samples = await _sample(process)
        account = await scene.stop_gateway()
        points = len(scene.observer.points)
    settled = [sample for sample in samples if sample["at"] >= min(120.0, MINUTES * 12)]
    first, last = settled[0], settled[-1]
    cpu = (last["cpu"] - first["cpu"]) / (last["at"] - first["at"])
    thirds = [statistics.median(s["rss"] for s in part) for part in (settled[: len(settled) // 3], settled[-len(settled) // 3 :])]
    return {
        "points, interval, minutes": f"{points}, {INTERVAL_SECONDS} s, {MINUTES:g}",
        "readings committed / delivered": f"{account['committed_readings']:,} / {scene.observer.readings:,}",
        "processor, of one core": f"{cpu:.2%}",
        "processor per reading": f"{cpu * INTERVAL_SECONDS / points * 1e6:.0f} µs",
        "resident memory, highest": f"{max(s['rss'] for s in samples) / 1e6:.1f} MB",
        "resident memory, median of the first and last third after minute 2": " → ".join(f"{rss / 1e6:.1f} MB" for rss in thirds),
        "written to disk": f"{(last['written'] - first['written']) / (last['at'] - first['at']) * 86400 / 1e6:.0f} MB a day",
        "open files, first → last": f"{first['fds']} → {last['fds']}",
    }


async def _sample(process: psutil.Process) -> list[dict[str, Any]]:
    started, samples = time.monotonic(), []
    while (at := time.monotonic() - started) < MINUTES * 60:
        times, io = process.cpu_times(), process.io_counters()
        samples.append(
            {
                "at": at,
                "cpu": times.user + times.system,
                "rss": process.memory_info().rss,
                "written": io.write_bytes,
                "fds": process.num_fds(),
            }
        )
        await asyncio.sleep(SAMPLE_SECONDS)
    return samples
