"""How a simulated device misbehaves. A new fault is a member of `Fault`, a class here and a line in `_REGISTRY`."""

import enum
import re
from collections.abc import Callable

from bms_iot.simulator import packets
from bms_iot.simulator.packets import Packet


class Fault(enum.Enum):
    """The faults there are; the value is what a person types."""

    SILENT = "silent"
    SLOW = "slow"
    NO_RPM = "no-rpm"
    TRUNCATED_OBJECT_LIST = "truncated-object-list"
    TRUNCATED_REPLY = "truncated-reply"
    ABORT = "abort"


class Misbehaviour:
    """What the front asks before it passes a packet on. Without change it behaves well."""

    delay_seconds: float = 0.0
    """How much later every answer leaves."""

    def hears(self, octets: bytes) -> bool:
        """False loses the packet on its way in."""
        return True

    def answer(self, request: Packet) -> bytes | None:
        """A packet to answer with instead of asking the device, None to ask it."""
        return None

    def alter(self, reply: Packet) -> bytes:
        """The packet that leaves instead of the device's reply."""
        return reply.octets


class Silent(Misbehaviour):
    """Hears nothing, says nothing: no reply, no I-Am, no notification."""

    def hears(self, octets: bytes) -> bool:
        return False


class Slow(Misbehaviour):
    """Answers everything, `seconds` late."""

    def __init__(self, *, seconds: float = 5.0) -> None:
        if not 0 < seconds <= 600:
            raise ValueError("slow takes seconds between 0 and 600")
        self.delay_seconds = seconds


class NoReadPropertyMultiple(Misbehaviour):
    """Rejects ReadPropertyMultiple as unrecognized-service (clause 18.9), as small controllers do."""

    def answer(self, request: Packet) -> bytes | None:
        if request.pdu_type != packets.CONFIRMED_REQUEST or request.service != packets.READ_PROPERTY_MULTIPLE:
            return None
        return packets.unicast(bytes((packets.REJECT << 4, request.invoke_id or 0, 9)))


class TruncatedObjectList(Misbehaviour):
    """Leaves the last entries out when the whole object-list is read; object-list[0] still tells the true number.

    `keep` entries stay, by default half of them. A list that leaves in segments is not cut.
    """

    _LIST = re.compile(rb"(\x19\x4c\x3e|\x29\x4c\x4e)((?:\xc4.{4})*)(?=\x3f|\x4f)", re.DOTALL)

    def __init__(self, *, keep: int | None = None) -> None:
        if keep is not None and keep < 0:
            raise ValueError("truncated-object-list keeps a number of entries, 0 or more")
        self._keep = keep

    def alter(self, reply: Packet) -> bytes:
        if reply.pdu_type != packets.COMPLEX_ACK or reply.segment is not None:
            return reply.octets

        def cut(match: re.Match[bytes]) -> bytes:
            entries = len(match[2]) // 5
            return match[1] + match[2][: 5 * (entries // 2 if self._keep is None else self._keep)]

        return packets.resized(reply.octets[: reply.body_at] + self._LIST.sub(cut, reply.body))


class TruncatedReply(Misbehaviour):
    """Sends the first half of the service data of every read, with a BVLC length that agrees."""

    def alter(self, reply: Packet) -> bytes:
        if reply.pdu_type != packets.COMPLEX_ACK:
            return reply.octets
        return packets.resized(reply.octets[: reply.body_at + len(reply.body) // 2])


class AbortBigRequests(Misbehaviour):
    """Aborts with buffer-overflow (clause 18.10) a ReadPropertyMultiple whose service data is longer than `octets`."""

    def __init__(self, *, octets: int = 50) -> None:
        self._octets = octets

    def answer(self, request: Packet) -> bytes | None:
        big = request.service == packets.READ_PROPERTY_MULTIPLE and len(request.body) > self._octets
        if request.pdu_type != packets.CONFIRMED_REQUEST or not big:
            return None
        return packets.unicast(bytes((packets.ABORT << 4 | 1, request.invoke_id or 0, 1)))


_REGISTRY: dict[Fault, Callable[..., Misbehaviour]] = {
    Fault.SILENT: Silent,
    Fault.SLOW: Slow,
    Fault.NO_RPM: NoReadPropertyMultiple,
    Fault.TRUNCATED_OBJECT_LIST: TruncatedObjectList,
    Fault.TRUNCATED_REPLY: TruncatedReply,
    Fault.ABORT: AbortBigRequests,
}


def misbehaviour(fault: Fault, **options: float) -> Misbehaviour:
    """The behaviour of that fault. Raises ValueError for an option it does not have or a value it cannot take."""
    try:
        return _REGISTRY[fault](**options)
    except TypeError as error:
        raise ValueError(f"{fault.value} does not take {', '.join(options) or 'these options'}") from error


def parse_fault(text: str) -> tuple[Fault, dict[str, float]]:
    """`silent`, `slow=8` or `truncated-object-list=3`: the number is the fault's one option. Raises ValueError."""
    name, _, number = text.partition("=")
    try:
        fault = Fault(name)
    except ValueError as error:
        known = ", ".join(member.value for member in Fault)
        raise ValueError(f"{name!r} is no fault; there are {known}") from error
    if not number:
        return fault, {}
    option = {Fault.SLOW: "seconds", Fault.TRUNCATED_OBJECT_LIST: "keep", Fault.ABORT: "octets"}.get(fault)
    if option is None:
        raise ValueError(f"{name} takes no number")
    try:
        value = float(number) if fault is Fault.SLOW else int(number)
    except ValueError as error:
        raise ValueError(f"{number!r} is no number for {name}") from error
    misbehaviour(fault, **{option: value})
    return fault, {option: value}
