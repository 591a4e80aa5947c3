"""How much a device is asked for at once, and what it is not asked for again."""

from bms_iot.bacnet.network.npdu import Station
from bms_iot.bacnet.polling.profile import FIRST_PATIENCE, FORGET_SECONDS, MAX_PROFILES, MIN_BUDGET, Profile, Profiles, estimate
from bms_iot.bacnet.services.reading import PropertyReference
from bms_iot.bacnet.services.who_is import IAm
from bms_iot.bacnet.values.codec import ObjectId

AI = ObjectId(0, 1)


def succeed(profile: Profile, times: int) -> None:
    for _ in range(times):
        profile.succeeded()


def test_a_refused_batch_halves_the_budget_and_good_answers_bring_it_back() -> None:
    profile = Profile()
    profile.shrink(1400)
    assert profile.budget == 700
    succeed(profile, FIRST_PATIENCE - 1)
    assert profile.budget == 700
    succeed(profile, 1)
    assert profile.budget == 1400


def test_growing_again_takes_twice_as_long_each_time_it_was_wrong() -> None:
    profile = Profile()
    profile.shrink(1400)
    succeed(profile, FIRST_PATIENCE)
    profile.shrink(1400)
    succeed(profile, FIRST_PATIENCE)
    assert profile.budget == 700
    succeed(profile, FIRST_PATIENCE)
    assert profile.budget == 1400


def test_the_budget_never_falls_below_one_property() -> None:
    profile = Profile()
    for _ in range(20):
        profile.shrink(profile.budget)
    assert profile.budget == MIN_BUDGET


def test_an_i_am_bounds_the_budget_and_does_not_undo_what_was_learned() -> None:
    profile = Profile()
    profile.introduce(IAm(instance=1, max_apdu=480, segmentation=3, vendor_id=1))
    assert profile.budget == 480
    profile.shrink(480)
    profile.introduce(IAm(instance=1, max_apdu=480, segmentation=3, vendor_id=1))
    assert profile.budget == 240
    profile.introduce(IAm(instance=1, max_apdu=2**31, segmentation=3, vendor_id=1))
    assert (profile.max_apdu, profile.budget) == (1476, 240)


def test_what_a_device_lacks_is_asked_again_after_a_day_but_never_the_present_value() -> None:
    profiles = Profiles()
    station = Station("10.0.0.7", 47808)
    profile = profiles.of(station, 1.0)
    profile.lacks(PropertyReference(AI, 103))
    profile.lacks(PropertyReference(AI, 85))
    profile.has_rpm = False
    assert profiles.of(station, FORGET_SECONDS).absent == {PropertyReference(AI, 103)}
    later = profiles.of(station, 1.0 + FORGET_SECONDS)
    assert later.absent == set()
    assert later.has_rpm


def test_the_profiles_of_a_storm_of_strangers_are_bounded() -> None:
    profiles = Profiles()
    first = profiles.of(Station("10.0.0.7", 0), 1.0)
    for port in range(1, MAX_PROFILES + 1):
        profiles.of(Station("10.0.0.7", port), 1.0)
    assert profiles.of(Station("10.0.0.7", 0), 1.0) is not first


def test_the_estimate_of_an_analog_object_is_what_its_answer_takes() -> None:
    answer = bytes.fromhex("0c000000011e 29554e44000000004f 296f4e8204004f 29244e91004f 29514e104f 29674e91004f 1f")
    previous, total = None, 0
    for number in (85, 111, 36, 81, 103):
        total += estimate(PropertyReference(AI, number), previous)
        previous = AI
    assert total == len(answer)
