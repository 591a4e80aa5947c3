"""What became of messages of the stream."""

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta


class DeliveryState(enum.Enum):
    """Why a message does not wait any more."""

    DELIVERED = "delivered"
    """The broker acknowledged it."""
    PARKED = "parked"
    """No broker takes it; a gap was announced in its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Messages `first_seq` to `last_seq` of a boot, none of which was delivered; the times are those of their readings."""

    boot: int
    first_seq: int
    last_seq: int
    readings: int
    first_at: datetime
    last_at: datetime

    def followed_by(self, other: "Gap") -> "Gap":
        """Both as one; `other` begins where this ends."""
        return Gap(
            boot=self.boot,
            first_seq=self.first_seq,
            last_seq=other.last_seq,
            readings=self.readings + other.readings,
            first_at=min(self.first_at, other.first_at),
            last_at=max(self.last_at, other.last_at),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much the outbox keeps."""

    max_rows: int = 2_000_000
    max_bytes: int = 1 << 30
    """Of disk, delivered messages included."""
    max_age: timedelta = timedelta(days=30)
    """Of what waits, but for what an older version left (boot 0)."""
    replay: timedelta = timedelta(hours=24)
    """How long what was delivered is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryBounds:
    """How long and how much; `max_bytes` 0 keeps no history."""

    max_age: timedelta = timedelta(days=30)
    max_bytes: int = 256 << 20
    anchor: timedelta = timedelta(hours=1)
    """A value that does not change is kept again after that long."""
