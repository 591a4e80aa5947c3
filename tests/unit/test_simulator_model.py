"""The physics of the simulated building."""

from dataclasses import replace
from itertools import pairwise

import pytest

from bms_iot.simulator import model
from bms_iot.simulator.model import BuildingState, Commands

DAY_MINUTES = 24 * 60


def run(minutes: int, commands: Commands | None = None, seed: int = 0) -> list[BuildingState]:
    states = [model.initial(seed)]
    for _ in range(minutes):
        states.append(model.step(states[-1], 60.0, commands or {}))
    return states


@pytest.fixture(scope="module")
def two_days() -> list[BuildingState]:
    return run(2 * DAY_MINUTES)


def test_the_same_seed_gives_the_same_day_and_another_seed_another():
    assert run(120, seed=5) == run(120, seed=5)
    assert run(120, seed=5)[-1].outdoor != run(120, seed=6)[-1].outdoor


def test_a_long_step_is_the_short_steps_it_is_made_of():
    state = model.initial(1)
    short = state
    for _ in range(6):
        short = model.step(short, model.LONGEST_STEP_SECONDS, {})
    assert model.step(state, 6 * model.LONGEST_STEP_SECONDS, {}) == short


def test_a_step_leaves_the_state_before_as_it_was():
    state = model.initial(1)
    before = replace(state)
    model.step(state, 60.0, {})
    assert state == before


def test_everything_stays_within_what_a_building_can_be(two_days):
    for state in two_days:
        assert -10 < state.outdoor < 40
        assert 5 <= state.ahu.supply <= 45
        assert 3 <= state.chiller.leaving <= 26
        assert 18 <= state.boiler.leaving <= 92
        for room in state.rooms:
            assert 15 < room.temperature < 28
            assert 400 < room.carbon_dioxide < 1500
            assert 0 <= room.damper <= 100


def test_energies_only_grow(two_days):
    for before, after in pairwise(two_days):
        assert after.meter.energy > before.meter.energy
        assert after.meter.lighting_energy > before.meter.lighting_energy
        assert after.meter.hvac_energy >= before.meter.hvac_energy
        assert after.boiler.fuel >= before.boiler.fuel


def test_stages_change_one_at_a_time_and_both_machines_run_on_a_working_day(two_days):
    for which in ("chiller", "boiler"):
        plants = [getattr(state, which) for state in two_days]
        assert {plant.stage for plant in plants} > {0, 1}
        for before, after in pairwise(plants):
            assert after.stage - before.stage <= 1
        assert 1 < plants[-1].starts < 50


def test_the_unit_sleeps_at_night_and_works_by_day(two_days):
    night = next(state for state in two_days if state.hour > 2 and state.seconds > model.DAY_SECONDS)
    noon = next(state for state in two_days if 11.9 < state.hour < 12.1)
    assert not night.ahu.running
    assert night.ahu.fan_speed < 1
    assert noon.ahu.running
    assert noon.ahu.fan_speed > 30
    assert noon.meter.power_kw > 2 * night.meter.power_kw


def test_a_room_follows_the_setpoint_somebody_commands():
    usual, warmer = run(180), run(180, {"vav1.heating_setpoint": 24.5, "vav1.cooling_setpoint": 26.0})
    assert warmer[-1].rooms[0].temperature > usual[-1].rooms[0].temperature + 1.0
    assert warmer[-1].rooms[5].temperature == pytest.approx(usual[-1].rooms[5].temperature, abs=0.5)


def test_a_fan_that_is_commanded_off_stops_the_air():
    state = run(90, {"ahu.fan_command": 0.0})[-1]
    assert state.occupied
    assert state.ahu.fan_speed < 1
    assert sum(room.airflow for room in state.rooms) < 5


def test_noise_is_small_and_depends_on_moment_and_channel():
    state = model.initial(3)
    values = {state.noise(channel) for channel in "abcdefgh"}
    assert len(values) == 8
    assert all(-1 <= value <= 1 for value in values)
    assert state.noise("a") == replace(state).noise("a") != replace(state, seconds=1.0).noise("a")
