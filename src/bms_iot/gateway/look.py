"""Look at a point to decide whether a write that may have been sent was carried out."""

import asyncio
from dataclasses import dataclass

from bms_iot.domain.points import Point
from bms_iot.domain.ports import ControllerNetwork
from bms_iot.domain.readings import Reading
from bms_iot.domain.writing import LOWEST_PRIORITY, PointWrite, WrittenValue, is_same
from bms_iot.errors import BacnetError

LOOK_AGAIN_AFTER_SECONDS = (0.0, 1.0)
"""A controller that took the write a moment ago may not show it yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What a point shows. `is_there` says whether it is what was written; None when that cannot be told."""

    is_there: bool | None
    present_value: str | None = None
    reason: str | None = None
    """Why it cannot be told."""


async def look(network: ControllerNetwork, write: PointWrite) -> Sight:
    """Read the point, twice where it does not show what was written."""
    sight = Sight(is_there=None)
    for pause in LOOK_AGAIN_AFTER_SECONDS:
        await asyncio.sleep(pause)
        try:
            (reading,) = await network.read_points(write.point.device, [write.point], optional=True)
        except BacnetError as error:
            return Sight(is_there=None, reason=str(error))
        sight = _sight(write, reading)
        if sight.is_there is not False:
            return sight
    return sight


def _sight(write: PointWrite, reading: Reading) -> Sight:
    if reading.error is not None:
        reason = f"the point cannot be read: {reading.error.error_class}, {reading.error.error_code}"
        return Sight(is_there=None, reason=reason)
    slots = (reading.optional or {}).get("priority_array")
    if isinstance(slots, list) and len(slots) == LOWEST_PRIORITY:
        is_there: bool | None = _is_in(write.point, slots[write.priority - 1], write.value)
    elif write.value is None or reading.present_value is None:
        is_there = None
    else:
        is_there = is_same(write.point.object.type, write.value, reading.present_value)
    return Sight(is_there=is_there, present_value=reading.present_value, reason="it shows no priority array")


def _is_in(point: Point, slot: object, value: WrittenValue) -> bool:
    """Whether a slot, as JSON has it, holds the value."""
    if value is None or slot is None:
        return value is slot
    if isinstance(slot, bool):
        return slot is value
    return is_same(point.object.type, value, str(slot))


async def has_slots(network: ControllerNetwork, point: Point) -> bool:
    """Whether a point shows a priority array. Raises DeviceUnreachable."""
    (reading,) = await network.read_points(point.device, [point], optional=True)
    return bool((reading.optional or {}).get("priority_array"))
