"""Who the gateway is and what it reads: `deployment_config`, `bacnet_readers`, `bacnet_config`, `iot_device_status`, `boots`."""

import ipaddress
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import structlog
from sqlalchemy import RowMapping, String, cast, delete, func, insert, select, type_coerce, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bms_iot.domain.configuration import ConfiguredDevice, ConfiguredObject, Deployment, Reader
from bms_iot.domain.health import ConnectionStatus, MonitoringStatus
from bms_iot.domain.points import DEFAULT_PORT, Device, DeviceAddress, ObjectIdentifier, ObjectType
from bms_iot.models.bacnet_config import BacnetConfig
from bms_iot.models.bacnet_readers import BacnetReaders
from bms_iot.models.boots import Boots
from bms_iot.models.deployment_config import DeploymentConfig
from bms_iot.models.iot_device_status import IotDeviceStatus

KEPT_CONFIGURATIONS = 5
KEPT_BOOTS = 1000
MAX_INSTANCE = 4_194_302
"""ASHRAE 135 clause 12: instances have 22 bits, the highest is none."""

log = structlog.get_logger()

_deployment = DeploymentConfig.__table__  # type: ignore[attr-defined]
_readers = BacnetReaders.__table__  # type: ignore[attr-defined]
_config = BacnetConfig.__table__  # type: ignore[attr-defined]
_status = IotDeviceStatus.__table__  # type: ignore[attr-defined]
_boots = Boots.__table__  # type: ignore[attr-defined]


async def load_deployment(connection: AsyncConnection) -> Deployment | None:
    """Who this gateway is, None before provisioning."""
    row = (await connection.execute(select(_deployment).order_by(_deployment.c.id).limit(1))).mappings().first()
    if row is None:
        return None
    return Deployment(organization_id=row["organization_id"], site_id=row["site_id"], device_id=row["device_id"])


async def save_deployment(connection: AsyncConnection, deployment: Deployment, now: datetime) -> None:
    """Make this the one deployment."""
    values = {
        "organization_id": deployment.organization_id,
        "site_id": deployment.site_id,
        "device_id": deployment.device_id,
        "updated_at": _naive(now),
    }
    changed = await connection.execute(update(_deployment).values(values))
    if not changed.rowcount:
        await connection.execute(insert(_deployment).values(**values, created_at=_naive(now)))


async def load_readers(connection: AsyncConnection) -> list[Reader]:
    """Our BACnet interfaces as the cloud configured them."""
    columns = [type_coerce(_readers.c[name], String).label(name) for name in _READER_COLUMNS]
    readers = []
    for row in (await connection.execute(select(*columns).order_by(_readers.c.id))).mappings():
        try:
            readers.append(_reader(row))
        except (ValueError, TypeError) as error:
            log.error("reader_unusable", reader=row["id"], reason=str(error))
    return readers


def _reader(row: RowMapping) -> Reader:
    """Raises ValueError for what is no address, port or network."""
    prefix = str(row["subnet_mask"])
    network = ipaddress.IPv4Network((row["ip_address"], prefix if "." in prefix else int(prefix)), strict=False)
    if not 1 <= int(row["port"]) <= 65_535:
        raise ValueError(f"{row['port']} is no UDP port")
    return Reader(
        id=row["id"],
        host=str(ipaddress.IPv4Address(row["ip_address"])),
        port=int(row["port"]),
        prefix_length=network.prefixlen,
        device_instance=int(row["bacnet_device_id"]),
        is_active=str(row["is_active"]).lower() in ("1", "true"),
        bbmd=row["bbmd_server_ip"] if str(row["bbmd_enabled"]).lower() in ("1", "true") else None,
    )


_READER_COLUMNS = (
    "id", "ip_address", "port", "subnet_mask", "bacnet_device_id", "is_active", "bbmd_enabled", "bbmd_server_ip",
)  # fmt: skip


async def save_readers(connection: AsyncConnection, readers: Iterable[Reader], device_id: str, now: datetime) -> None:
    """Replace our BACnet interfaces by these."""
    await connection.execute(delete(_readers))
    for reader in readers:
        await connection.execute(
            insert(_readers).values(
                id=reader.id,
                iot_device_id=device_id,
                ip_address=reader.host,
                port=reader.port,
                subnet_mask=reader.prefix_length,
                bacnet_device_id=reader.device_instance,
                is_active=reader.is_active,
                bbmd_enabled=reader.bbmd is not None,
                bbmd_server_ip=reader.bbmd,
                created_at=_naive(now),
                updated_at=_naive(now),
            )
        )


async def load_configuration(connection: AsyncConnection) -> list[ConfiguredDevice]:
    """The newest configuration that is not empty; failed discoveries of older versions left empty ones behind."""
    for _, value in await _configurations(connection):
        if devices := devices_from_json(value):
            return devices
    return []


async def _configurations(connection: AsyncConnection) -> list[tuple[int, object]]:
    """Id and content, newest first; what is no JSON is None."""
    rows = await connection.execute(select(_config.c.id, cast(_config.c.bacnet_devices, String)).order_by(_config.c.id.desc()))
    return [(row[0], _json(row[1])) for row in rows]


def _json(text: str | None) -> object:
    try:
        return json.loads(text or "null")
    except (ValueError, RecursionError):
        return None


async def save_configuration(connection: AsyncConnection, devices: Sequence[ConfiguredDevice], now: datetime) -> None:
    """Keep this configuration, at least one device, as the newest, and the few before it."""
    await connection.execute(
        insert(_config).values(bacnet_devices=devices_to_json(devices), created_at=_naive(now), updated_at=_naive(now))
    )


async def prune(connection: AsyncConnection) -> None:
    """Forget all but the newest configurations and boots; the newest that is not empty always stays."""
    rows = await _configurations(connection)
    filled = [row[0] for row in rows if devices_from_json(row[1])]
    kept = {row[0] for row in rows[:KEPT_CONFIGURATIONS]} | set(filled[:1])
    if gone := [row[0] for row in rows if row[0] not in kept]:
        await connection.execute(delete(_config).where(_config.c.id.in_(gone)))
    newest = (await connection.execute(select(func.max(_boots.c.boot)))).scalar() or 0
    await connection.execute(delete(_boots).where(_boots.c.boot <= newest - KEPT_BOOTS))


async def next_boot(connection: AsyncConnection, *, floor: int, version: str, now: datetime) -> int:
    """Number this start: above every earlier boot and above `floor`."""
    newest = (await connection.execute(select(func.max(_boots.c.boot)))).scalar() or 0
    boot = max(newest, floor) + 1
    await connection.execute(insert(_boots).values(boot=boot, started_at=_naive(now), version=version))
    return boot


async def load_monitoring(connection: AsyncConnection) -> MonitoringStatus | None:
    """Whether monitoring was last started or stopped; None on a device that never said."""
    stored = (await connection.execute(select(type_coerce(_status.c.monitoring_status, String)).limit(1))).scalar()
    return MonitoringStatus.__members__.get(stored or "")


async def save_monitoring(connection: AsyncConnection, deployment: Deployment, monitoring: MonitoringStatus, now: datetime) -> None:
    """Remember that monitoring was started or stopped."""
    await _save_status(connection, deployment, {"monitoring_status": monitoring, "updated_at": _naive(now)}, now)


async def save_status(
    connection: AsyncConnection,
    deployment: Deployment,
    *,
    monitoring: MonitoringStatus,
    mqtt: ConnectionStatus,
    bacnet: ConnectionStatus,
    payload: str,
    now: datetime,
) -> None:
    """Make this the one row of `iot_device_status`; `payload` is the heartbeat as JSON, its numbers go to their columns."""
    numbers = {name: value for name, value in json.loads(payload).items() if name in _NUMBERS}
    values: dict[str, Any] = {
        "monitoring_status": monitoring,
        "mqtt_connection_status": mqtt,
        "bacnet_connection_status": bacnet,
        "payload": payload,
        "updated_at": _naive(now),
        "received_at": _naive(now),
        **numbers,
    }
    await _save_status(connection, deployment, values, now)


async def _save_status(connection: AsyncConnection, deployment: Deployment, values: Mapping[str, Any], now: datetime) -> None:
    identity = {
        "iot_device_id": deployment.device_id,
        "organization_id": deployment.organization_id,
        "site_id": deployment.site_id,
    }
    first = select(func.min(_status.c.id)).scalar_subquery()
    await connection.execute(delete(_status).where(_status.c.id > first))
    changed = await connection.execute(update(_status).values(**identity, **values))
    if not changed.rowcount:
        await connection.execute(insert(_status).values({"created_at": _naive(now), **identity, **values}))


_NUMBERS = (
    "cpu_usage_percent",
    "memory_usage_percent",
    "disk_usage_percent",
    "temperature_celsius",
    "uptime_seconds",
    "load_average",
    "bacnet_devices_connected",
    "bacnet_points_monitored",
)


def devices_to_json(devices: Iterable[ConfiguredDevice]) -> list[dict[str, Any]]:
    """The form of `bacnet_config` and of the cloud's upload."""
    return [
        {
            "vendor_id": configured.device.vendor_id,
            "device_id": configured.device.instance,
            "controller_ip_address": configured.device.address.host,
            "controller_port": configured.device.address.port,
            "controller_id": configured.device.controller_id,
            "object_list": [
                {
                    "type": wanted.object.type.value,
                    "point_id": wanted.object.instance,
                    "iot_device_point_id": wanted.iot_device_point_id,
                    "properties": dict(wanted.properties),
                }
                for wanted in configured.objects
            ],
        }
        for configured in devices
    ]


def devices_from_json(value: object) -> list[ConfiguredDevice]:
    """What older and newer versions wrote; entries without what identifies them, and second claims, are passed over."""
    entries = value if isinstance(value, list) else []
    return distinct(device for entry in entries if isinstance(entry, Mapping) and (device := _device(entry)) is not None)


def distinct(devices: Iterable[ConfiguredDevice]) -> list[ConfiguredDevice]:
    """Without those that claim a controller id and instance, or an address and instance, that an earlier one has."""
    seen: set[tuple[object, int]] = set()
    result = []
    for configured in devices:
        device = configured.device
        claims = {(device.controller_id, device.instance), (device.address, device.instance)}
        if seen & claims:
            log.error(
                "controller_configured_twice", controller=device.controller_id, device=device.instance, address=str(device.address)
            )
            continue
        seen |= claims
        result.append(configured)
    return result


def _device(entry: Mapping[str, Any]) -> ConfiguredDevice | None:
    try:
        device = Device(
            address=DeviceAddress(host=str(entry["controller_ip_address"]), port=int(entry.get("controller_port") or DEFAULT_PORT)),
            instance=int(entry["device_id"]),
            controller_id=str(entry["controller_id"]),
            vendor_id=entry.get("vendor_id"),
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    if not (0 <= device.instance <= MAX_INSTANCE and 1 <= device.address.port <= 65_535):
        return None
    listed = entry.get("object_list")
    objects = [_object(item) for item in listed if isinstance(item, Mapping)] if isinstance(listed, list) else []
    return ConfiguredDevice(device=device, objects=tuple(wanted for wanted in objects if wanted is not None))


def _object(item: Mapping[str, Any]) -> ConfiguredObject | None:
    try:
        identifier = ObjectIdentifier(type=ObjectType(item["type"]), instance=int(item["point_id"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    if not 0 <= identifier.instance <= MAX_INSTANCE:
        return None
    properties, key = item.get("properties"), item.get("iot_device_point_id")
    return ConfiguredObject(
        object=identifier,
        iot_device_point_id=key if isinstance(key, str) and key else None,
        properties=properties if isinstance(properties, Mapping) else {},
    )


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)
