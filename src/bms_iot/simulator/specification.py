"""What a simulated device is made of: its objects, their properties, and where each present-value comes from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bms_iot.domain.points import ObjectType
from bms_iot.simulator.model import BuildingState

Value = float | int | bool
"""A present-value: float for analog, bool for binary, the state number (from 1) for multi-state."""

Source = Callable[[BuildingState], Value]

UNITS = {
    "amperes": 3,
    "bars": 55,
    "cubic-meters-per-hour": 135,
    "degrees-celsius": 62,
    "delta-degrees-kelvin": 121,
    "hertz": 27,
    "hours": 71,
    "kilopascals": 54,
    "kilovolt-amperes": 9,
    "kilovolt-amperes-reactive": 12,
    "kilowatt-hours": 19,
    "kilowatts": 48,
    "liters-per-second": 87,
    "minutes": 72,
    "no-units": 95,
    "parts-per-million": 96,
    "pascals": 53,
    "percent": 98,
    "percent-relative-humidity": 29,
    "power-factor": 15,
    "seconds": 73,
    "volts": 5,
}
"""BACnetEngineeringUnits (ASHRAE 135 clause 21) of the ones used here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PointSpecification:
    """One object. `source` gives its present-value; without one it holds `default`, which is the relinquish-default too.

    `command` names the model's input that this object commands: a value somebody wrote to it replaces the model's own.
    `limits` are low-limit and high-limit; `alarm` is the binary value that is off-normal, or the multi-state values that are.
    """

    type: ObjectType
    name: str
    description: str
    units: str | None = None
    source: Source | None = None
    default: Value = 0.0
    command: str | None = None
    limits: tuple[float, float] | None = None
    cov_increment: float | None = None
    states: tuple[str, ...] = ()
    alarm: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSpecification:
    """One device; its objects are numbered from 1 within each type, in the order given. `plain` ones are quick to start.

    `manners` are its ill manners (`adversary.catalogue`), in the words of `bms-iot simulate`; without any it behaves.
    """

    name: str
    description: str
    location: str
    points: tuple[PointSpecification, ...]
    plain: bool = False
    manners: str = ""

    def numbered(self) -> list[tuple[int, PointSpecification]]:
        """Each object with its object instance."""
        count: dict[ObjectType, int] = {}
        numbered = []
        for point in self.points:
            count[point.type] = count.get(point.type, 0) + 1
            numbered.append((count[point.type], point))
        return numbered


_ANALOG = {"I": ObjectType.ANALOG_INPUT, "O": ObjectType.ANALOG_OUTPUT, "V": ObjectType.ANALOG_VALUE}
_BINARY = {"I": ObjectType.BINARY_INPUT, "O": ObjectType.BINARY_OUTPUT, "V": ObjectType.BINARY_VALUE}
_MULTI_STATE = {"I": ObjectType.MULTI_STATE_INPUT, "O": ObjectType.MULTI_STATE_OUTPUT, "V": ObjectType.MULTI_STATE_VALUE}


def analog(
    kind: str,
    name: str,
    description: str,
    units: str,
    source: Source | float,
    *,
    command: str | None = None,
    limits: tuple[float, float] | None = None,
    cov: float = 0.1,
) -> PointSpecification:
    """An analog object; `kind` is I, O or V, `source` a constant or a function of the building's state."""
    return PointSpecification(
        type=_ANALOG[kind],
        name=name,
        description=description,
        units=units,
        source=source if callable(source) else None,
        default=0.0 if callable(source) else float(source),
        command=command,
        limits=limits,
        cov_increment=cov,
    )


def binary(
    kind: str,
    name: str,
    description: str,
    source: Source | bool,
    *,
    command: str | None = None,
    states: tuple[str, str] = ("Off", "On"),
    alarm: tuple[int, ...] = (),
) -> PointSpecification:
    """A binary object; `states` are inactive-text and active-text, `alarm` is (1,) where active is off-normal."""
    return PointSpecification(
        type=_BINARY[kind],
        name=name,
        description=description,
        source=source if callable(source) else None,
        default=False if callable(source) else source,
        command=command,
        states=states,
        alarm=alarm,
    )


def multi_state(
    kind: str,
    name: str,
    description: str,
    states: Sequence[str],
    source: Source | int,
    *,
    command: str | None = None,
    alarm: tuple[int, ...] = (),
) -> PointSpecification:
    """A multi-state object with its state-text."""
    return PointSpecification(
        type=_MULTI_STATE[kind],
        name=name,
        description=description,
        source=source if callable(source) else None,
        default=1 if callable(source) else source,
        command=command,
        states=tuple(states),
        alarm=alarm,
    )
