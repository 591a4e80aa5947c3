"""The points as a person looks at them: which they are, how often they are read and who chose that, what they read last."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from bms_iot.bacnet.identifiers import parse_object
from bms_iot.domain.classes import Choice, ClassRule, PointPattern, choose, object_name
from bms_iot.domain.points import Point, kebab_case
from bms_iot.errors import InvalidInput
from bms_iot.gateway.monitor import NO_PROPERTIES, place_of, properties_by_place
from bms_iot.storage.classes import load_classes
from bms_iot.storage.configuration import load_configuration
from bms_iot.storage.points import load_latest, load_points

HINT = "a point is spelled by its iot_device_point_id, or DEVICE/OBJECT such as 1200/AI1; several as DEVICE/TYPE/NAME with * and ?"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPoint:
    """A point of the database; `latest` has its value columns as last written, `is_read` says whether it is configured."""

    point: Point
    name: str | None
    choice: Choice
    is_read: bool
    latest: Mapping[str, object]

    @property
    def spelling(self) -> str:
        """`1200/analog-input:1`."""
        wanted = self.point.object
        return f"{self.point.device.instance}/{kebab_case(wanted.type.value)}:{wanted.instance}"

    def as_json(self) -> dict[str, object]:
        """Flat, with the names of the tables and of the settings."""
        point, device = self.point, self.point.device
        return {
            "id": point.id,
            "iot_device_point_id": point.iot_device_point_id,
            "device_instance": device.instance,
            "address": str(device.address),
            "controller_id": device.controller_id,
            "type": point.object.type.value,
            "instance": point.object.instance,
            "name": self.name,
            "units": point.units,
            "class": self.choice.polling_class.value,
            "chosen_by": self.choice.by.value,
            "is_read": self.is_read,
            **self.latest,
        }


async def known_points(connection: AsyncConnection, rules: Sequence[ClassRule]) -> list[KnownPoint]:
    """Every point, by device and object."""
    configured = await load_configuration(connection)
    said, on_site, latest = properties_by_place(configured), await load_classes(connection), await load_latest(connection)
    points = [
        KnownPoint(
            point=point,
            name=object_name(said.get(place_of(point), NO_PROPERTIES)),
            choice=choose(point, said.get(place_of(point), NO_PROPERTIES), on_site=on_site, rules=rules),
            is_read=not configured or place_of(point) in said,
            latest=latest.get(point.id, {}),
        )
        for point in (row.point for row in await load_points(connection))
    ]
    return sorted(
        points, key=lambda known: (known.point.device.instance, known.point.object.type.number, known.point.object.instance)
    )


def select(points: Sequence[KnownPoint], wanted: str) -> list[KnownPoint]:
    """Those a person means: by `iot_device_point_id`, `DEVICE/OBJECT` in any spelling of an object, or `DEVICE[/TYPE[/NAME]]`.

    Raises InvalidInput for what is none of these, and where nothing fits.
    """
    if by_id := [known for known in points if known.point.iot_device_point_id == wanted.strip()]:
        return by_id
    fits = _object(wanted) or _pattern(wanted)
    if not (found := [known for known in points if fits(known)]):
        raise InvalidInput(f"no point fits {wanted!r}", hint="bms-iot points list")
    return found


def _object(wanted: str) -> Callable[[KnownPoint], bool] | None:
    device, slash, spelled = wanted.partition("/")
    if not slash or "/" in spelled:
        return None
    try:
        identifier = parse_object(spelled)
    except InvalidInput:
        return None
    pattern = PointPattern(device=device.strip() or "*")

    def fits(known: KnownPoint) -> bool:
        named = known.point.object
        return (named.type.number, named.instance) == (identifier.type, identifier.instance) and pattern.fits(
            known.point, known.name
        )

    return fits


def _pattern(wanted: str) -> Callable[[KnownPoint], bool]:
    try:
        pattern = PointPattern.parse(wanted)
    except ValueError as error:
        raise InvalidInput(str(error), hint=HINT) from None
    return lambda known: pattern.fits(known.point, known.name)
