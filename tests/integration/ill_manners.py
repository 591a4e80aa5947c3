"""What is right of each ill-mannered device: the reading of every point, or the error that says why there is none."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from bms_iot.bacnet import BacnetNetwork
from bms_iot.bacnet.values.text import number_text
from bms_iot.domain.points import Device, ObjectIdentifier, Point
from bms_iot.domain.readings import Quality, Reading
from bms_iot.errors import BacnetError, DeviceRefused, DeviceUnreachable, MalformedReply
from bms_iot.simulator import Encoding, SimulatedDevice, SimulatedObject
from tests.integration.bacnet_responder import SystemClock, free_port

TIMEOUT = 0.15
TRIES = 3


class Simulated(Protocol):
    """Devices in test mode, and how their values are made."""

    @property
    def devices(self) -> tuple[SimulatedDevice, ...]: ...

    @property
    def encoding(self) -> Encoding: ...


@asynccontextmanager
async def network(*, timeout_seconds: float = TIMEOUT, broadcast_port: int | None = None) -> AsyncIterator[BacnetNetwork]:
    async with BacnetNetwork(
        host="127.0.0.1",
        port=free_port(),
        broadcast=None if broadcast_port is None else "127.255.255.255",
        broadcast_port=broadcast_port,
        timeout_seconds=timeout_seconds,
        tries=TRIES,
        clock=SystemClock(),
    ) as opened:
        yield opened


def points_of(device: SimulatedDevice, *, first_id: int = 0) -> list[Point]:
    """A point for each object; `id` minus `first_id` is its place among the objects."""
    where = Device(address=device.address, instance=device.instance, controller_id=f"controller-{device.address}")
    return [
        Point(
            id=first_id + place,
            device=where,
            object=ObjectIdentifier(type=each.type, instance=each.instance),
            iot_device_point_id=f"{device.address} {each.type.value} {each.instance}",
        )
        for place, each in enumerate(device.objects)
    ]


def right_text(building: Simulated, k: int, place: int, described: SimulatedObject, ticks: Sequence[int]) -> set[str]:
    """The texts that the object at `place` of device `k` (from 1) had at `ticks`."""
    encoding, position = building.encoding, place + 1
    if described.type.is_analog:
        return {number_text(encoding.analog(k, position, tick)) for tick in ticks}
    if described.type.is_binary:
        return {"active" if encoding.binary(k, position, tick) else "inactive" for tick in ticks}
    return {str(encoding.multi_state(k, position, tick, 3)) for tick in ticks}


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a device with that manner comes to.

    `raises`: the call as a whole ends so. `texts`: present-values of those types, None for the encoded one.
    `errors`: one of these is the error of every reading that has no value. `some`: readings without value are allowed.
    """

    raises: tuple[type[BacnetError], ...] = ()
    analog: Sequence[str] | None = None
    quality: Quality = Quality.GOOD
    errors: tuple[str, ...] = ()
    valueless: bool = False
    some: bool = False
    """Some readings may be without value, as chance has it; those that have one have the right one."""


RIGHT = Expected()
UNREACHABLE = Expected(raises=(DeviceUnreachable,))
MALFORMED = Expected(errors=("malformed-message",), valueless=True)

EXPECTED: Mapping[str, Expected] = {
    "no-rpm": RIGHT,
    "abort": RIGHT,
    "abort=1": RIGHT,
    "buffer-overflow": RIGHT,
    "drops-big-requests": RIGHT,
    "no-segmentation": RIGHT,
    "no-segmentation=50": RIGHT,
    "nan": Expected(analog=("nan", "inf", "-inf", "-0")),
    "nul-in-strings": RIGHT,
    "mislabelled-strings": RIGHT,
    "boolean-for-binary": RIGHT,
    "unsigned-for-all": RIGHT,
    "double-for-real": RIGHT,
    "null-values": Expected(errors=("value-not-initialized",), valueless=True),
    "empty-values": Expected(errors=("value-not-initialized",), valueless=True),
    "empty-names": RIGHT,
    "short-priority-arrays": RIGHT,
    "constructed-values": Expected(errors=("invalid-data-type",), valueless=True),
    "vendor-numbers": Expected(quality=Quality.UNCERTAIN),
    "odd-bit-strings": RIGHT,
    "truncated-object-list": RIGHT,
    "index-only": RIGHT,
    "many-objects": RIGHT,
    "duplicate-instance=2002": RIGHT,
    "moved-address": RIGHT,
    "i-am-storm": RIGHT,
    "silent": UNREACHABLE,
    "slow=0.1": RIGHT,
    "slow=0.2": RIGHT,
    "late-answers=1": UNREACHABLE,
    "duplicated-answers": RIGHT,
    "lost-answers": Expected(some=True, errors=("timeout",)),
    "reordered-answers": RIGHT,
    "foreign-answers": RIGHT,
    "foreign-values": Expected(some=True, errors=("malformed-message", "missing-required-parameter")),
    "wrong-invoke-ids": UNREACHABLE,
    "wrong-service": UNREACHABLE,
    # Cut behind an object, an answer to ReadPropertyMultiple is a shorter one that is right as far as it goes.
    "truncated-answers": Expected(some=True, errors=("malformed-message", "missing-required-parameter")),
    "empty-answers": MALFORMED,
    "trailing-garbage": MALFORMED,
    "no-subscriptions": RIGHT,
    "no-notifications": RIGHT,
}
"""By the words of `bms-iot simulate --ill-mannered`."""


def check(
    building: Simulated, k: int, outcome: Sequence[Reading] | BaseException, ticks: Sequence[int], expected: Expected
) -> None:
    """Raises AssertionError unless the outcome of reading every point of device `k` (from 1) is the right one."""
    device = building.devices[k - 1]
    if isinstance(outcome, BaseException):
        assert isinstance(outcome, expected.raises), (device.manners, outcome)
        return
    assert not (expected.raises and not expected.some), (device.manners, "was read")
    assert len(outcome) == len(device.objects)
    for place, (reading, described) in enumerate(zip(outcome, device.objects, strict=True)):
        where = device.manners, described.type, described.instance, reading
        if reading.present_value is None:
            assert expected.valueless or expected.some, where
            assert reading.quality is Quality.BAD, where
            assert reading.error is not None, where
            assert reading.error.error_code in expected.errors, where
            continue
        assert not expected.valueless, where
        assert reading.error is None, where
        if expected.analog is not None and described.type.is_analog:
            assert reading.present_value == expected.analog[(described.instance - 1) % len(expected.analog)], where
            continue
        assert reading.present_value in right_text(building, k, place, described, ticks), where
        assert reading.quality is expected.quality, where


async def read(ours: BacnetNetwork, points: Sequence[Point]) -> Sequence[Reading] | BacnetError:
    """Every reading, or why there are none."""
    try:
        return list(await ours.read_points(points[0].device, points))
    except (DeviceUnreachable, DeviceRefused, MalformedReply) as error:
        return error
