"""What an ill-mannered device may do otherwise, and the words for it. The manners themselves are beside this module."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Protocol

from bms_iot.simulator.adversary.objects import Held, Objects
from bms_iot.simulator.adversary.requests import Asked, Request

if TYPE_CHECKING:
    from bms_iot.simulator.adversary.device import AdversarialDevice

ErrorCode = tuple[int, int]
"""Error class and error code of ASHRAE 135 clause 18."""

Answer = Held | ErrorCode


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """A datagram on its way out: after how many seconds, and whether from another UDP port than the device's own."""

    datagram: bytes
    after_seconds: float = 0.0
    elsewhere: bool = False


class Manner:
    """Without change it behaves well. `number` is the one option a manner may have; `chance` decides what is left to chance.

    Each of the methods is asked at its place, in the order a request walks through the device.
    """

    default: float | None = None
    """What `number` is when nobody says; None for manners without one."""
    lowest: float = 1
    max_apdu: int = 1476
    segmentation: int = 0
    """BACnetSegmentation: 0 both, 3 none."""

    def __init__(self, number: float, chance: Random) -> None:
        self.number = number
        self.chance = chance

    def furnish(self, objects: Objects) -> None:
        """Change what the device has, once, before it serves."""

    async def live(self, device: "AdversarialDevice") -> None:
        """Do something unasked; cancelled when the device stops."""

    def instance(self, instance: int) -> int:
        """The device instance it goes by."""
        return instance

    def refuse(self, request: Request, asked: Sequence[Asked]) -> bytes | None:
        """The APDU of a refusal, b"" to drop the request, None to answer it. `asked` is empty for services that do not read."""
        return None

    def answer(self, asked: Asked, answer: Answer) -> Answer:
        """What is answered for one property, instead of what it holds."""
        return answer

    def apdu(self, request: Request, apdu: bytes) -> bytes:
        """The answer's APDU, before it is cut into segments."""
        return apdu

    def send(self, request: Request, sendings: Iterable[Sending]) -> Iterable[Sending]:
        """The datagrams that leave for one request."""
        return sendings

    def introduce(self, i_am: bytes) -> Iterable[bytes]:
        """The I-Ams that answer a Who-Is, as APDUs."""
        return (i_am,)

    def notifies(self) -> bool:
        """Whether notifications are sent to those who subscribed."""
        return True


class MannerFactory(Protocol):
    """A class of manners."""

    default: float | None
    lowest: float

    def __call__(self, number: float, chance: Random) -> Manner: ...
