"""Which devices there are: those of the building, or any number of generic ones."""

import math
from collections.abc import Callable, Sequence

from bms_iot.simulator.air import air_handling_unit, vav_box
from bms_iot.simulator.model import BuildingState
from bms_iot.simulator.plant import boiler, chiller, meter, pump_skid
from bms_iot.simulator.specification import DeviceSpecification, PointSpecification, analog, binary, multi_state


def building_devices() -> tuple[DeviceSpecification, ...]:
    """The eleven devices of the simulated building."""
    return (air_handling_unit(), *(vav_box(n) for n in range(1, 7)), chiller(), boiler(), pump_skid(), meter())


def generic_devices(devices: int, points: int) -> tuple[DeviceSpecification, ...]:
    """`devices` devices of `points` objects each, the nine types in turn."""
    return tuple(
        DeviceSpecification(
            name=f"Controller-{k}",
            description=f"Generic controller {k}",
            location="Simulated",
            plain=True,
            points=tuple(_generic_point(k, j) for j in range(1, points + 1)),
        )
        for k in range(1, devices + 1)
    )


def ill_mannered_devices(manners: Sequence[str], points: int = 18) -> tuple[DeviceSpecification, ...]:
    """A device of `points` objects, the nine types in turn, for each of `manners`."""
    return tuple(
        DeviceSpecification(
            name=f"Rude-{k}",
            description=f"Controller with {words}",
            location="Simulated",
            manners=words,
            points=tuple(_generic_point(1000 + k, j) for j in range(1, points + 1)),
        )
        for k, words in enumerate(manners, start=1)
    )


def _generic_point(k: int, j: int) -> PointSpecification:
    family, kind = ("analog", "binary", "multi_state")[j % 3], "IOV"[j // 3 % 3]
    name, description = f"Point{j}", f"Point {j} of controller {k}"
    phase = 0.7 * k + 1.3 * j
    if family == "analog":
        return analog(kind, name, description, "degrees-celsius", _wave(phase))
    if family == "binary":
        return binary(kind, name, description, lambda s: math.sin(s.seconds / 120.0 + phase) > 0)
    states = ("Low", "Medium", "High")
    return multi_state(kind, name, description, states, lambda s: 1 + int(s.seconds / 60.0 + phase) % 3)


def _wave(phase: float) -> Callable[[BuildingState], float]:
    return lambda s: round(21.0 + 3.0 * math.sin(s.seconds / 90.0 + phase), 2)
