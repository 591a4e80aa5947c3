"""Two other stacks' devices send their object lists in segments, and we read them in one request."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
import rusty_bacnet
from bacpypes3.ipv4.app import NormalApplication
from bacpypes3.local.analog import AnalogValueObject
from bacpypes3.local.device import DeviceObject
from bacpypes3.pdu import IPv4Address

from bms_iot.bacnet import BacnetNetwork
from bms_iot.domain.points import Device, DeviceAddress
from tests.integration.bacnet_responder import SystemClock, free_port

INSTANCE, OBJECTS = 4003, 900


def device_at(host: str, port: int) -> Device:
    return Device(address=DeviceAddress(host=host, port=port), instance=INSTANCE, controller_id="controller")


@asynccontextmanager
async def bacpypes() -> AsyncIterator[Device]:
    identity = DeviceObject(
        objectIdentifier=("device", INSTANCE),
        objectName="bacpypes",
        maxApduLengthAccepted=1476,
        segmentationSupported="segmentedBoth",
        maxSegmentsAccepted=64,
        vendorIdentifier=999,
    )
    application = NormalApplication(identity, IPv4Address(f"127.0.2.203:{(port := free_port())}"))
    for number in range(OBJECTS):
        application.add_object(
            AnalogValueObject(
                objectIdentifier=("analog-value", number),
                objectName=f"AV {number}",
                presentValue=1.0,
                units=62,
                statusFlags=[0] * 4,
            )
        )
    await application.normal.server._local_transport_ready.wait()
    try:
        yield device_at("127.0.2.203", port)
    finally:
        application.close()


@asynccontextmanager
async def rusty() -> AsyncIterator[Device]:
    device = rusty_bacnet.BACnetServer(
        device_instance=INSTANCE,
        device_name="rusty",
        interface="127.0.2.204",
        port=(port := free_port()),
        broadcast_address="127.255.255.255",
        share_port_by_address=True,
        segmentation_supported=rusty_bacnet.Segmentation.BOTH,
        apdu_segment_timeout_ms=2000,
    )
    for number in range(OBJECTS):
        device.add_analog_value(number, f"AV {number}", 62)
    await device.start()
    try:
        yield device_at("127.0.2.204", port)
    finally:
        await device.stop()


@pytest.mark.parametrize("stack", [bacpypes, rusty])
async def test_an_object_list_in_segments_takes_two_requests(stack: Callable[[], AbstractAsyncContextManager[Device]]) -> None:
    """One for the list and one for its length."""
    async with stack() as device, BacnetNetwork(host="127.0.0.1", port=free_port(), clock=SystemClock()) as ours:
        listed = await ours.read_object_list(device)
        assert listed.complete
        assert sorted(wanted.instance for wanted in listed.objects) == list(range(OBJECTS))
        assert ours.counters.segments > 2
        assert ours.counters.requests == 2
        assert ours.counters.retries == 0
        assert ours.open_transactions == 0
