"""When devices and their classes are due."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms_iot.domain import schedule
from bms_iot.domain.classes import PollingClass
from bms_iot.domain.schedule import Agenda, Due, Pace, Turn, after_answer, after_return, after_silence, classes_due, due, next_due

FAST, NORMAL, SLOW = PollingClass
PACE = Pace(interval=10.0, fast_interval=2.0, slow_interval=60.0, optional_interval=3600.0, backoff_max=60.0)


def agenda(failures: int = 0, probe_due: float = 0.0, *, optional_due: float = 9e9, **turns: float) -> Agenda:
    return Agenda(
        turns={PollingClass(name): Turn(due=due, optional_due=optional_due) for name, due in turns.items()},
        failures=failures,
        probe_due=probe_due,
    )


def test_devices_are_due_longest_waiting_first():
    agendas = {"a": agenda(normal=5.0), "b": agenda(fast=3.0, slow=60.0), "c": agenda(normal=8.0), "d": agenda(1, 4.0, normal=0.0)}
    moments = {key: agenda.due for key, agenda in agendas.items()}
    assert due(moments, 5.0) == ["b", "d", "a"]
    assert next_due(moments.values(), 0.0) == 3.0
    assert next_due([], 7.0) == 67.0


def test_slow_answers_do_not_make_the_beat_drift():
    assert after_answer(agenda(normal=100.0), PACE, 103.7, read=[NORMAL], optional=[]) == agenda(normal=110.0)


def test_missed_beats_are_skipped_not_caught_up():
    assert after_answer(agenda(normal=100.0), PACE, 147.0, read=[NORMAL], optional=[]).due == 150.0


def test_classes_that_come_due_together_are_read_at_once():
    assert classes_due(agenda(fast=60.0, normal=60.0, slow=60.0), 60.0) == Due(plain=(FAST, NORMAL, SLOW), optional=())
    assert classes_due(agenda(fast=62.0, normal=70.0, slow=120.0), 62.0) == Due(plain=(FAST,), optional=())


def test_a_new_class_joins_the_beat_of_its_device():
    before = agenda(normal=107.0)
    joined = schedule.planned(before, (FAST, NORMAL), 103.0, is_changed=False)
    assert {known: turn.due for known, turn in joined.turns.items()} == {FAST: 107.0, NORMAL: 107.0}


def test_optional_properties_are_due_again_an_interval_after_they_were_read():
    read = after_answer(agenda(normal=100.0, optional_due=90.0), PACE, 101.0, read=[NORMAL], optional=[NORMAL])
    assert read.turns[NORMAL].optional_due == 3701.0


def test_other_points_than_before_make_the_optional_properties_due():
    changed = schedule.planned(agenda(normal=107.0), (NORMAL,), 103.0, is_changed=True)
    assert classes_due(changed, 107.0) == Due(plain=(), optional=(NORMAL,))


def test_silence_doubles_the_pause_up_to_its_cap_and_an_answer_forgets_it():
    silent, pauses, now = agenda(normal=0.0), [], 0.0
    for _ in range(5):
        silent = after_silence(silent, PACE, now, jitter=0.0)
        pauses.append(silent.due - now)
        now = silent.due
    assert pauses == [10.0, 20.0, 40.0, 60.0, 60.0]
    assert after_return(silent, PACE, now + 1).failures == 0


def test_jitter_stretches_a_pause_by_a_tenth_at_most():
    assert after_silence(agenda(normal=0.0), PACE, 0.0, jitter=1.0).due == 11.0


def test_a_silent_device_that_says_it_is_there_is_probed_at_once():
    silent = after_silence(agenda(normal=0.0), PACE, 0.0, jitter=0.0)
    assert schedule.heard(silent, 1.0).due == 1.0
    assert schedule.heard(agenda(normal=8.0), 1.0).due == 8.0


def test_after_silence_all_classes_are_due_at_once_and_go_on_with_their_beat():
    back = after_return(agenda(1, 75.0, fast=70.0, normal=80.0, slow=120.0), PACE, 75.5)
    assert classes_due(back, 75.5).plain == (FAST, NORMAL, SLOW)
    read = after_answer(back, PACE, 75.6, read=[FAST, NORMAL, SLOW], optional=[])
    assert {known: turn.due for known, turn in read.turns.items()} == {FAST: 76.0, NORMAL: 80.0, SLOW: 120.0}


def simulate(pace, devices, seconds, durations, loss):
    """Play the schedule in virtual time, one read at once of each device; yields (start, device, classes) of each read.

    `durations` are how long the reads take, `loss` which of them stay without answer.
    """
    agendas = {
        device: schedule.planned(None, classes, schedule.spread(device, len(devices), pace), is_changed=True)
        for device, classes in enumerate(devices)
    }
    busy: dict[int, tuple[float, Due]] = {}
    now = 0.0
    while True:
        for device, (until, ready) in list(busy.items()):
            if until <= now:
                del busy[device]
                if next(loss):
                    agendas[device] = after_silence(agendas[device], pace, now, jitter=0.5)
                else:
                    read = ready.plain + ready.optional
                    agendas[device] = after_answer(agendas[device], pace, now, read=read, optional=ready.optional)
        for device in due({device: agenda.due for device, agenda in agendas.items()}, now):
            if device not in busy:
                if agendas[device].failures:
                    agendas[device] = after_return(agendas[device], pace, now)
                ready = classes_due(agendas[device], now)
                assert ready.plain or ready.optional
                busy[device] = now + next(durations), ready
                yield now, device, ready
        waiting = [agenda.due for device, agenda in agendas.items() if device not in busy]
        now = min([next_due(waiting, now), *(until for until, _ in busy.values())])
        if now > seconds:
            return


intervals = st.sampled_from([0.1, 0.25, 1.0, 1.7, 2.0, 5.0, 10.0, 33.3])
paces = st.tuples(intervals, intervals, intervals).map(
    lambda three: Pace(
        fast_interval=min(three), interval=sorted(three)[1], slow_interval=max(three), optional_interval=20.0, backoff_max=30.0
    )
)
sites = st.lists(st.lists(st.sampled_from(PollingClass), min_size=1, unique=True), min_size=1, max_size=6)
SECONDS = 20.0


@given(paces, sites, st.lists(st.floats(0.001, 3.0), min_size=1, max_size=10))
def test_no_class_is_read_twice_within_one_beat_and_none_starves(pace, devices, durations):
    starts: dict[tuple[int, PollingClass], list[float]] = {}
    for now, device, ready in simulate(pace, devices, SECONDS, itertools.cycle(durations), itertools.repeat(False)):
        for known in ready.plain + ready.optional:
            starts.setdefault((device, known), []).append(now)
    longest = max(durations)
    for device, classes in enumerate(devices):
        begin = schedule.spread(device, len(devices), pace)
        for known in classes:
            moments, interval = starts[device, known], pace.of(known)
            beats = [int((moment - begin + 0.002) // interval) for moment in moments]
            assert beats == sorted(set(beats))
            pauses = [later - earlier for earlier, later in itertools.pairwise([*moments, SECONDS])]
            assert max(pauses) <= 2 * interval + 2 * longest + 0.01


@given(paces, sites)
def test_quick_answers_are_never_early_and_never_late(pace, devices):
    for now, device, ready in simulate(pace, devices, SECONDS, itertools.repeat(1e-6), itertools.repeat(False)):
        begin = schedule.spread(device, len(devices), pace)
        for known in ready.plain + ready.optional:
            off = (now - begin) % pace.of(known)
            assert min(off, pace.of(known) - off) < 0.002


@given(paces, sites, st.lists(st.booleans(), min_size=1, max_size=20))
def test_a_device_that_answers_only_now_and_then_is_probed_no_later_than_the_cap(pace, devices, lost):
    last: dict[int, float] = {}
    for now, device, _ in simulate(pace, devices, 100.0, itertools.repeat(0.01), itertools.cycle(lost)):
        assert now - last.get(device, 0.0) <= max(pace.slow_interval, 1.1 * max(pace.backoff_max, pace.slow_interval)) + 1
        last[device] = now


@given(st.integers(1, 500), paces)
def test_devices_begin_one_after_the_other_within_the_shortest_interval(devices, pace):
    begins = [schedule.spread(position, devices, pace) for position in range(devices)]
    assert begins == sorted(begins)
    assert begins[-1] < pace.fast_interval
    assert devices == 1 or begins[1] > 0


@pytest.mark.parametrize("devices", [1, 50])
def test_classes_of_multiples_of_an_interval_cost_no_reads_of_their_own(devices):
    def reads(classes):
        return len(list(simulate(PACE, [classes] * devices, 119.0, itertools.repeat(0.05), itertools.repeat(False))))

    assert reads([FAST, NORMAL, SLOW]) == reads([FAST]) == 60 * devices
