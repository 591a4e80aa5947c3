"""Answers in several segments: putting them together again (ASHRAE 135 clauses 5.2, 5.4.4.4, 20.1.5 and 20.1.6).

We receive segments and never send any: no request of ours is longer than what a device takes. The window is what the device
proposes, at most 16. Segments are taken in order only; the first that is out of order is answered with a negative SegmentACK,
after which the device goes on from where we are.
"""

from dataclasses import dataclass, field

from bms_iot.bacnet.apdu import Segment

MAX_WINDOW = 16
MAX_SEGMENTS = 4_096
MAX_OCTETS = 2 * 1024 * 1024
MAX_SECONDS = 60.0
"""The longest a whole answer may take, however steadily its segments arrive."""

MAX_SEGMENTS_ACCEPTED = 0x70
"""`max-segments-accepted` of a request: more than 64 (clause 20.1.2.4)."""
SEGMENTED_RESPONSE_ACCEPTED = 0x02

INVALID_APDU_IN_THIS_STATE, SEGMENTATION_NOT_SUPPORTED, BUFFER_OVERFLOW, TSM_TIMEOUT = 2, 4, 1, 10
"""BACnetAbortReason (clause 18.10), as we give them."""


def encode_segment_ack(invoke_id: int, sequence: int, window: int, *, negative: bool = False) -> bytes:
    """A SegmentACK of a client (clause 20.1.6)."""
    return bytes((0x42 if negative else 0x40, invoke_id, sequence & 0xFF, window))


def encode_abort(invoke_id: int, reason: int) -> bytes:
    """An Abort of a client (clause 20.1.9)."""
    return bytes((0x70, invoke_id, reason))


def accept_segments(apdu: bytes) -> bytes:
    """The same confirmed request, saying that its answer may come in any number of segments."""
    return bytes((apdu[0] | SEGMENTED_RESPONSE_ACCEPTED, apdu[1] | MAX_SEGMENTS_ACCEPTED)) + apdu[2:]


class TooLong(Exception):
    """More segments or octets than are accepted."""


@dataclass(slots=True, kw_only=True)
class Reassembly:
    """One answer that arrives in segments, from its first on; `give_up_at` is when it must be whole, on the loop's clock."""

    give_up_at: float
    silences: int = 0
    """How often nothing came in time, since the last segment."""
    _window: int = 1
    _parts: list[bytes] = field(default_factory=list)
    _octets: int = 0
    _acknowledged: int = 0
    """How many segments the device knows that we have."""
    _repeated: int = 0
    _complained: bool = False

    def take(self, segment: Segment) -> bytes | None:
        """Take one segment; the SegmentACK to send now, if any. Raises TooLong.

        An answer begins with sequence number 0.
        """
        position = len(self._parts)
        if segment.sequence != position & 0xFF:
            return self._out_of_order(segment)
        if position == 0:
            self._window = min(max(segment.window, 1), MAX_WINDOW)
        self._octets += len(segment.parameters)
        if position >= MAX_SEGMENTS or self._octets > MAX_OCTETS:
            raise TooLong(f"more than {MAX_SEGMENTS} segments or {MAX_OCTETS} octets")
        self._parts.append(segment.parameters)
        self._repeated, self._complained, self.silences = 0, False, 0
        if position == 0 or not segment.more_follows or len(self._parts) - self._acknowledged >= self._window:
            return self._acknowledge(segment.invoke_id)
        return None

    def nudge(self, invoke_id: int) -> bytes:
        """The SegmentACK to send when nothing has come for a while: the last one, or what came after it, was lost."""
        return self._acknowledge(invoke_id, negative=True)

    @property
    def segments(self) -> int:
        """How many have been taken."""
        return len(self._parts)

    @property
    def octets(self) -> bytes:
        """All that has been taken, in order."""
        return b"".join(self._parts)

    def _out_of_order(self, segment: Segment) -> bytes | None:
        """Pass over a repeated segment, unless a whole window is: then our SegmentACK was lost. For a gap, ask once."""
        last = len(self._parts) - 1
        if (last - segment.sequence) & 0xFF < self._window:
            self._repeated += 1
            if self._repeated < min(self._window, self._acknowledged):
                return None
            self._repeated = 0
            return self._acknowledge(segment.invoke_id)
        if self._complained:
            return None
        self._complained = True
        return self._acknowledge(segment.invoke_id, negative=True)

    def _acknowledge(self, invoke_id: int, *, negative: bool = False) -> bytes:
        self._acknowledged = len(self._parts)
        return encode_segment_ack(invoke_id, len(self._parts) - 1, self._window, negative=negative)
