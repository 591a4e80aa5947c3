"""Which devices and objects the simulated building has."""

import math
from collections import Counter

from bacpypes3.basetypes import EngineeringUnits

from bms_iot.domain.points import ObjectType
from bms_iot.simulator import model
from bms_iot.simulator.devices import building_devices, generic_devices
from bms_iot.simulator.specification import UNITS


def test_the_building_has_eleven_devices_and_more_than_250_points_of_all_nine_types():
    devices = building_devices()
    assert len(devices) >= 11
    assert sum(len(device.points) for device in devices) >= 250
    assert {point.type for device in devices for point in device.points} == set(ObjectType)


def test_names_are_unique_within_a_device_and_every_point_is_described():
    for device in building_devices():
        assert not [name for name, count in Counter(point.name for point in device.points).items() if count > 1]
        assert all(point.description for point in device.points)


def test_analog_points_have_units_the_standard_knows_and_the_others_have_states():
    for device in building_devices():
        for point in device.points:
            if point.type.is_analog:
                assert point.units in UNITS
            else:
                assert point.units is None
                assert len(point.states) == 2 if point.type.is_binary else len(point.states) >= 2


def test_units_have_the_numbers_of_the_standard():
    for name, number in UNITS.items():
        assert int(EngineeringUnits(name)) == number


def test_every_value_fits_its_type_all_day_long():
    state = model.initial(0)
    for _ in range(48):
        for device in (*building_devices(), *generic_devices(2, 20)):
            for point in device.points:
                value = point.default if point.source is None else point.source(state)
                if point.type.is_analog:
                    assert math.isfinite(value)
                elif point.type.is_binary:
                    assert value in (False, True)
                else:
                    assert value in range(1, len(point.states) + 1), (device.name, point.name, value)
        state = model.step(state, 1800.0, {})


def test_what_commands_the_model_is_commandable_and_named_once():
    commands = [point for device in building_devices() for point in device.points if point.command]
    assert len({point.command for point in commands}) == len(commands) >= 30
    assert not [point.name for point in commands if point.type.value.endswith("Input")]


def test_generic_devices_have_the_nine_types_in_turn():
    devices = generic_devices(3, 18)
    assert len(devices) == 3
    assert Counter(point.type for point in devices[0].points) == dict.fromkeys(ObjectType, 2)
