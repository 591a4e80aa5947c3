"""The simulated devices as a checker wants to know them."""

from dataclasses import dataclass

from bms_iot.domain.points import DeviceAddress, ObjectType
from bms_iot.simulator.specification import DeviceSpecification


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedObject:
    """One object as a checker wants to know it; `units` as the standard spells them, None where the type has none."""

    type: ObjectType
    instance: int
    name: str
    description: str
    units: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedDevice:
    """One device: position k (from 1) has the device instance 2000 + k. `manners` are its ill ones, in words."""

    instance: int
    address: DeviceAddress
    name: str
    description: str
    objects: tuple[SimulatedObject, ...]
    manners: str = ""


def host_of(k: int) -> str:
    """127.0.2.1 is the first, 127.0.3.1 the 255th."""
    third, fourth = divmod(k - 1, 254)
    return f"127.0.{2 + third}.{1 + fourth}"


def describe(instance: int, address: DeviceAddress, specification: DeviceSpecification) -> SimulatedDevice:
    return SimulatedDevice(
        instance=instance,
        address=address,
        name=specification.name,
        description=specification.description,
        manners=specification.manners,
        objects=tuple(
            SimulatedObject(
                type=point.type,
                instance=number,
                name=f"{specification.name}.{point.name}",
                description=point.description,
                units=point.units,
            )
            for number, point in specification.numbered()
        ),
    )
