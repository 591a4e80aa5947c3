"""One simulated device: a rusty-bacnet server with the objects of its specification.

rusty-bacnet belongs to the extra `demo` and is imported when the first device is made.
"""

import importlib
import struct
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from bms_iot.domain.points import ObjectType
from bms_iot.errors import ConfigurationError, TransportError
from bms_iot.simulator.specification import UNITS, DeviceSpecification, PointSpecification, Value

if TYPE_CHECKING:
    import rusty_bacnet

NOTIFICATION_CLASS = 1
MODEL_PRIORITY = 16
"""The model commands outputs and values at the lowest priority (clause 19.2), so that anybody may override it."""


def load_rusty_bacnet() -> ModuleType:
    """The BACnet stack the devices are built on. Raises ConfigurationError where it is not installed or has no wheel."""
    try:
        return importlib.import_module("rusty_bacnet")
    except ImportError as error:
        raise ConfigurationError(
            "the simulated building needs rusty-bacnet, which is not installed or has no build for this machine",
            hint="pip install 'bms-iot[demo]'",
        ) from error


class DeviceServer:
    """Serves one device at `host`:`port`; broadcasts are heard where `broadcast` is."""

    def __init__(self, *, instance: int, specification: DeviceSpecification, host: str, port: int, broadcast: str) -> None:
        self._rusty = load_rusty_bacnet()
        self.instance = instance
        self.specification = specification
        self._address = f"{host}:{port}"
        self._server: rusty_bacnet.BACnetServer = self._rusty.BACnetServer(
            device_instance=instance,
            device_name=specification.name,
            interface=host,
            port=port,
            broadcast_address=broadcast,
            share_port_by_address=True,
            segmentation_supported=self._rusty.Segmentation.BOTH,
            rpm_max_result_elements=4096,
            rpm_max_service_ack_bytes=65_536,
        )
        self._points = specification.numbered()
        self._identifiers = [
            self._rusty.ObjectIdentifier(getattr(self._rusty.ObjectType, point.type.name), number) for number, point in self._points
        ]
        self._written: dict[int, Value] = {}

    async def start(self, *, alarms: bool) -> None:
        """Open the sockets and serve; `alarms` enables event detection. Raises TransportError when the address is taken.

        Objects of a plain device keep the optional properties rusty-bacnet gives them: writing a dozen takes 1 ms an object.
        """
        for number, point in self._points:
            self._add(number, point)
        self._server.add_notification_class(NOTIFICATION_CLASS, f"{self.specification.name}.Alarms", NOTIFICATION_CLASS)
        try:
            await self._server.start()
        except (OSError, RuntimeError) as error:
            raise TransportError(f"the simulated device {self.instance} cannot listen at {self._address}: {error}") from error
        await self._server.write_property_local(
            self._rusty.ObjectIdentifier(self._rusty.ObjectType.DEVICE, self.instance),
            self._rusty.PropertyIdentifier.DESCRIPTION,
            self._rusty.PropertyValue.character_string(f"{self.specification.description}, {self.specification.location}"),
            source_object=None,
        )
        for position, (_, point) in enumerate(self._points):
            for name, value in _provisioned(self._rusty, point, alarms=alarms, plain=self.specification.plain).items():
                await self._write(position, name, value)

    async def stop(self) -> None:
        """Close the sockets; harmless for a server that never started."""
        await self._server.stop()

    async def set(self, position: int, value: Value) -> bool:
        """Give the object at `position` a present-value, at the model's priority where it is commandable; False if it had it."""
        point = self._points[position][1]
        value = as_real(value) if point.type.is_analog else value
        if self._written.get(position) == value:
            return False
        encoded = _present_value(self._rusty, point, value)
        if point.type.value.endswith("Input"):
            await self._server.set_present_value_local(self._identifiers[position], encoded)
        else:
            await self._write(position, "PRESENT_VALUE", encoded, priority=MODEL_PRIORITY)
        self._written[position] = value
        return True

    async def commands(self) -> dict[str, float]:
        """What others command, by `PointSpecification.command`: the present-values that are not the model's own."""
        found = {}
        for position, (_, point) in enumerate(self._points):
            if point.command is None:
                continue
            priority = await self._read(position, "CURRENT_COMMAND_PRIORITY")
            if point.source is not None and (priority is None or priority >= MODEL_PRIORITY):
                continue
            value = float(await self._read(position, "PRESENT_VALUE"))
            if point.source is not None or value != as_real(point.default):
                found[point.command] = value
        return found

    async def _read(self, position: int, name: str) -> Any:
        prop = getattr(self._rusty.PropertyIdentifier, name)
        return (await self._server.read_property(self._identifiers[position], prop)).value

    async def _write(self, position: int, name: str, value: "rusty_bacnet.PropertyValue", *, priority: int | None = None) -> None:
        prop = getattr(self._rusty.PropertyIdentifier, name)
        await self._server.write_property_local(self._identifiers[position], prop, value, priority, source_object=None)

    def _add(self, number: int, point: PointSpecification) -> None:
        name = f"{self.specification.name}.{point.name}"
        add = getattr(self._server, "add_" + point.type.name.replace("MULTI_STATE", "multistate").lower())
        if point.type.is_analog:
            add(number, name, UNITS[point.units or "no-units"])
        elif point.type.is_binary:
            add(number, name)
        else:
            add(number, name, len(point.states))


def as_real(value: float) -> float:
    """The value as a REAL holds it."""
    return float(struct.unpack(">f", struct.pack(">f", value))[0])


def _present_value(rusty: ModuleType, point: PointSpecification, value: Value) -> "rusty_bacnet.PropertyValue":
    make: type[rusty_bacnet.PropertyValue] = rusty.PropertyValue
    if point.type.is_analog:
        return make.real(float(value))
    return make.enumerated(int(value)) if point.type.is_binary else make.unsigned(int(value))


def _provisioned(
    rusty: ModuleType, point: PointSpecification, *, alarms: bool, plain: bool
) -> Mapping[str, "rusty_bacnet.PropertyValue"]:
    """The properties of an object that are not what rusty-bacnet makes them, by its name of the property."""
    make = rusty.PropertyValue
    description = {"DESCRIPTION": make.character_string(point.description)}
    if plain:
        return description
    properties = description | {
        "NOTIFICATION_CLASS": make.unsigned(NOTIFICATION_CLASS),
        "TIME_DELAY": make.unsigned(10),
        "TIME_DELAY_NORMAL": make.unsigned(20),
        "EVENT_ENABLE": make.bit_string(5, b"\xe0"),
        "EVENT_DETECTION_ENABLE": make.boolean(alarms and bool(point.alarm or point.limits)),
        "EVENT_MESSAGE_TEXTS_CONFIG": make.list(
            [make.character_string(f"{point.name} {words}") for words in ("is off normal", "is in fault", "is normal again")]
        ),
    }
    if point.type.is_analog:
        properties |= _analog_properties(rusty, point)
    elif point.type.is_binary:
        inactive, active = point.states
        properties |= {"INACTIVE_TEXT": make.character_string(inactive), "ACTIVE_TEXT": make.character_string(active)}
        if point.alarm and point.type is not ObjectType.BINARY_OUTPUT:
            properties["ALARM_VALUE"] = make.enumerated(point.alarm[0])
    else:
        properties["STATE_TEXT"] = make.list([make.character_string(state) for state in point.states])
        if point.alarm and point.type is not ObjectType.MULTI_STATE_OUTPUT:
            properties["ALARM_VALUES"] = make.list([make.unsigned(state) for state in point.alarm])
    if not point.type.value.endswith("Input"):
        properties["RELINQUISH_DEFAULT"] = _present_value(rusty, point, point.default)
    return properties


def _analog_properties(rusty: ModuleType, point: PointSpecification) -> dict[str, "rusty_bacnet.PropertyValue"]:
    make = rusty.PropertyValue
    low, high = point.limits or (-1000.0, 1_000_000.0)
    return {
        "COV_INCREMENT": make.real(point.cov_increment or 0.1),
        "LOW_LIMIT": make.real(low),
        "HIGH_LIMIT": make.real(high),
        "DEADBAND": make.real(round((high - low) / 50, 2) if point.limits else 1.0),
        "LIMIT_ENABLE": make.bit_string(6, b"\xc0" if point.limits else b"\x00"),
    }
