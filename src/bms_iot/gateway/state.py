"""What the verbs know of each other: a few facts and the events that announce them."""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from bms_iot.domain.classes import PollingClass
from bms_iot.domain.configuration import Deployment
from bms_iot.domain.dates import Dates
from bms_iot.domain.drift import DriftReport
from bms_iot.domain.points import Device

KEPT_REPORTS = 50


@dataclass(slots=True, kw_only=True)
class GatewayState:
    """The running gateway's facts; owned by the verb that changes them, read by all."""

    deployment: Deployment
    boot: int
    started_at: datetime
    version: str
    schema_revision: str
    is_monitoring: bool = True
    restart: bool = False
    """The command `reboot` asked the supervisor to start the gateway again."""
    is_configuring: bool = False
    """The cloud's configuration is being carried out: it says where devices are."""
    dates: Dates = field(default_factory=Dates)
    """Which messages were dated before the clock was trusted."""
    devices_monitored: int = 0
    points_monitored: int = 0
    polls_under_way: dict[Device, float] = field(default_factory=dict)
    """When each was due, in seconds of the monotonic clock."""
    longest_poll_lag: float = 0.0
    """Since it was last taken."""
    silent_devices: set[Device] = field(default_factory=set)
    """Those that did not answer when last asked."""
    heard_devices: set[Device] = field(default_factory=set)
    """Those that answered when last asked."""
    overdue_leases: set[tuple[str, int]] = field(default_factory=set)
    """Overrides (a point's key and a priority) whose lease has ended and that could not be released yet."""
    stored: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when messages were added to the outbox."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a status that the heartbeat reports has changed."""
    monitoring_changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when monitoring was started or stopped, or the configuration was replaced."""

    sent_bytes_today: int = 0
    received_bytes_today: int = 0
    delivery_fault: str | None = None
    """Why the broker refuses messages of the stream; None while it takes them."""

    classes: Mapping[int, PollingClass] = field(default_factory=dict)
    """By point id; `normal` for a point that is not here."""

    drift_reports: deque[DriftReport] = field(default_factory=lambda: deque(maxlen=KEPT_REPORTS))
    """What is still to be told of differences that were found, oldest first."""

    def report_drift(self, report: DriftReport) -> None:
        """Tell the cloud, where there is a difference; the oldest report goes when too many wait."""
        if report:
            self.drift_reports.append(report)
            self.changed.set()

    def delivery_failed(self, reason: str) -> None:
        """The broker refuses what is published on `B/bulk`."""
        if self.delivery_fault is None:
            self.changed.set()
        self.delivery_fault = reason

    def delivery_works(self) -> None:
        """The broker takes what is published on `B/bulk`."""
        if self.delivery_fault is not None:
            self.delivery_fault = None
            self.changed.set()

    def poll_began(self, device: Device, *, due: float) -> None:
        self.polls_under_way[device] = due

    def poll_ended(self, device: Device, *, now: float) -> None:
        if (due := self.polls_under_way.pop(device, None)) is not None:
            self.longest_poll_lag = max(self.longest_poll_lag, now - due)

    def take_poll_lag(self, now: float) -> float:
        """The longest time, since this was last asked, from when a poll was due until its readings were kept, or until now."""
        longest, self.longest_poll_lag = self.longest_poll_lag, 0.0
        return max([longest, *(now - due for due in self.polls_under_way.values())])

    def device_answered(self, device: Device) -> None:
        self.silent_devices.discard(device)
        if device not in self.heard_devices:
            self.heard_devices.add(device)
            self.changed.set()

    def forget(self, device: Device) -> None:
        """It is not asked any more: whether it answers is not known."""
        self.silent_devices.discard(device)
        self.heard_devices.discard(device)

    def device_silent(self, device: Device) -> None:
        self.heard_devices.discard(device)
        if device not in self.silent_devices:
            self.silent_devices.add(device)
            self.changed.set()
