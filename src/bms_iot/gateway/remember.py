"""Keep what was learned of the devices: taken up at the start, written behind and seldom, and at the end."""

from collections.abc import Iterable
from dataclasses import replace

import structlog

from bms_iot.domain.points import Device
from bms_iot.domain.ports import Clock, ControllerNetwork
from bms_iot.domain.profiles import LearnedProfile
from bms_iot.errors import StorageError
from bms_iot.gateway.poll import Poll
from bms_iot.storage.database import Database, uninterrupted
from bms_iot.storage.profiles import ProfileKey, forget_profiles, load_profiles, save_profiles

log = structlog.get_logger()

EVERY_SECONDS = 900.0


class Remember:
    """Writes the profiles of the polled devices that changed."""

    def __init__(self, *, network: ControllerNetwork, poll: Poll, database: Database, clock: Clock) -> None:
        self._network, self._poll, self._database, self._clock = network, poll, database, clock
        self._kept: dict[ProfileKey, LearnedProfile] = {}

    async def recall(self) -> None:
        """Give the network what was kept of the devices that are polled."""
        self._kept = await self._database.read(load_profiles)
        for device in self._poll.devices:
            if (profile := self._kept.get((device.instance, device.address))) is not None:
                self._network.recall(device, profile)

    async def run(self) -> None:
        """Write now and then, until cancelled; then a last time."""
        try:
            while True:
                await self._clock.sleep(EVERY_SECONDS)
                await self.write()
        finally:
            await uninterrupted(self.write())

    async def write(self) -> None:
        """Write what changed since the last time. What cannot be written is learned again."""
        learned = self._learned(self._poll.devices)
        changed = {key: profile for key, profile in learned.items() if not _same(self._kept.get(key), profile)}
        gone = self._kept.keys() - learned.keys()
        try:
            if changed:
                await self._database.write(save_profiles, changed, self._clock.now())
            if gone:
                await self._database.write(forget_profiles, but=learned.keys())
        except StorageError as error:
            log.warning("profiles_not_kept", reason=str(error))
            return
        self._kept = {key: profile for key, profile in {**self._kept, **changed}.items() if key in learned}

    def _learned(self, devices: Iterable[Device]) -> dict[ProfileKey, LearnedProfile]:
        found = {(device.instance, device.address): self._network.learned(device) for device in devices}
        return {key: profile for key, profile in found.items() if profile is not None}


def _same(kept: LearnedProfile | None, learned: LearnedProfile) -> bool:
    """But for the moment when learning began, which moves with every clock."""
    if kept is None or abs((kept.learned_at - learned.learned_at).total_seconds()) > EVERY_SECONDS:
        return False
    return replace(kept, learned_at=learned.learned_at) == learned
