"""What became of messages of the stream."""

import enum


class DeliveryState(enum.Enum):
    """Why a message does not wait any more."""

    DELIVERED = "delivered"
    """The broker acknowledged it."""
    PARKED = "parked"
    """No broker takes it; a gap was announced in its place, and `resend` may try it again."""
