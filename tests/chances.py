"""How much is tried, and from which seed: the same words for every campaign."""

import os
from random import Random, SystemRandom

LEVEL = os.environ.get("BMS_CHAOS_LEVEL", "change")
"""change, nightly or release."""

SEED = int(os.environ.get("BMS_CHAOS_SEED") or SystemRandom().randrange(2**32))


def at_level(*, change: int, nightly: int, release: int) -> int:
    """How many, at the level that is asked for."""
    return {"change": change, "nightly": nightly}.get(LEVEL, release)


def seeded(name: object) -> Random:
    """Chance for a test; the seed it prints repeats it."""
    print(f"BMS_CHAOS_SEED={SEED}")
    return Random(f"{SEED} {name}")
