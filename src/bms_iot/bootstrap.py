"""The composition root: Settings → a running Gateway. Nothing else builds anything."""

import fcntl
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from bms_iot import __version__
from bms_iot.bacnet import BacnetNetwork
from bms_iot.bacnet.network.holders import holder_of
from bms_iot.domain.classes import PollingClass
from bms_iot.domain.configuration import ConfiguredDevice, Reader
from bms_iot.domain.ports import Broker, Clock, ControllerNetwork
from bms_iot.domain.schedule import Pace
from bms_iot.domain.subscriptions import CovTerms
from bms_iot.errors import ConfigurationError, DatabaseLocked, SchemaError, TransportError
from bms_iot.gateway.beat import Beat
from bms_iot.gateway.clock import SystemClock
from bms_iot.gateway.commanding import compose_execute
from bms_iot.gateway.configure import Configure
from bms_iot.gateway.date import Date, WatchedClock
from bms_iot.gateway.discover import Discovered, claim, devices_of, merge
from bms_iot.gateway.gateway import Gateway
from bms_iot.gateway.image import CurrentImage
from bms_iot.gateway.meter import Meter
from bms_iot.gateway.mirror import Mirror
from bms_iot.gateway.monitor import Monitor, keep_configuration
from bms_iot.gateway.points import KnownPoint, known_points, select
from bms_iot.gateway.poll import Poll
from bms_iot.gateway.prune import Prune
from bms_iot.gateway.publish import Publish
from bms_iot.gateway.readers import OpenReader, Readers
from bms_iot.gateway.record import Record
from bms_iot.gateway.remember import Remember
from bms_iot.gateway.spare import Spare
from bms_iot.gateway.state import GatewayState
from bms_iot.gateway.store import Store
from bms_iot.gateway.subscribe import Subscribe
from bms_iot.gateway.watch import Watch
from bms_iot.mqtt.client import MqttBroker
from bms_iot.mqtt.payload import encode_status
from bms_iot.mqtt.topics import Topics
from bms_iot.mqtt.way import gateway_broker
from bms_iot.provisioning import check_schema, take_deployment
from bms_iot.sections import BacnetSettings, MqttSettings, ProfileSettings
from bms_iot.settings import Settings
from bms_iot.storage.boot_floor import BootFloor
from bms_iot.storage.classes import save_classes
from bms_iot.storage.configuration import load_configuration, load_readers, next_boot
from bms_iot.storage.database import Database, open_database
from bms_iot.storage.early_dates import EarlyDatesFile
from bms_iot.storage.outbox import Outbox
from bms_iot.storage.points import load_points

log = structlog.get_logger()

SETTINGS_READER = "settings"


@asynccontextmanager
async def open_gateway(settings: Settings, *, reload: Callable[[], Settings] | None = None) -> AsyncIterator[Gateway]:
    """Everything the gateway needs, acquired in order and released in reverse.

    `reload` is asked before each connect to the broker for the credentials as they are then.

    Raises ConfigurationError when something is not set, the SchemaError of the gate, TransportError, StorageError.
    """
    schema_revision = check_schema(settings)
    clock = SystemClock(always_trusted=settings.clock.trusted == "always")
    with only_one(settings.data_directory):
        async with open_database(settings.url) as database, Readers(reader_opener(settings.bacnet, clock)) as readers:
            deployment = await take_deployment(settings, database, clock)
            await _open(readers, await our_readers(settings, database))
            state = GatewayState(
                deployment=deployment,
                boot=await _boot(settings, database, clock),
                started_at=clock.now(),
                version=__version__,
                schema_revision=schema_revision,
            )
            async with _compose(settings, database, readers, clock, state, reload=reload or (lambda: settings)) as gateway:
                yield gateway


@contextmanager
def only_one(data_directory: Path) -> Iterator[None]:
    """Keep a second gateway from this data directory: both would use one identity, one UDP port and one outbox.

    Raises DatabaseLocked, ConfigurationError when the directory cannot be used.
    """
    file = data_directory / "gateway.lock"
    try:
        data_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(
            f"{file} cannot be written: {error.strerror}", hint="make the data directory ours, or name another: BMS_DATA_DIRECTORY"
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise DatabaseLocked(f"a gateway already runs on {data_directory}", hint="stop it first") from None
    finally:
        os.close(descriptor)


@asynccontextmanager
async def _compose(
    settings: Settings,
    database: Database,
    readers: Readers,
    clock: WatchedClock,
    state: GatewayState,
    *,
    reload: Callable[[], Settings],
) -> AsyncIterator[Gateway]:
    topics = Topics(
        organization_id=state.deployment.organization_id,
        site_id=state.deployment.site_id,
        iot_device_id=state.deployment.device_id,
    )
    outbox, image = Outbox(database, state.boot, settings.outbox.bounds), CurrentImage()
    outbox.dates = lambda: state.dates
    await outbox.open()
    record = Record(database=database, image=image, clock=clock, bounds=settings.history.bounds)
    store = Store(
        database=database, outbox=outbox, image=image, record=record, clock=clock, state=state,
        spare=Spare(rules=settings.polling.report_rules, clock=clock, state=state),
        image_interval=settings.polling.image_interval_seconds,
        commit_seconds=min(settings.outbox.commit_seconds, settings.polling.interval_seconds),
        max_payload_bytes=settings.mqtt.max_payload_bytes,
    )  # fmt: skip
    poll = Poll(network=readers, store=store, clock=clock, pace=_pace(settings), state=state)
    monitor = Monitor(database=database, image=image, poll=poll, clock=clock, state=state, rules=settings.polling.rules)
    await monitor.open()
    remember = Remember(network=readers, poll=poll, database=database, clock=clock)
    await remember.recall()
    configure = Configure(database=database, readers=readers, monitor=monitor, clock=clock, state=state, upload=settings.upload)
    connection = _broker(settings.mqtt, topics, state, lambda: greet(), lambda: reload().mqtt)  # noqa: PLW0108 - it comes later
    broker = Meter(broker=connection, database=database, clock=clock, state=state)
    await broker.open()
    beat = Beat(
        broker=broker, database=database, outbox=outbox, topics=topics, clock=clock, state=state,
        every_seconds=settings.heartbeat_seconds, data_directory=settings.data_directory,
    )  # fmt: skip
    date = Date(
        clock=clock, store=store, image=image, record=record, state=state, file=EarlyDatesFile(settings.data_directory),
        newest_seq=lambda: outbox.newest()[1],
    )  # fmt: skip
    date.open()
    mirror = _mirror(settings.profiles, broker=broker, image=image, monitor=monitor, topics=topics, clock=clock)

    async def greet() -> None:
        if mirror is not None:
            mirror.connected()
        await beat.announce_online()

    publish = Publish(
        broker=broker, outbox=outbox, image=image, topics=topics, clock=clock, state=state,
        drain_readings_per_second=settings.outbox.drain_readings_per_second,
        max_payload_bytes=settings.mqtt.max_payload_bytes, compresses=settings.mqtt.compress_bulk,
    )  # fmt: skip
    broker.publisher = publish
    async with connection:
        yield Gateway(
            poll=poll,
            monitor=monitor,
            watch=Watch(
                network=readers, poll=poll, monitor=monitor, clock=clock, state=state, follows=settings.polling.follow_moved
            ),
            remember=remember,
            subscribe=Subscribe(
                network=readers, monitor=monitor, poll=poll, store=store, image=image, clock=clock, state=state,
                terms=CovTerms(lifetime_seconds=settings.cov.lifetime_seconds, confirmed=settings.cov.confirmed),
                patterns=settings.cov.patterns, behind_routers=settings.cov.behind_routers,
            ),
            store=store,
            record=record,
            meter=broker,
            publish=publish,
            execute=compose_execute(
                settings.writes, broker=broker, topics=topics, database=database, network=readers, image=image, monitor=monitor,
                configure=configure, publish=publish, clock=clock, state=state,
            ),
            beat=beat,
            prune=Prune(database=database, outbox=outbox, record=record, clock=clock),
            date=date,
            mirror=mirror,
            broker=broker,
            database=database,
            readers=readers,
            state=state,
        )  # fmt: skip


def _mirror(
    settings: ProfileSettings, *, broker: Broker, image: CurrentImage, monitor: Monitor, topics: Topics, clock: Clock
) -> Mirror | None:
    if not settings.last_values:
        return None
    prefix = settings.home_assistant_prefix if settings.home_assistant else None
    return Mirror(broker=broker, image=image, monitor=monitor, topics=topics, clock=clock, home_assistant_prefix=prefix)


def reader_opener(settings: BacnetSettings, clock: Clock, say: Callable[[str], None] | None = None) -> OpenReader:
    """Opens the UDP port of a reader; with `say`, any other port where that one is taken, saying so."""

    def open_reader(reader: Reader) -> AbstractAsyncContextManager[ControllerNetwork]:
        holder = None if say is None else holder_of(reader.host, reader.port)
        if say is not None and holder is not None:
            say(f"{holder} has UDP port {reader.port}: asking from another one, where broadcast answers may not be heard")
        return BacnetNetwork(
            host=reader.host,
            port=reader.port if holder is None else 0,
            broadcast=reader.broadcast if settings.readers else settings.broadcast or reader.broadcast,
            broadcast_port=reader.port,
            timeout_seconds=settings.timeout_seconds,
            tries=settings.tries,
            in_flight_per_device=settings.in_flight_per_device,
            in_flight_total=settings.in_flight_total,
            bbmd=reader.bbmd,
            bbmd_ttl_seconds=settings.bbmd_ttl_seconds,
            clock=clock,
        )

    return open_reader


@asynccontextmanager
async def open_readers(settings: Settings, say: Callable[[str], None] | None = None) -> AsyncIterator[Readers]:
    """Our BACnet interfaces alone, for a command; those of the database where there is one at head, else that of the settings.

    With `say` it runs beside a gateway that has our port, from another one, and says so.
    """
    async with Readers(reader_opener(settings.bacnet, SystemClock(), say)) as readers:
        try:
            check_schema(settings)
        except SchemaError:
            configured = _settings_readers(settings)
        else:
            async with open_database(settings.url) as database:
                configured = await our_readers(settings, database)
        await readers.use(configured)
        yield readers


async def save_discovered(settings: Settings, discovered: Sequence[Discovered]) -> tuple[int, list[Discovered]]:
    """Add what was discovered to the configuration. The schema must be at head.

    The answer is how many points it has then, and the devices that were not added, since their instance is another device's.
    """

    async def add(connection: AsyncConnection) -> tuple[int, list[Discovered]]:
        known = await load_configuration(connection)
        claimed, refused = claim(discovered, known)
        devices = merge(known, claimed)
        points = len((await keep_configuration(connection, devices, SystemClock().now()))[1]) if devices else 0
        return points, refused

    async with open_database(settings.url) as database:
        return await database.write(add)


async def known_devices(settings: Settings) -> list[ConfiguredDevice]:
    """What the gateway reads: the newest configuration, else every known point. The schema must be at head."""
    check_schema(settings)
    async with open_database(settings.url) as database:
        configured = await database.read(load_configuration)
        return configured or devices_of([row.point for row in await database.read(load_points)])


async def look_at_points(settings: Settings, which: str | None) -> list[KnownPoint]:
    """The known points, or those that `which` means. The schema must be at head. Raises InvalidInput."""
    check_schema(settings)
    async with open_database(settings.url) as database:
        points = await database.read(known_points, settings.polling.rules)
        return points if which is None else select(points, which)


async def choose_class(settings: Settings, which: str, chosen: PollingClass | None) -> list[KnownPoint]:
    """Choose a class on site for the points that `which` means, or take that back with None. Raises InvalidInput."""

    async def work(connection: AsyncConnection) -> list[KnownPoint]:
        points = select(await known_points(connection, settings.polling.rules), which)
        keys = {known.point.iot_device_point_id for known in points}
        await save_classes(connection, keys, chosen, SystemClock().now())
        return [k for k in await known_points(connection, settings.polling.rules) if k.point.iot_device_point_id in keys]

    check_schema(settings)
    async with open_database(settings.url) as database:
        return await database.write(work)


async def our_readers(settings: Settings, database: Database) -> list[Reader]:
    """The active readers the cloud configured, else the one of the settings."""
    active = [reader for reader in await database.read(load_readers) if reader.is_active]
    return active or _settings_readers(settings)


async def _open(readers: Readers, configured: list[Reader]) -> None:
    """Raises TransportError where the settings are at fault; what the cloud configured, the cloud can mend, so we go on without."""
    try:
        await readers.use(configured)
    except TransportError as error:
        if configured[0].id.startswith(SETTINGS_READER):
            raise
        log.error("no_reader_open", reason=str(error))


def _settings_readers(settings: Settings) -> list[Reader]:
    bacnet = settings.bacnet
    if bacnet.readers:
        return [Reader.parse(text, reader_id=f"{SETTINGS_READER} {text}") for text in bacnet.readers]
    return [Reader(id=SETTINGS_READER, host=bacnet.address, port=bacnet.port, prefix_length=0, bbmd=bacnet.bbmd)]


async def _boot(settings: Settings, database: Database, clock: Clock) -> int:
    """Number this start: above every number used before, also when the database was restored, replaced or wiped."""
    floor = BootFloor(settings.data_directory)

    async def number(connection: AsyncConnection) -> int:
        boot = await next_boot(connection, floor=floor.read(), version=__version__, now=clock.now())
        floor.write(boot)
        return boot

    return await database.write(number)


def _pace(settings: Settings) -> Pace:
    polling = settings.polling
    return Pace(
        fast_interval=polling.fast_seconds,
        interval=polling.interval_seconds,
        slow_interval=polling.slow_seconds,
        optional_interval=polling.optional_interval_seconds,
        backoff_max=polling.backoff_max_seconds,
    )


def _broker(
    settings: MqttSettings,
    topics: Topics,
    state: GatewayState,
    on_connect: Callable[[], Awaitable[None]],
    reload: Callable[[], MqttSettings],
) -> MqttBroker:
    will = encode_status(
        state="offline",
        reason="lost",
        iot_device_id=topics.iot_device_id,
        boot=state.boot,
        version=state.version,
        schema_revision=state.schema_revision,
    )
    return gateway_broker(settings, topics, will=will, on_connect=on_connect, reload=reload)
