"""A whole building at once: no value is stored under another point, and mutated datagrams harm nobody."""

import asyncio
import random
from collections.abc import Sequence

from bms_iot.bacnet import BacnetNetwork
from bms_iot.domain.points import Device, ObjectIdentifier, Point
from bms_iot.domain.readings import Quality, Reading
from bms_iot.simulator import Fault, SimulatedBuilding
from tests.integration.bacnet_responder import Request, Responder, SystemClock, analog, frame, free_port, polite

POLLS = 100
SEED = 20_261_122


async def points_of(ours: BacnetNetwork, device: Device) -> list[Point]:
    found = await ours.read_object_list(device)
    assert found.complete
    return [Point(id=n, device=device, object=each, iot_device_point_id=str(n)) for n, each in enumerate(found.objects)]


async def test_every_value_of_a_building_read_all_at_once_is_of_its_own_device_object_and_tick() -> None:
    async with (
        SimulatedBuilding(port=0, test_mode=True, devices=20, points=60, tick_seconds=None) as building,
        BacnetNetwork(host="127.0.0.1", port=free_port(), clock=SystemClock()) as ours,
    ):
        devices = [
            Device(address=device.address, instance=device.instance, controller_id="controller") for device in building.devices
        ]
        points = await asyncio.gather(*(points_of(ours, device) for device in devices))
        compared = 0
        for _ in range(3):
            await building.tick()
            answers: list[Sequence[Reading]] = await asyncio.gather(
                *(ours.read_points(device, of_device) for device, of_device in zip(devices, points, strict=True))
            )
            for k, (device, of_device, readings) in enumerate(zip(building.devices, points, answers, strict=True), start=1):
                places = {(each.type, each.instance): j for j, each in enumerate(device.objects, start=1)}
                for point, reading in zip(of_device, readings, strict=True):
                    assert (reading.point_id, reading.quality) == (point.id, Quality.GOOD)
                    if point.object.type.is_analog:
                        assert reading.present_value is not None
                        expected = building.encoding.analog(k, places[point.object.type, point.object.instance], building.ticks)
                        assert float(reading.present_value) == expected
                        compared += 1
        assert compared >= 3 * len(devices)


async def test_a_device_that_misbehaves_is_read_as_far_as_it_goes_and_the_others_fully() -> None:
    async with (
        SimulatedBuilding(port=0, tick_seconds=None) as building,
        BacnetNetwork(host="127.0.0.1", port=free_port(), timeout_seconds=0.3, clock=SystemClock()) as ours,
    ):
        faults = (Fault.NO_RPM, Fault.TRUNCATED_OBJECT_LIST, Fault.TRUNCATED_REPLY)
        faulty = dict(zip((simulated.instance for simulated in building.devices), faults, strict=False))
        for instance, fault in faulty.items():
            building.set_fault(instance, fault)
        for simulated in building.devices:
            device = Device(address=simulated.address, instance=simulated.instance, controller_id="controller")
            wanted = [ObjectIdentifier(type=each.type, instance=each.instance) for each in simulated.objects]
            points = [Point(id=n, device=device, object=each, iot_device_point_id=str(n)) for n, each in enumerate(wanted)]
            async with asyncio.timeout(10):
                readings = await ours.read_points(device, points)
            spoilt = faulty.get(simulated.instance) is Fault.TRUNCATED_REPLY
            # A reply cut exactly between two objects is whole as far as it goes, so the spoilt device has a few good readings.
            assert (Quality.BAD in {reading.quality for reading in readings}) is spoilt
            if not spoilt:
                found = await ours.read_object_list(device)
                assert (len(found.objects), found.complete) == (len(simulated.objects), True)


async def test_mutated_answers_and_noise_leave_the_port_working_and_values_where_they_belong() -> None:
    chance = random.Random(SEED)

    def mutated(datagram: bytes) -> bytes:
        octets = bytearray(datagram)
        for _ in range(chance.randint(1, 6)):
            octets[chance.randrange(9, len(octets))] = chance.randrange(256)
        return bytes(octets[: chance.randint(9, len(octets))] if chance.random() < 0.2 else octets)

    def mutate(device: Responder, request: Request) -> Sequence[bytes]:
        # The rest is noise: no request waits for it, whatever it looks like.
        noise = [chance.randbytes(chance.randint(0, 60)) for _ in range(3)]
        return [mutated(frame(device.answer(request))), *(b"\x81\x0a" + each for each in noise), *noise]

    objects = {(2, instance): analog(float(instance)) for instance in range(1, 31)}
    async with (
        Responder(objects) as device,
        BacnetNetwork(host="127.0.0.1", port=free_port(), clock=SystemClock()) as ours,
    ):
        device.behaviour = mutate
        async with asyncio.timeout(60):
            for _ in range(POLLS):
                readings = await ours.read_points(device.device, device.points())
                assert [reading.point_id for reading in readings] == list(range(len(objects)))
        requests = ours.counters.requests
        device.behaviour = polite
        readings = await ours.read_points(device.device, device.points())
    assert [reading.present_value for reading in readings] == [str(instance) for instance in range(1, 31)]
    assert requests > POLLS
    assert ours.counters.malformed > requests
