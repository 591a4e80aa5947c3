"""`get_config`: store the readers, discover the controllers, keep the configuration, upload it."""

import asyncio
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import replace

import httpx
import structlog

from bms_iot.domain.classes import POLLING_CLASS, PollingClass
from bms_iot.domain.commands import CommandResult, CommandState, GetConfig
from bms_iot.domain.configuration import ConfiguredDevice, ConfiguredObject, Place, Reader
from bms_iot.domain.drift import Presence, compare
from bms_iot.domain.points import Device
from bms_iot.domain.ports import Clock
from bms_iot.errors import BacnetError, CommandRejected
from bms_iot.gateway.discover import AT_ONCE, Discovered, discover_all, find_device, merge, only
from bms_iot.gateway.monitor import Monitor
from bms_iot.gateway.readers import Readers
from bms_iot.gateway.rediscover import seen
from bms_iot.gateway.state import GatewayState
from bms_iot.gateway.upload import UploadFailed, upload
from bms_iot.sections import UploadSettings
from bms_iot.storage.configuration import devices_to_json, save_readers
from bms_iot.storage.database import Database

log = structlog.get_logger()

MAX_OUTCOMES = 500
"""Controllers an answer names: more do not fit the broker's usual maximum packet. Those that failed come first."""


class Configure:
    """Carries out `get_config`. A controller that did not answer keeps its configuration and is named in the answer."""

    def __init__(
        self,
        *,
        database: Database,
        readers: Readers,
        monitor: Monitor,
        clock: Clock,
        state: GatewayState,
        upload: UploadSettings,
    ) -> None:
        self._database, self._readers, self._monitor = database, readers, monitor
        self._clock, self._state, self._upload = clock, state, upload

    async def carry_out(self, command: GetConfig) -> CommandResult:
        """Raises CommandRejected for a URL that may not be used; the token goes nowhere but into the request."""
        self._check_url(command.upload_url)
        if command.readers is not None:
            await self._use_readers(command.readers)
        self._state.is_configuring = True
        try:
            discovered, outcomes = await self._discover(command.controllers)
            devices = await self._monitor.configuration()
            self._report(only(devices, command.controllers), discovered)
            if wanted := only(merge(devices, discovered), command.controllers):
                devices = await self._monitor.reconfigure(with_classes(wanted, command.classes))
        finally:
            self._state.is_configuring = False
        details = _told(outcomes)
        failed = [controller for controller, outcome in outcomes.items() if not outcome["success"]]
        try:
            await upload(
                command.upload_url,
                command.token,
                {"config": devices_to_json(devices)},
                patience_seconds=self._upload.patience_seconds,
            )
        except UploadFailed as error:
            return self._result(command, str(error), CommandState.FAILED, details)
        message = "the configuration was uploaded"
        if failed:
            message += f"; {len(failed)} of {len(outcomes)} controllers could not be read whole and keep what was known of them"
        nothing_read = bool(outcomes) and not discovered
        return self._result(command, message, CommandState.FAILED if nothing_read else CommandState.DONE, details)

    def _report(self, known: Sequence[ConfiguredDevice], discovered: Sequence[Discovered]) -> None:
        """Say how what was found differs from what was known of these controllers."""
        found = [one.configured.device for one in discovered]
        present = [Presence(instance=device.instance, address=device.address, vendor_id=device.vendor_id) for device in found]
        report = compare(known, present, map(seen, discovered))
        log.info("controllers_compared", devices=report.devices, **report.counts)
        self._state.report_drift(report)

    def _result(self, command: GetConfig, message: str, state: CommandState, details: Mapping[str, object]) -> CommandResult:
        return CommandResult(
            success=state is CommandState.DONE, message=message, state=state, command_id=command.command_id, details=details
        )

    def _check_url(self, url: str) -> None:
        try:
            parsed = httpx.URL(url)
        except (httpx.InvalidURL, ValueError) as error:
            raise CommandRejected(f"urlToUploadConfig: {error}") from None
        if parsed.scheme != "https" and not (self._upload.allow_http or _is_loopback(parsed.host)):
            raise CommandRejected("urlToUploadConfig: must be https, unless upload.allow_http is set")
        if self._upload.allowed_hosts and parsed.host not in self._upload.allowed_hosts:
            raise CommandRejected(f"urlToUploadConfig: {parsed.host} is not among upload.allowed_hosts")

    async def _use_readers(self, readers: Sequence[Reader]) -> None:
        """Use these and keep them. Raises CommandRejected, TransportError when none can be opened: all is as before then."""
        if len({reader.id for reader in readers}) < len(readers):
            raise CommandRejected("bacnetReaders: an id is there twice")
        if active := [reader for reader in readers if reader.is_active]:
            await self._readers.use(active)
        await self._database.write(save_readers, readers, self._state.deployment.device_id, self._clock.now())

    async def _discover(self, controllers: Sequence[Device]) -> tuple[list[Discovered], dict[str, dict[str, object]]]:
        outcomes: dict[str, dict[str, object]] = {}
        limit, found = asyncio.Semaphore(AT_ONCE), list[Device]()

        async def find(controller: Device) -> None:
            async with limit:
                try:
                    device = await find_device(self._readers, controller.address, controller.instance, controller.controller_id)
                    found.append(replace(device, address=controller.address))
                except BacnetError as error:
                    outcomes[controller.controller_id] = _not_read(error)

        await asyncio.gather(*map(find, controllers))
        discovered, failed = await discover_all(self._readers, found, on_start=lambda _device: None)
        for device, error in failed.items():
            outcomes[device.controller_id] = _not_read(error)
        for result in discovered:
            points = len(result.configured.objects)
            outcomes[result.configured.device.controller_id] = {
                "success": result.complete,
                "points": points,
                "message": f"{points} points" if result.complete else f"{points} points; part of the object list could not be read",
            }
        return discovered, outcomes


def with_classes(devices: Sequence[ConfiguredDevice], classes: Mapping[Place, PollingClass]) -> list[ConfiguredDevice]:
    """The same with the polling classes that the cloud chose beside what it chose before."""

    def chosen(device: Device, wanted: ConfiguredObject) -> ConfiguredObject:
        polling_class = classes.get((device.controller_id, device.instance, wanted.object))
        if polling_class is None:
            return wanted
        return replace(wanted, properties={**wanted.properties, POLLING_CLASS: polling_class.value})

    return [replace(c, objects=tuple(chosen(c.device, wanted) for wanted in c.objects)) for c in devices]


def _told(outcomes: Mapping[str, Mapping[str, object]]) -> dict[str, object]:
    """What an answer says of the controllers."""
    first = sorted(outcomes.items(), key=lambda entry: bool(entry[1]["success"]))[:MAX_OUTCOMES]
    left_out = len(outcomes) - len(first)
    return {"controllers": dict(first), **({"controllers_left_out": left_out} if left_out else {})}


def _not_read(error: BacnetError) -> dict[str, object]:
    return {"success": False, "message": str(error)}


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
