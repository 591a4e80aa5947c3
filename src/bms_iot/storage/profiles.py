"""`device_profiles`: what was learned of each device, by its instance and address."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import structlog
from sqlalchemy import RowMapping, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bms_iot.domain.points import DeviceAddress, ObjectIdentifier, ObjectType
from bms_iot.domain.profiles import AbsentProperty, LearnedProfile
from bms_iot.models.device_profiles import DeviceProfiles

log = structlog.get_logger()

ProfileKey = tuple[int, DeviceAddress]
"""Device instance and address."""

_table = DeviceProfiles.__table__  # type: ignore[attr-defined]


async def load_profiles(connection: AsyncConnection) -> dict[ProfileKey, LearnedProfile]:
    """What is kept; a row that says something else than a profile is passed over and logged."""
    profiles = {}
    for row in (await connection.execute(select(_table))).mappings():
        try:
            address = DeviceAddress(host=row["controller_ip_address"], port=row["controller_port"])
            profiles[row["device_instance"], address] = _profile(row)
        except (LookupError, ValueError, TypeError, AttributeError) as error:
            log.error("profile_unusable", device=row["device_instance"], reason=f"{type(error).__name__}: {error}")
    return profiles


async def save_profiles(connection: AsyncConnection, profiles: Mapping[ProfileKey, LearnedProfile], now: datetime) -> None:
    """Keep these, each in place of what was kept of the same device at the same address."""
    for (instance, address), profile in profiles.items():
        identity = {"device_instance": instance, "controller_ip_address": address.host, "controller_port": address.port}
        await connection.execute(delete(_table).where(*(_table.c[name] == value for name, value in identity.items())))
        await connection.execute(insert(_table).values(**identity, **_columns(profile), updated_at=_naive(now)))


async def forget_profiles(connection: AsyncConnection, *, but: Iterable[ProfileKey]) -> None:
    """Drop what was learned of devices that are not read any more, or elsewhere: it can be learned again."""
    kept = set(but)
    rows = await connection.execute(select(_table.c.device_instance, _table.c.controller_ip_address, _table.c.controller_port))
    for instance, host, port in rows.all():
        if (instance, DeviceAddress(host=host, port=port)) not in kept:
            identity = (
                _table.c.device_instance == instance,
                _table.c.controller_ip_address == host,
                _table.c.controller_port == port,
            )
            await connection.execute(delete(_table).where(*identity))


def _profile(row: RowMapping) -> LearnedProfile:
    return LearnedProfile(
        max_apdu=row["max_apdu"],
        segmentation=row["segmentation"],
        budget=row["budget"],
        learned_at=row["learned_at"].replace(tzinfo=UTC),
        has_rpm=row["has_rpm"],
        proven_window=row["proven_window"],
        has_cov=row["has_cov"],
        is_list_by_index=row["is_list_by_index"],
        absent=frozenset(
            AbsentProperty(object=ObjectIdentifier(type=ObjectType(object_type), instance=int(instance)), property=int(number))
            for object_type, properties in (row["absent_properties"] or {}).items()
            for number, instances in properties.items()
            for instance in instances
        ),
    )


def _columns(profile: LearnedProfile) -> dict[str, Any]:
    absent: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for lacking in sorted(profile.absent, key=lambda one: (one.object.type.number, one.property, one.object.instance)):
        absent[lacking.object.type.value][str(lacking.property)].append(lacking.object.instance)
    return {
        "max_apdu": profile.max_apdu,
        "segmentation": profile.segmentation,
        "budget": profile.budget,
        "learned_at": _naive(profile.learned_at),
        "has_rpm": profile.has_rpm,
        "proven_window": profile.proven_window,
        "has_cov": profile.has_cov,
        "is_list_by_index": profile.is_list_by_index,
        "absent_properties": dict(absent) or None,
    }


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)
