"""What the processes of this benchmark agree on."""

import os
from contextlib import suppress
from dataclasses import dataclass

FIRST_DEVICE = "127.0.40.1"
PROPERTIES = (85, 111, 36, 81, 103)
PER_REQUEST = 36
"""Objects in a ReadPropertyMultiple whose answer fills a datagram."""
INTERVAL_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a client did: values, seconds of processor and of the clock, and its memory in bytes at its highest."""

    values: int
    cpu: float
    wall: float
    rss: int


def take_precedence() -> None:
    """Before other programs, where the system allows: what is measured by the clock must not wait for them."""
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)
