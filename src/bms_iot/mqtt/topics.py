"""The topic tree of one gateway; docs/mqtt.md says what travels on each topic."""

import re
from dataclasses import dataclass

ROOT = "iot/global"

_FORBIDDEN_IN_LEVEL = re.compile(r"[/+#\x00-\x1f\x7f-\x9f]")
"""What a topic level may not hold: the separator, the wildcards and control characters (MQTT 5 clauses 4.7.1 and 1.5.4)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Topics:
    """Every topic below `iot/global/{organization_id}/{site_id}/{iot_device_id}`.

    Raises ValueError when an id cannot be a topic level: blank, a separator, a wildcard or a control character in it.
    """

    organization_id: str
    site_id: str
    iot_device_id: str

    def __post_init__(self) -> None:
        for name in ("organization_id", "site_id", "iot_device_id"):
            level = getattr(self, name)
            if not level.strip() or _FORBIDDEN_IN_LEVEL.search(level):
                raise ValueError(f"{name} cannot be a topic level: {level!r}")

    @property
    def base(self) -> str:
        return f"{ROOT}/{self.organization_id}/{self.site_id}/{self.iot_device_id}"

    @property
    def bulk(self) -> str:
        """The loss-free stream of readings; not retained."""
        return f"{self.base}/bulk"

    @property
    def status_update(self) -> str:
        """Whether the gateway is there; retained, and the topic of the last will."""
        return f"{self.base}/status/update"

    @property
    def heartbeat(self) -> str:
        """How the gateway is; not retained."""
        return f"{self.base}/status/heartbeat"

    def last_value(self, controller_device_id: str, iot_device_point_id: str) -> str:
        """The last value of one point; retained, and off by default."""
        return f"{self.base}/{controller_device_id}/{iot_device_point_id}"

    def command_request(self, name: str) -> str:
        return f"{self.base}/command/{name}/request"

    def command_response(self, name: str) -> str:
        return f"{self.base}/command/{name}/response"

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """The topic filters of a gateway: every command, also the unknown ones, so that they are answered."""
        return (self.command_request("+"),)

    def command_name(self, topic: str) -> str | None:
        """The command's name in a request topic of this gateway, None for every other topic."""
        prefix, suffix = f"{self.base}/command/", "/request"
        if not topic.startswith(prefix) or not topic.endswith(suffix):
            return None
        name = topic[len(prefix) : -len(suffix)]
        return name if name and "/" not in name else None
