"""Say how the gateway is: online on each connect, a heartbeat on its beat and on every change of status."""

import asyncio
import dataclasses
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

import structlog

from bms_iot.domain.health import ConnectionStatus, MonitoringStatus
from bms_iot.domain.heartbeat import Heartbeat
from bms_iot.domain.points import Device
from bms_iot.domain.ports import Broker, Clock
from bms_iot.errors import BrokerError
from bms_iot.gateway import host
from bms_iot.gateway.clock import is_synchronized
from bms_iot.gateway.state import GatewayState
from bms_iot.mqtt.payload import encode_heartbeat, encode_status
from bms_iot.mqtt.topics import Topics
from bms_iot.storage.announcements import mark_announced, unannounced
from bms_iot.storage.configuration import save_status
from bms_iot.storage.database import Database
from bms_iot.storage.outbox import Outbox

log = structlog.get_logger()

CHANGES_AT_MOST_EVERY_SECONDS = 1.0
REKEYED_AT_ONCE = 200
"""About 60 kB, half of the broker's usual maximum packet."""
DRIFTS_AT_ONCE = 200
UNAVAILABLE_AT_ONCE = 500
"""About 45 kB."""
NOTHING_MORE: Mapping[str, object] = MappingProxyType({})


class Beat:
    """Publishes `B/status/update` and `B/status/heartbeat`, and keeps `iot_device_status`."""

    def __init__(
        self,
        *,
        broker: Broker,
        database: Database,
        outbox: Outbox,
        topics: Topics,
        clock: Clock,
        state: GatewayState,
        every_seconds: float,
        data_directory: Path,
    ) -> None:
        self._broker, self._database, self._outbox, self._topics = broker, database, outbox, topics
        self._clock, self._state, self._every, self._data_directory = clock, state, every_seconds, data_directory
        self._statuses: tuple[object, ...] = ()
        self._since: datetime | None = None
        """Of the connection; None until it was announced."""
        self._told_unavailable: frozenset[Device] = frozenset()

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            heartbeat = await self._measure()
            await self._keep(heartbeat)
            if self._broker.is_connected:
                try:
                    await self._broker.publish(self._topics.heartbeat, encode_heartbeat(heartbeat))
                    await self._announce_drift()
                    await self._announce_availability()
                except BrokerError as error:
                    log.debug("heartbeat_lost", reason=str(error))
            await self._pause()

    async def _pause(self) -> None:
        await self._clock.sleep(CHANGES_AT_MOST_EVERY_SECONDS)
        rest = asyncio.create_task(self._clock.sleep(max(0.0, self._every - CHANGES_AT_MOST_EVERY_SECONDS)))
        changed = asyncio.create_task(self._state.changed.wait())
        try:
            await asyncio.wait((rest, changed), return_when=asyncio.FIRST_COMPLETED)
        finally:
            rest.cancel()
            changed.cancel()
            self._state.changed.clear()

    async def announce_online(self) -> None:
        """Publish the retained `online`; called on each connect. A lost connection leaves it to the next one.

        Before it, not retained and once for ever, the points whose id an upgrade had to change.
        """
        self._state.changed.set()
        try:
            while rekeyed := await self._database.read(unannounced, REKEYED_AT_ONCE):
                payload = self._online({"rekeyed": [entry.detail for entry in rekeyed]})
                await self._broker.publish(self._topics.status_update, payload)
                await self._database.write(mark_announced, rekeyed, self._clock.now())
            self._since = self._clock.now()
            await self._tell_online()
        except BrokerError as error:
            log.warning("online_not_announced", reason=str(error))

    async def _announce_availability(self) -> None:
        """Say again, retained, which controllers do not answer, when that changed. Raises BrokerError."""
        if self._since is not None and self._state.silent_devices != self._told_unavailable:
            await self._tell_online()

    async def _tell_online(self) -> None:
        silent = frozenset(self._state.silent_devices)
        listed = sorted(silent, key=lambda device: (device.instance, device.controller_id))[:UNAVAILABLE_AT_ONCE]
        details = {
            "unavailable_controllers": [
                {"controller_id": device.controller_id, "controller_device_id": str(device.instance)} for device in listed
            ]
        }
        await self._broker.publish(self._topics.status_update, self._online(details), retain=True)
        self._told_unavailable = silent

    async def _announce_drift(self) -> None:
        """Publish what waits of differences between the network and what is known, not retained. Raises BrokerError."""
        waiting = self._state.drift_reports
        while waiting:
            payload = self._online({"drift": waiting[0].as_json(at_most=DRIFTS_AT_ONCE)})
            await self._broker.publish(self._topics.status_update, payload)
            waiting.popleft()

    async def announce_offline(self) -> None:
        """Publish the retained `offline` of a clean stop."""
        state = self._state
        payload = encode_status(
            state="offline",
            reason="shutdown",
            since=self._clock.now(),
            iot_device_id=state.deployment.device_id,
            boot=state.boot,
            version=state.version,
            schema_revision=state.schema_revision,
        )
        try:
            await self._broker.publish(self._topics.status_update, payload, retain=True)
        except BrokerError as error:
            log.warning("offline_not_announced", reason=str(error))

    def _online(self, details: Mapping[str, object] = NOTHING_MORE) -> bytes:
        state = self._state
        return encode_status(
            state="online",
            since=self._since or self._clock.now(),
            iot_device_id=state.deployment.device_id,
            boot=state.boot,
            version=state.version,
            schema_revision=state.schema_revision,
            details={"started_at": state.started_at, **details},
        )

    async def _measure(self) -> Heartbeat:
        now, state, deployment = self._clock.now(), self._state, self._state.deployment
        oldest = await self._outbox.oldest_at()
        return Heartbeat(
            timestamp=now,
            organization_id=deployment.organization_id,
            site_id=deployment.site_id,
            iot_device_id=deployment.device_id,
            boot=state.boot,
            version=state.version,
            schema_revision=state.schema_revision,
            monitoring_status=MonitoringStatus.ACTIVE if state.is_monitoring else MonitoringStatus.STOPPED,
            mqtt_connection_status=ConnectionStatus.CONNECTED if self._broker.is_connected else ConnectionStatus.CONNECTING,
            bacnet_connection_status=_bacnet_status(state),
            bacnet_devices_connected=len(state.heard_devices),
            bacnet_points_monitored=state.points_monitored if state.is_monitoring else 0,
            backlog=self._outbox.readings,
            oldest_unsent_seconds=_age(oldest, now),
            poll_lag_seconds=round(state.take_poll_lag(self._clock.monotonic()), 3),
            clock_synced=is_synchronized(),
            overdue_leases=len(state.overdue_leases),
            delivery_fault=state.delivery_fault,
            given_up_readings=self._outbox.evicted,
            sent_bytes_today=state.sent_bytes_today,
            received_bytes_today=state.received_bytes_today,
            **dataclasses.asdict(host.measure(self._data_directory)),
        )

    async def _keep(self, heartbeat: Heartbeat) -> None:
        """Write the row when a status changed; figures alone are not worth a write to the card."""
        statuses = (
            heartbeat.monitoring_status,
            heartbeat.mqtt_connection_status,
            heartbeat.bacnet_connection_status,
            heartbeat.bacnet_devices_connected,
            heartbeat.bacnet_points_monitored,
        )
        if statuses == self._statuses:
            return
        await self._database.write(
            save_status,
            self._state.deployment,
            monitoring=heartbeat.monitoring_status,
            mqtt=heartbeat.mqtt_connection_status,
            bacnet=heartbeat.bacnet_connection_status,
            payload=encode_heartbeat(heartbeat).decode(),
            now=heartbeat.timestamp,
        )
        self._statuses = statuses


def _bacnet_status(state: GatewayState) -> ConnectionStatus:
    if state.heard_devices:
        return ConnectionStatus.CONNECTED
    if not state.devices_monitored or state.silent_devices:
        return ConnectionStatus.DISCONNECTED
    return ConnectionStatus.CONNECTING


def _age(oldest: datetime | None, now: datetime) -> float | None:
    return None if oldest is None else round(max(0.0, (now - oldest).total_seconds()), 3)
