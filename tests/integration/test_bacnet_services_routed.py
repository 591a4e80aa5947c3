"""Writing and changes of value behind a router."""

import asyncio

from bms_iot.bacnet import BacnetNetwork
from bms_iot.domain.points import ObjectType
from bms_iot.domain.subscriptions import Coverage, CovTerms
from bms_iot.domain.writing import PointWrite, WriteState
from tests.integration.bacnet_devices import point_of
from tests.integration.bacnet_responder import Responder, SystemClock, analog, free_port, object_id, parse_request, real
from tests.integration.bacnet_router import Leg, Router, SerialNetwork
from tests.integration.test_bacnet_cov import Heard
from tests.integration.test_bacnet_routers import LOOPBACK_BROADCAST, NETWORK, device_at

AV = ObjectType.ANALOG_VALUE
INSTANCE = 107
SIMPLE_ACK = 0x20


class MsTpStation:
    """A station with one analog value: it is read, written and subscribed to, and notes what we acknowledge."""

    def __init__(self) -> None:
        self.responder = Responder({(2, 1): analog(21.5)}, instance=INSTANCE, max_apdu=480)
        self.acknowledged: list[bytes] = []
        self.subscriptions: list[bytes] = []

    def __call__(self, apdu: bytes) -> list[bytes]:
        if apdu[0] == SIMPLE_ACK:
            self.acknowledged.append(apdu)
            return []
        if apdu[0] >> 4:
            return []
        if apdu[3] == 5:
            self.subscriptions.append(apdu)
            done = bytes((SIMPLE_ACK, apdu[2], 5))
            return [done, self.notification(apdu)] if len(apdu) > 11 else [done]
        if apdu[3] == 15:
            self.responder.objects[2, 1][85] = apdu[apdu.index(b"\x3e") + 1 : apdu.index(b"\x3f", 12)]
            return [bytes((SIMPLE_ACK, apdu[2], 15))]
        request = parse_request(b"\x81\x0a\x00\x00\x01\x04" + apdu)
        return [] if request is None else [self.responder.answer(request)]

    def notification(self, subscription: bytes) -> bytes:
        """A confirmed one, to the process that subscribed."""
        value = self.responder.objects[2, 1][85]
        assert isinstance(value, bytes)
        head = bytes((0x00, 0x05, 33, 1)) + subscription[4:6]
        values = b"\x09\x55\x2e" + value + b"\x2f\x09\x6f\x2e\x82\x04\x00\x2f"
        return head + b"\x1c" + object_id(8, INSTANCE) + b"\x2c" + object_id(2, 1) + b"\x39\x3c\x4e" + values + b"\x4f"


async def test_a_station_behind_a_router_is_written_and_tells_its_changes() -> None:
    port, station = free_port(), MsTpStation()
    leg = Leg(1, "127.0.6.11", port, LOOPBACK_BROADCAST)
    point = point_of(device_at(f"{NETWORK}:07", INSTANCE), AV)
    async with (
        Router([leg], {NETWORK: SerialNetwork({b"\x07": station})}),
        BacnetNetwork(
            host="127.0.6.110", port=port, broadcast=LOOPBACK_BROADCAST, timeout_seconds=0.5, clock=SystemClock()
        ) as ours,
    ):
        (outcome,) = await ours.write_points(point.device, [PointWrite(point=point, value=33.5)])
        assert (outcome.state, outcome.before, outcome.after) == (WriteState.DONE, "21.5", "33.5"), outcome
        assert station.responder.objects[2, 1][85] == real(33.5)
        heard = Heard()
        terms = CovTerms(confirmed=True)
        following = asyncio.create_task(ours.follow(point.device, [point], terms, deliver=heard.deliver, report=heard.report))
        await heard.until_all(Coverage.COVERED, [point])
        async with asyncio.timeout(5):
            while not station.acknowledged:
                await asyncio.sleep(0.01)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        assert ours.open_transactions == 0
    assert heard.values(point) == ["33.5"]
    assert station.acknowledged == [bytes((SIMPLE_ACK, 33, 1))]
    assert [len(request) > 11 for request in station.subscriptions] == [True, False]
