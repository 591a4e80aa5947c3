"""The machine's clock on boxes that start without the time of day."""

from datetime import UTC, datetime, timedelta

import pytest

from bms_iot.gateway.clock import SystemClock, TimeSources

TRUE_START = datetime(2026, 11, 22, 8, tzinfo=UTC).timestamp()


class Box:
    """A box whose clock is off by `wrong` seconds, `elapsed` seconds after its kernel started."""

    def __init__(self, *, wrong: float = 0.0, battery: bool = False, synchronized: bool = False) -> None:
        self.wrong, self.battery, self.synchronized, self.elapsed = wrong, battery, synchronized, 20.0

    @property
    def sources(self) -> TimeSources:
        return TimeSources(
            wall=lambda: TRUE_START + self.elapsed + self.wrong,
            elapsed=lambda: self.elapsed,
            is_synchronized=lambda: self.synchronized,
            has_battery_clock=lambda: self.battery,
        )

    def true_time(self) -> datetime:
        return datetime.fromtimestamp(TRUE_START + self.elapsed, UTC)


SINCE_1970 = -TRUE_START


def test_a_clock_nobody_vouches_for_is_not_trusted_and_counts_on_whatever_the_box_does():
    box = Box(wrong=SINCE_1970)
    clock = SystemClock(sources=box.sources)
    began = clock.now()
    box.elapsed += 10
    box.wrong = 86_400.0
    assert not clock.is_trusted
    assert clock.now() - began == timedelta(seconds=10)


@pytest.mark.parametrize("wrong", [SINCE_1970, -3600.0, 3600.0, 86_400.0])
def test_one_shift_makes_every_early_time_right(wrong):
    box = Box(wrong=wrong)
    clock = SystemClock(sources=box.sources)
    times = []
    for _ in range(3):
        box.elapsed += 7
        times.append((clock.now(), box.true_time()))
    box.wrong, box.synchronized = 0.0, True
    assert clock.is_vouched_for()
    shift = clock.trust()
    assert all(abs(told + shift - true) < timedelta(milliseconds=1) for told, true in times)
    assert abs(clock.now() - box.true_time()) < timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("box", "trusted"),
    [
        (Box(synchronized=True), True),
        (Box(battery=True), True),
        (Box(battery=True, wrong=SINCE_1970), False),
        (Box(), False),
    ],
    ids=["synchronized", "battery", "empty battery", "neither"],
)
def test_the_kernel_or_a_battery_vouches_for_the_clock(box, trusted):
    assert SystemClock(sources=box.sources).is_trusted is trusted


def test_a_setting_vouches_where_nobody_else_can():
    assert SystemClock(always_trusted=True, sources=Box().sources).is_trusted


def test_a_trusted_clock_is_the_box_s_clock_and_stays_trusted_when_the_time_server_is_gone():
    box = Box(synchronized=True)
    clock = SystemClock(sources=box.sources)
    box.synchronized, box.wrong = False, 3600.0
    assert clock.is_trusted
    assert clock.now() - box.true_time() == timedelta(hours=1)


def test_this_machine_s_clock_says_now_and_goes_on():
    clock = SystemClock()
    first = clock.now()
    assert abs(first - datetime.now(UTC)) < timedelta(seconds=5)
    assert clock.now() >= first
