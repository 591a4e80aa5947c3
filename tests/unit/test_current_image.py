"""The current image: sweeps and single readings leave the same behind."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from bms_iot.domain.points import Device, DeviceAddress, ObjectIdentifier, ObjectType, Point
from bms_iot.domain.readings import Condition, Quality, Reading, ReadingError, StatusFlag, Sweep
from bms_iot.gateway.image import CurrentImage
from bms_iot.storage.compact import decode, encode
from bms_iot.storage.points import StoredPoint

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)
DEVICE = Device(address=DeviceAddress(host="127.0.0.2"), instance=1, controller_id="controller")
POINTS = tuple(range(1, 7))

conditions = st.builds(
    Condition,
    quality=st.sampled_from(Quality),
    status_flags=st.sampled_from([(), (StatusFlag.FAULT,)]),
    reliability=st.none() | st.sampled_from(["no-fault-detected", "over-range"]),
    error=st.none() | st.just(ReadingError(error_class="property", error_code="other")),
)
shared = st.lists(conditions, min_size=1, max_size=3)


def image() -> CurrentImage:
    return CurrentImage(
        StoredPoint(
            point=Point(
                id=number,
                device=DEVICE,
                object=ObjectIdentifier(type=ObjectType.ANALOG_INPUT, instance=number),
                iot_device_point_id=f"point-{number}",
            ),
            optional={},
        )
        for number in POINTS
    )


@st.composite
def histories(draw: st.DrawFn) -> list[Sweep]:
    """Sweeps over points that overlap; conditions are shared, or equal, or neither."""
    known = draw(shared)
    sweeps = []
    for at in range(draw(st.integers(1, 6))):
        ids = tuple(sorted(draw(st.sets(st.sampled_from(POINTS), min_size=1))))
        sweeps.append(
            Sweep(
                point_ids=ids,
                acquired_at=tuple(NOW + timedelta(seconds=at, microseconds=place // 2) for place in range(len(ids))),
                present_values=tuple(draw(st.sampled_from([None, "1", "2", "nan"])) for _ in ids),
                conditions=tuple(draw(st.sampled_from(known) | conditions) for _ in ids),
            )
        )
    return sweeps


@given(histories(), st.data())
def test_an_image_of_sweeps_is_the_image_of_their_readings(history, data):
    by_sweep, by_reading = image(), image()
    for sweep in history:
        readings = list(sweep)
        kept = by_sweep.apply(sweep)
        assert list(kept) == list(by_reading.apply(readings)) == readings
        assert decode(encode(kept)) == decode(encode(readings))
        assert encode(kept) == encode(readings)
        if data.draw(st.booleans()):
            assert by_sweep.take_changes() == by_reading.take_changes()
    assert by_sweep.take_changes() == by_reading.take_changes()


def test_a_reading_like_the_last_changes_nothing_but_the_time_that_is_written_next():
    of_one = image()
    normal = Condition(quality=Quality.GOOD)
    for second in range(3):
        now = NOW + timedelta(seconds=second)
        of_one.apply(Sweep(point_ids=(1,), acquired_at=(now,), present_values=("1",), conditions=(normal,)))
        assert len(of_one.take_changes()) == (1 if second == 0 else 0)
    of_one.apply(
        [Reading(point_id=1, acquired_at=NOW + timedelta(seconds=9), present_value="2", quality=Quality.GOOD)],
    )
    ((row),) = of_one.take_changes()
    assert (row.reading.acquired_at, row.reading.present_value) == (NOW + timedelta(seconds=9), "2")


def test_a_sweep_is_a_sequence_of_readings():
    condition = Condition(quality=Quality.GOOD)
    sweep = Sweep(point_ids=(1, 2), acquired_at=(NOW, NOW), present_values=("a", None), conditions=(condition,) * 2)
    first = Reading(point_id=1, acquired_at=NOW, present_value="a", quality=Quality.GOOD)
    second = Reading(point_id=2, acquired_at=NOW, present_value=None, quality=Quality.GOOD)
    assert list(sweep) == [sweep[0], sweep[1]] == sweep[:] == [first, second]
    assert sweep[-1] == second
    assert sweep[:1] == [first]
    assert len(sweep) == 2
    assert list(reversed(sweep)) == [second, first]
    assert first.carrying({"units": 1}).optional == {"units": 1}
