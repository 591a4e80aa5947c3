"""A confirmed request on its way, and what it can end in (ASHRAE 135 clause 5.4.4)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from bms_iot.bacnet.apdu import Abort, ComplexAck, Error, Reject, SimpleAck
from bms_iot.bacnet.network.npdu import Station
from bms_iot.bacnet.transactions.segments import Reassembly
from bms_iot.bacnet.values import names
from bms_iot.errors import BacnetError, DeviceRefused

Answer: TypeAlias = SimpleAck | ComplexAck | Error | Reject | Abort
Outcome: TypeAlias = Answer | BacnetError


@dataclass(slots=True, kw_only=True, eq=False)
class Transaction:
    """A confirmed request on its way. `frame` is the whole datagram; only its invoke id is patched.

    `parked` ones have not been sent: no router is known yet, or it is busy; `reason` is what the network layer said.
    """

    station: Station
    service: int
    frame: bytearray
    invoke_id_at: int
    tries_left: int
    tries: int
    done: Callable[[Outcome], None]
    urgent: bool = False
    segmented: bool = False
    """The answer may come in segments."""
    invoke_id: int = -1
    deadline: float = 0.0
    stale_at: float = 0.0
    counted: bool = False
    parked: bool = False
    hold_until: float = 0.0
    reason: str | None = None
    send_error: OSError | None = None
    reassembly: Reassembly | None = None


def refusal(station: Station, answer: Error | Reject | Abort) -> DeviceRefused:
    """The refusal as an error that names class and code of clause 18."""
    match answer:
        case Error(error=error):
            error_class = names.name_of(names.ERROR_CLASSES, error.error_class)
            error_code = names.name_of(names.ERROR_CODES, error.error_code)
        case Reject(reason=reason):
            error_class, error_code = "reject", names.name_of(names.REJECT_REASONS, reason)
        case Abort(reason=reason):
            error_class, error_code = "abort", names.name_of(names.ABORT_REASONS, reason)
    return DeviceRefused(f"{station} refused: {error_class}, {error_code}", error_class=error_class, error_code=error_code)
