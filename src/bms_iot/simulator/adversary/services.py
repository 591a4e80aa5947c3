"""Manners about services: what is refused, dropped or only half done (ASHRAE 135 clauses 12.11, 13.14, 15.7 and 18)."""

from collections.abc import Sequence
from random import Random

from bms_iot.domain.points import ObjectType
from bms_iot.simulator.adversary import octets, reading, requests
from bms_iot.simulator.adversary.manner import Answer, Manner
from bms_iot.simulator.adversary.objects import DEVICE, OBJECT_LIST, HeldObject, Objects, object_of
from bms_iot.simulator.adversary.requests import Asked, Identifier, Request
from bms_iot.simulator.specification import PointSpecification

BUFFER_OVERFLOW, SEGMENTATION_NOT_SUPPORTED, OTHER, UNRECOGNIZED_SERVICE = 1, 4, 0, 9
NO_SEGMENTATION = 3


class NoReadPropertyMultiple(Manner):
    """Rejects ReadPropertyMultiple as unrecognized-service."""

    def refuse(self, request: Request, asked: Sequence[Asked]) -> bytes | None:
        if request.service == requests.READ_PROPERTY_MULTIPLE:
            return reading.reject(request, UNRECOGNIZED_SERVICE)
        return None


class Aborts(Manner):
    """Aborts (reason: other) every ReadPropertyMultiple for more than `number` properties."""

    default = 4
    reason = OTHER

    def refuse(self, request: Request, asked: Sequence[Asked]) -> bytes | None:
        return reading.abort(request, self.reason) if len(asked) > self.number else None


class BufferOverflow(Aborts):
    """Aborts with buffer-overflow every ReadPropertyMultiple for more than `number` properties."""

    default = 20
    reason = BUFFER_OVERFLOW


class DropsBigRequests(Manner):
    """Says nothing to a ReadPropertyMultiple for more than `number` properties."""

    default = 20

    def refuse(self, request: Request, asked: Sequence[Asked]) -> bytes | None:
        return b"" if len(asked) > self.number else None


class Silent(Manner):
    """Answers Who-Is and nothing else."""

    def refuse(self, request: Request, asked: Sequence[Asked]) -> bytes | None:
        return b""


class NoSegmentation(Manner):
    """Aborts with segmentation-not-supported whatever does not fit into an APDU of `number` octets."""

    default = 480
    lowest = 50
    segmentation = NO_SEGMENTATION

    def __init__(self, number: float, chance: Random) -> None:
        super().__init__(number, chance)
        self.max_apdu = int(number)


class IndexOnly(Manner):
    """Refuses its object list as a whole; index by index it answers."""

    def refuse(self, request: Request, asked: Sequence[Asked]) -> bytes | None:
        if any(each.property == OBJECT_LIST and each.index is None and each.object[0] == DEVICE for each in asked):
            return reading.abort(request, SEGMENTATION_NOT_SUPPORTED)
        return None


class TruncatedObjectList(Manner):
    """Leaves the second half of its object list out where it is read as a whole; element 0 tells the true number."""

    def answer(self, asked: Asked, answer: Answer) -> Answer:
        if asked.property != OBJECT_LIST or asked.index is not None or not isinstance(answer, list):
            return answer
        return answer[: len(answer) // 2]


class ManyObjects(Manner):
    """Has `number` analog values more, whose present-value is their instance."""

    default = 50_000

    def furnish(self, objects: Objects) -> None:
        object_type, first = ObjectType.ANALOG_VALUE, max((i for kind, i in objects.kept if kind == 2), default=0) + 1
        last = first + int(self.number) - 1
        objects.listed += [(object_type.number, instance) for instance in range(first, last + 1)]

        def more(identifier: Identifier) -> HeldObject | None:
            if identifier[0] != object_type.number or not first <= identifier[1] <= last:
                return None
            point = PointSpecification(
                type=object_type,
                name=f"Many{identifier[1]}",
                description="One of many",
                units="no-units",
                default=float(identifier[1]),
            )
            return object_of(identifier, point.name, point)

        objects.more = more
        objects.list_octets()  # long to make, so not while others wait


class NoSubscriptions(Manner):
    """Rejects SubscribeCOV as unrecognized-service."""

    def refuse(self, request: Request, asked: Sequence[Asked]) -> bytes | None:
        return reading.reject(request, UNRECOGNIZED_SERVICE) if request.service == requests.SUBSCRIBE_COV else None


class NoNotifications(Manner):
    """Accepts subscriptions and never notifies."""

    def notifies(self) -> bool:
        return False


class ForeignValues(Manner):
    """Answers every read about the object of the next higher instance, as if that had been asked for."""

    def apdu(self, request: Request, apdu: bytes) -> bytes:
        if apdu[0] >> 4 != 3 or request.service not in (requests.READ_PROPERTY, requests.READ_PROPERTY_MULTIPLE):
            return apdu
        at = 3
        identifier = int.from_bytes(apdu[at + 1 : at + 5], "big") + 1
        return apdu[:at] + octets.context(0, identifier.to_bytes(4, "big")) + apdu[at + 5 :]
