"""Answers too long for one APDU: cut into segments, sent a window at a time (ASHRAE 135 clause 5.4)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bms_iot.simulator import packets
from bms_iot.simulator.adversary.requests import Address, Request

MAX_SEGMENTS_OF_US = 128
HEADER_OCTETS = 5


def segmented(request: Request, apdu: bytes, *, max_apdu: int, window: int) -> list[bytes]:
    """The segments of a ComplexACK, each at most `max_apdu` long, proposing `window`."""
    room = max_apdu - HEADER_OCTETS
    body = apdu[3:]
    pieces = [body[start : start + room] for start in range(0, len(body), room)]
    return [
        bytes((0x38 | (0x04 if n < len(pieces) - 1 else 0), request.invoke_id, n % 256, window, request.service)) + piece
        for n, piece in enumerate(pieces)
    ]


@dataclass(slots=True)
class _Flow:
    """One answer on its way: `first` is the oldest segment not acknowledged."""

    request: Request
    segments: list[bytes]
    first: int = 0
    window: int = 1


class Segments:
    """The answers on their way in segments, by client and invoke id. `transmit` sends APDUs that answer a request."""

    def __init__(self, transmit: Callable[[Request, Iterable[bytes]], None]) -> None:
        self._transmit = transmit
        self._flows: dict[tuple[Address, int], _Flow] = {}

    def start(self, request: Request, segments: list[bytes]) -> None:
        """Send the first segment; the rest follows what the client acknowledges. Bounded: the oldest flow gives way."""
        if len(self._flows) >= 64:
            del self._flows[next(iter(self._flows))]
        self._flows[request.client, request.invoke_id] = _Flow(request, segments)
        self._transmit(request, segments[:1])

    def acknowledged(self, apdu: bytes, client: Address) -> None:
        """A SegmentACK arrived: go on after the segment it names, or again from there when it is a negative one."""
        if len(apdu) < 4:
            return
        flow = self._flows.get((client, apdu[1]))
        if flow is None:
            return
        flow.window = max(1, min(apdu[3], 127))
        # The number counts modulo 256: it is one of the window that is on its way.
        ahead = (apdu[2] - flow.first + 1) % 256
        if ahead <= flow.window:
            flow.first += ahead
        if flow.first >= len(flow.segments):
            del self._flows[client, apdu[1]]
            return
        self._transmit(flow.request, flow.segments[flow.first : flow.first + flow.window])

    def aborted(self, apdu: bytes, client: Address) -> None:
        """The client gave up."""
        self._flows.pop((client, apdu[1]), None)

    @property
    def open(self) -> int:
        return len(self._flows)


def is_for_segments(pdu_type: int) -> bool:
    return pdu_type in (packets.SEGMENT_ACK, packets.ABORT)
