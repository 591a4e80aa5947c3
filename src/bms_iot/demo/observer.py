"""What arrived at the broker, counted where it arrives: independent of what the gateway says of itself."""

import json
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

Identity = tuple[int, str, int]
"""Device instance, object type as on the wire, object instance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The newest reading of a point; `at` is the monotonic time of its arrival."""

    text: str | None
    units: str | None
    quality: str
    at: float


@dataclass(slots=True, kw_only=True)
class Observer:
    """Call it with each message a client published."""

    messages: dict[tuple[int, int], int] = field(default_factory=dict)
    """(boot, seq) → its number of readings, counted once however often it arrives."""
    points: dict[Identity, Seen] = field(default_factory=dict)
    repeated: int = 0
    heartbeat: dict[str, Any] = field(default_factory=dict)
    state: str = "unknown"

    def __call__(self, topic: str, payload: bytes, _retain: bool) -> None:
        if topic.endswith("/bulk"):
            self._bulk(json.loads(payload))
        elif topic.endswith("/status/heartbeat"):
            self.heartbeat = json.loads(payload)
        elif topic.endswith("/status/update"):
            self.state = json.loads(payload)["state"]

    @property
    def readings(self) -> int:
        """Readings that arrived, each counted once."""
        return sum(self.messages.values())

    def gaps(self) -> int:
        """How many messages are missing below the newest of each boot."""
        highest: dict[int, int] = defaultdict(int)
        for boot, seq in self.messages:
            highest[boot] = max(highest[boot], seq)
        return sum(highest.values()) - len(self.messages)

    def of_device(self, instance: int) -> dict[Identity, Seen]:
        return {identity: seen for identity, seen in self.points.items() if identity[0] == instance}

    def _bulk(self, body: dict[str, Any]) -> None:
        key = body["boot"], body["seq"]
        if key in self.messages:
            self.repeated += 1
            return
        self.messages[key] = len(body["points"])
        now = time.monotonic()
        for point in body["points"]:
            identity = int(point["controller_device_id"]), point["bacnet_object_type"], point["point_id"]
            self.points[identity] = Seen(text=point["present_value"], units=point["units"], quality=point["quality"], at=now)
