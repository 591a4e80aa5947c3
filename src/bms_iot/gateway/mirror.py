"""Mirror the current image on the broker: the last value of each point, retained, and what Home Assistant wants to know of it."""

import asyncio
from collections import defaultdict

import structlog

from bms_iot.domain.points import Device, Point
from bms_iot.domain.ports import Broker, Clock
from bms_iot.errors import BrokerError, BrokerUnavailable, PublishRefused
from bms_iot.gateway.image import CurrentImage
from bms_iot.gateway.monitor import Monitor
from bms_iot.mqtt.home_assistant import Named, discovery
from bms_iot.mqtt.payload import encode_last_value
from bms_iot.mqtt.topics import Topics

log = structlog.get_logger()

EVERY_SECONDS = 1.0
AT_ONCE = 5
"""Messages under way: a quarter of what the connection takes, so that `B/bulk` goes on beside."""
NOTHING = b""


class Mirror:
    """For dashboards, never for the record: only the newest value counts, and what the broker refuses is left out."""

    def __init__(
        self,
        *,
        broker: Broker,
        image: CurrentImage,
        monitor: Monitor,
        topics: Topics,
        clock: Clock,
        home_assistant_prefix: str | None = None,
    ) -> None:
        self._broker, self._image, self._monitor, self._topics = broker, image, monitor, topics
        self._clock, self._prefix = clock, home_assistant_prefix
        self._changed = image.follow()
        self._planned: list[tuple[Point, str | None]] | None = None
        self._retained: dict[str, bytes] = {}
        """What the broker keeps of us, by topic: the payload where it is worth comparing."""

    def connected(self) -> None:
        """A broker that was away may have forgotten everything."""
        self._planned = None
        self._retained = dict.fromkeys(self._retained, NOTHING)

    async def run(self) -> None:
        """Mirror until cancelled."""
        while True:
            await self._clock.sleep(EVERY_SECONDS)
            if not self._broker.is_connected:
                continue
            try:
                await self._follow_plan()
                await self._publish_changed()
            except BrokerError as error:
                log.debug("mirror_interrupted", reason=str(error))

    async def _follow_plan(self) -> None:
        """Describe the points that are read, publish all of them once, and take back those that are not read any more."""
        planned = self._monitor.planned()
        if planned == self._planned:
            return
        descriptions = self._descriptions(planned)
        wanted = {self._topic(point) for point, _ in planned} | descriptions.keys()
        gone = self._retained.keys() - wanted
        await self._publish(dict.fromkeys(gone, NOTHING))
        for topic in gone:
            del self._retained[topic]
        await self._publish({topic: payload for topic, payload in descriptions.items() if self._retained.get(topic) != payload})
        self._changed.update(point.id for point, _ in planned)
        self._planned = planned

    def _descriptions(self, planned: list[tuple[Point, str | None]]) -> dict[str, bytes]:
        if self._prefix is None:
            return {}
        devices: dict[Device, list[Named]] = defaultdict(list)
        for point, name in planned:
            devices[point.device].append(Named(point=point, name=name))
        return {
            topic: payload
            for device, points in devices.items()
            for topic, payload in discovery(device, points, self._topics, self._prefix)
        }

    async def _publish_changed(self) -> None:
        planned = {point.id: (point, name) for point, name in self._planned or ()}
        while self._changed:
            some = [self._changed.pop() for _ in range(min(AT_ONCE, len(self._changed)))]
            values = {}
            for point_id in some:
                latest = self._image.latest(point_id)
                if latest is not None and point_id in planned:
                    point, name = planned[point_id]
                    values[self._topic(point)] = encode_last_value(point, latest, name=name)
            try:
                await self._publish(values)
            except BrokerUnavailable:
                self._changed.update(some)
                raise

    async def _publish(self, messages: dict[str, bytes]) -> None:
        """Raises BrokerUnavailable; what is refused is told once in the log and not tried again."""
        topics = list(messages)
        for at in range(0, len(topics), AT_ONCE):
            some = topics[at : at + AT_ONCE]
            results = await asyncio.gather(
                *(self._broker.publish(topic, messages[topic], retain=True) for topic in some), return_exceptions=True
            )
            for topic, result in zip(some, results, strict=True):
                if isinstance(result, PublishRefused):
                    log.warning("mirror_refused", topic=topic, reason=str(result))
                elif isinstance(result, BaseException):
                    raise result
                self._retained[topic] = messages[topic]

    def _topic(self, point: Point) -> str:
        return self._topics.last_value(str(point.device.instance), point.iot_device_point_id)
