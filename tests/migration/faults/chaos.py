"""How much is tried, from which seed, and where: on a disk in memory, since nothing here depends on what is on the real one."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random, SystemRandom

LEVEL = os.environ.get("BMS_CHAOS_LEVEL", "change")
"""change, nightly or release."""

IS_FULL = LEVEL != "change"
SEED = int(os.environ.get("BMS_CHAOS_SEED") or SystemRandom().randrange(2**32))
MEMORY = Path("/dev/shm")


def chance(name: object) -> Random:
    """The same for the same seed and name, whatever else runs."""
    return Random(f"{SEED} {name}")


def seeded(name: object) -> Random:
    """Chance for a test; the seed it prints repeats it."""
    print(f"BMS_CHAOS_SEED={SEED}")
    return chance(name)


@contextmanager
def directory() -> Iterator[Path]:
    where = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=where, prefix="bms-faults-") as name:
        yield Path(name)
