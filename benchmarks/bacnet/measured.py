"""What the processes of this benchmark agree on."""

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
