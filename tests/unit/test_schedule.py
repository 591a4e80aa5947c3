"""When devices are due."""

from bms_iot.domain.schedule import Pace, Turn, after_answer, after_silence, due, next_due

PACE = Pace(interval=10.0, optional_interval=3600.0, backoff_max=60.0)


def test_devices_are_due_longest_waiting_first():
    turns = {"a": Turn(due=5.0, optional_due=0), "b": Turn(due=3.0, optional_due=0), "c": Turn(due=8.0, optional_due=0)}
    assert due(turns, 5.0) == ["b", "a"]
    assert next_due(turns, 0.0) == 3.0
    assert next_due({}, 7.0) == 67.0


def test_slow_answers_do_not_make_the_beat_drift():
    turn = after_answer(Turn(due=100.0, optional_due=0.0), PACE, 103.7, with_optional=False)
    assert turn == Turn(due=110.0, optional_due=0.0)


def test_missed_beats_are_skipped_not_caught_up():
    assert after_answer(Turn(due=100.0, optional_due=0.0), PACE, 147.0, with_optional=False).due == 150.0


def test_optional_properties_are_due_again_an_interval_after_they_were_read():
    assert after_answer(Turn(due=100.0, optional_due=90.0), PACE, 101.0, with_optional=True).optional_due == 3701.0


def test_silence_doubles_the_pause_up_to_its_cap_and_an_answer_forgets_it():
    turn, pauses, now = Turn(due=0.0, optional_due=0.0), [], 0.0
    for _ in range(5):
        turn = after_silence(turn, PACE, now, jitter=0.0)
        pauses.append(turn.due - now)
        now = turn.due
    assert pauses == [10.0, 20.0, 40.0, 60.0, 60.0]
    assert after_answer(turn, PACE, now + 1, with_optional=False).failures == 0


def test_jitter_stretches_a_pause_by_a_tenth_at_most():
    assert after_silence(Turn(due=0.0, optional_due=0.0), PACE, 0.0, jitter=1.0).due == 11.0
