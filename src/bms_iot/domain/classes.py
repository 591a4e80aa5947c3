"""How often a point is read: its polling class, and who chose it.

The heaviest choice counts: what was set on site for the point itself (`bms-iot points set`), then what the cloud's configuration
says of it, then the first pattern of the settings that fits, then `normal`.
"""

import enum


class PollingClass(enum.Enum):
    """The database stores the NAME, JSON and MQTT carry the value."""

    FAST = "fast"
    NORMAL = "normal"
    SLOW = "slow"
