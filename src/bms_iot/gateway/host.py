"""The box: processor, memory, disk, temperature, and its restart."""

import os
import shlex
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import structlog

log = structlog.get_logger()

RESTART_SECONDS = 60.0
"""How long the box may take to begin its restart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostMeasurements:
    """Percent of the whole machine, degrees Celsius, seconds; None where the machine does not say."""

    cpu_usage_percent: float | None
    memory_usage_percent: float | None
    disk_usage_percent: float | None
    temperature_celsius: float | None
    uptime_seconds: int
    load_average: float


def measure(data_directory: Path) -> HostMeasurements:
    """Now; the processor since the last call. The disk is the one that holds the data directory."""
    return HostMeasurements(
        cpu_usage_percent=psutil.cpu_percent(),
        memory_usage_percent=psutil.virtual_memory().percent,
        disk_usage_percent=psutil.disk_usage(str(data_directory)).percent,
        temperature_celsius=_temperature(),
        uptime_seconds=int(time.clock_gettime(time.CLOCK_BOOTTIME)),
        load_average=round(os.getloadavg()[0], 2),
    )


def restart(command: str) -> None:
    """Run the program that restarts the box; where it fails the gateway alone restarts."""
    try:
        result = subprocess.run(  # noqa: S603 - the settings name it, nobody else can
            shlex.split(command), stdin=subprocess.DEVNULL, capture_output=True, timeout=RESTART_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        log.error("host_restart_failed", reason=str(error))
        return
    if result.returncode:
        said = result.stderr.decode(errors="replace")[-500:]
        log.error("host_restart_failed", reason=f"it ended with {result.returncode}: {said}")


def _temperature() -> float | None:
    sensors = psutil.sensors_temperatures() if hasattr(psutil, "sensors_temperatures") else {}
    for name in ("cpu_thermal", "coretemp", "k10temp", *sensors):
        if readings := sensors.get(name):
            return round(float(readings[0].current), 1)
    return None
