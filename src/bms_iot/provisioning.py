"""Whether the gateway has what it needs: a database at head, who it is, and where the broker is."""

import asyncio
from collections.abc import Sequence

import structlog

from bms_iot.database import gate, postgresql, target
from bms_iot.domain.configuration import Deployment
from bms_iot.domain.ports import Clock
from bms_iot.errors import ConfigurationError, SchemaError
from bms_iot.mqtt.way import tls_options
from bms_iot.settings import Settings
from bms_iot.storage.configuration import load_deployment, save_deployment
from bms_iot.storage.database import Database, open_database

log = structlog.get_logger()

IDENTIFIERS = ("organization_id", "site_id", "device_id")


def check_schema(settings: Settings) -> str:
    """The revision of the database, which must be at head or compatible. Creates nothing.

    Raises SchemaBehind with the command to run, SchemaNewer, DatabaseCorrupt, DatabaseLocked, SchemaError.
    """
    database = target.resolve(settings.url, relative_to=settings.data_directory)
    result = gate.check(database.path) if database.path else gate.approved(postgresql.status(database))
    assert result.revision is not None
    return result.revision


async def missing_provisioning(settings: Settings) -> list[str]:
    """The keys without which the gateway cannot run; empty when it can."""
    async with open_database(settings.url) as database:
        known = await database.read(load_deployment)
    missing = [] if settings.mqtt.host else ["mqtt.host"]
    return missing + [key for key in IDENTIFIERS if known is None and getattr(settings, key) is None]


async def known_deployment(settings: Settings) -> Deployment | None:
    """Who we are, as far as the settings and the database say; None where something is missing."""
    try:
        check_schema(settings)
    except SchemaError:
        known = None
    else:
        async with open_database(settings.url) as database:
            known = await database.read(load_deployment)
    values = {key: getattr(settings, key) or getattr(known, key, "") for key in IDENTIFIERS}
    return Deployment(**values) if all(values.values()) else None


def require_provisioned(settings: Settings) -> None:
    """Raises ConfigurationError that names the missing keys, or a certificate that cannot be used. Creates nothing."""
    try:
        check_schema(settings)
        missing = asyncio.run(missing_provisioning(settings))
    except SchemaError:
        missing = [key for key in IDENTIFIERS if getattr(settings, key) is None] + ([] if settings.mqtt.host else ["mqtt.host"])
    if missing:
        raise _not_provisioned(missing)
    if settings.mqtt.uses_tls:
        tls_options(settings.mqtt).context()


def _not_provisioned(missing: Sequence[str]) -> ConfigurationError:
    return ConfigurationError(f"not provisioned; missing: {', '.join(missing)}", hint=f"bms-iot config set {missing[0]} VALUE")


async def take_deployment(settings: Settings, database: Database, clock: Clock) -> Deployment:
    """Who we are: what the settings say, else what the database knows; the database follows the settings."""
    if missing := await missing_provisioning(settings):
        raise _not_provisioned(missing)
    known = await database.read(load_deployment)
    wanted = Deployment(**{key: getattr(settings, key) or getattr(known, key) for key in IDENTIFIERS})
    if wanted != known:
        await database.write(save_deployment, wanted, clock.now())
        log.info("deployment_set", organization_id=wanted.organization_id, site_id=wanted.site_id, device_id=wanted.device_id)
    return wanted
