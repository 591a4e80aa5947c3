"""Home Assistant's device discovery: one retained message that describes a controller and its points as entities.

Everything is read only. The messages follow Home Assistant's "MQTT discovery", section device discovery (since release 2024.12).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from bms_iot import __version__
from bms_iot.domain.points import Device, Point
from bms_iot.mqtt.topics import Topics

ENTITIES_AT_ONCE = 100
"""A message of so many has about 60 kB. Several with one device identifier are one device to Home Assistant."""

_UNITS = {
    "degreesCelsius": ("°C", "temperature"),
    "degreesFahrenheit": ("°F", "temperature"),
    "degreesKelvin": ("K", "temperature"),
    "percentRelativeHumidity": ("%", "humidity"),
    "percent": ("%", None),
    "pascals": ("Pa", "pressure"),
    "hectopascals": ("hPa", "pressure"),
    "kilopascals": ("kPa", "pressure"),
    "bars": ("bar", "pressure"),
    "watts": ("W", "power"),
    "kilowatts": ("kW", "power"),
    "wattHours": ("Wh", "energy"),
    "kilowattHours": ("kWh", "energy"),
    "megawattHours": ("MWh", "energy"),
    "volts": ("V", "voltage"),
    "amperes": ("A", "current"),
    "hertz": ("Hz", "frequency"),
    "luxes": ("lx", "illuminance"),
    "partsPerMillion": ("ppm", None),
    "litersPerSecond": ("L/s", None),
    "cubicMetersPerHour": ("m³/h", None),
    "cubicMetersPerSecond": ("m³/s", None),
    "seconds": ("s", "duration"),
    "minutes": ("min", "duration"),
    "hours": ("h", "duration"),
}
"""BACnet's engineering units (ASHRAE 135 clause 21) as Home Assistant writes them, with its device class; others go as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A point and what it is called on site."""

    point: Point
    name: str | None


def discovery(device: Device, points: Sequence[Named], topics: Topics, prefix: str) -> list[tuple[str, bytes]]:
    """(topic, payload) of the messages that describe one controller, to be retained; none for no points."""
    return [
        (
            f"{prefix}/device/{_object_id(device, topics)}_{at // ENTITIES_AT_ONCE + 1}/config",
            _encoded(device, points[at : at + ENTITIES_AT_ONCE], topics),
        )
        for at in range(0, len(points), ENTITIES_AT_ONCE)
    ]


def _object_id(device: Device, topics: Topics) -> str:
    wanted = f"bms_iot_{topics.iot_device_id}_{device.controller_id}_{device.instance}"
    return "".join(c if c.isascii() and (c.isalnum() or c in "_-") else f"-{ord(c):x}-" for c in wanted)


def _encoded(device: Device, points: Sequence[Named], topics: Topics) -> bytes:
    body = {
        "device": {
            "identifiers": [f"bms-iot/{topics.base}/{device.controller_id}/{device.instance}"],
            "name": f"BACnet device {device.instance}",
            "model": "BACnet/IP controller",
            "via_device": f"bms-iot/{topics.base}",
        },
        "origin": {"name": "bms-iot", "sw_version": __version__},
        "availability_topic": topics.status_update,
        "availability_template": _availability(device),
        "components": {named.point.iot_device_point_id: _entity(named, topics) for named in points},
    }
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def _availability(device: Device) -> str:
    """`online` where the gateway is there and does not name the controller among those that do not answer."""
    controller = json.dumps(device.controller_id)
    silent = "value_json.unavailable_controllers | default([]) | map(attribute='controller_id') | list"
    return f"{{{{ 'online' if value_json.state == 'online' and {controller} not in ({silent}) else 'offline' }}}}"


def _entity(named: Named, topics: Topics) -> dict[str, object]:
    point = named.point
    entity: dict[str, object] = {
        "platform": "binary_sensor" if point.object.type.is_binary else "sensor",
        "unique_id": point.iot_device_point_id,
        "name": named.name or str(point.object),
        "state_topic": topics.last_value(str(point.device.instance), point.iot_device_point_id),
        "json_attributes_topic": topics.last_value(str(point.device.instance), point.iot_device_point_id),
        "value_template": "{{ value_json.value }}",
    }
    if point.object.type.is_binary:
        entity["value_template"] = "{{ 'None' if value_json.value is none else 'ON' if value_json.value else 'OFF' }}"
    elif point.object.type.is_analog:
        unit, device_class = _UNITS.get(point.units or "", (point.units, None))
        entity["state_class"] = "measurement"
        if unit and unit != "noUnits":
            entity["unit_of_measurement"] = unit
        if device_class == "energy":
            entity["state_class"] = "total_increasing"
        if device_class:
            entity["device_class"] = device_class
    return entity
