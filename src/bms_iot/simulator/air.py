"""The objects of the air handling unit and of the six VAV boxes."""

from collections.abc import Callable

from bms_iot.simulator.model import BuildingState, Room
from bms_iot.simulator.specification import DeviceSpecification, PointSpecification, Value, analog, binary, multi_state

MODES = ("Off", "Warm-up", "Heating", "Ventilation", "Cooling")
HAND_OFF_AUTO = ("Hand", "Off", "Auto")
AUTO = 3


def air_handling_unit() -> DeviceSpecification:
    """AHU-1: mixed air, one coil of each kind, a fan that keeps the duct pressure."""
    return DeviceSpecification(
        name="AHU-1",
        description="Air handling unit, offices",
        location="Roof",
        points=(*_ahu_measurements(), *_ahu_commands(), *_ahu_settings(), *_ahu_states()),
    )


def vav_box(n: int) -> DeviceSpecification:
    """VAV-n, n from 1 to 6: one room with damper, reheat coil and a wall unit."""
    return DeviceSpecification(
        name=f"VAV-{n}",
        description=f"Variable air volume box, room {100 + n}",
        location=f"Ceiling of room {100 + n}",
        points=(*_vav_measurements(n), *_vav_commands(n), *_vav_settings(), *_vav_states(n)),
    )


def mode(state: BuildingState) -> int:
    """The air handling unit's mode as a state number of MODES."""
    if not state.ahu.running:
        return 1
    if not state.occupied:
        return 2
    if state.ahu.heating_valve > 5:
        return 3
    return 5 if state.ahu.cooling_valve > 5 else 4


def _ahu_measurements() -> tuple[PointSpecification, ...]:
    return (
        analog("I", "SupplyAirTemperature", "Supply air temperature after the fan", "degrees-celsius",
               lambda s: round(s.ahu.supply + 0.05 * s.noise("sat"), 2), limits=(8, 32)),
        analog("I", "ReturnAirTemperature", "Return air temperature", "degrees-celsius",
               lambda s: round(s.ahu.returned + 0.05 * s.noise("rat"), 2), limits=(14, 30)),
        analog("I", "MixedAirTemperature", "Mixed air temperature before the coils", "degrees-celsius",
               lambda s: round(s.ahu.mixed + 0.08 * s.noise("mat"), 2), limits=(4, 32)),
        analog("I", "OutdoorAirTemperature", "Outdoor air temperature", "degrees-celsius",
               lambda s: round(s.outdoor + 0.05 * s.noise("oat"), 2), limits=(-20, 40)),
        analog("I", "OutdoorAirHumidity", "Outdoor relative humidity", "percent-relative-humidity",
               lambda s: round(s.outdoor_humidity + 0.3 * s.noise("oah"), 1), cov=1.0),
        analog("I", "ReturnAirHumidity", "Return air relative humidity", "percent-relative-humidity",
               lambda s: round(sum(room.humidity for room in s.rooms) / 6 + 0.2 * s.noise("rah"), 1), cov=1.0),
        analog("I", "ReturnAirCarbonDioxide", "Return air carbon dioxide", "parts-per-million",
               lambda s: round(sum(room.carbon_dioxide for room in s.rooms) / 6 + 3 * s.noise("rco2")), limits=(0, 1400), cov=10),
        analog("I", "DuctStaticPressure", "Supply duct static pressure", "pascals",
               lambda s: round(max(0.0, s.ahu.duct_pressure + (2 * s.noise("dsp") if s.ahu.fan_speed > 1 else 0)), 1),
               limits=(0, 750), cov=5.0),
        analog("I", "FilterDifferentialPressure", "Pressure drop over the filter", "pascals",
               lambda s: round(max(0.0, s.ahu.filter_pressure + (s.noise("fdp") if s.ahu.fan_speed > 1 else 0)), 1),
               limits=(0, 250), cov=2.0),
        analog("I", "SupplyAirFlow", "Supply air flow", "liters-per-second",
               lambda s: round(sum(room.airflow for room in s.rooms) * (1 + 0.01 * s.noise("saf"))), cov=10),
        analog("I", "SupplyFanPower", "Electrical power of the supply fan", "kilowatts",
               lambda s: round(7.5 * (s.ahu.fan_speed / 100) ** 3, 2)),
        analog("I", "SupplyFanCurrent", "Current of the supply fan", "amperes",
               lambda s: round(11.5 * (s.ahu.fan_speed / 100) ** 2.6, 2)),
        binary("I", "SupplyFanStatus", "Supply fan proves flow", lambda s: s.ahu.fan_speed > 10, states=("Stopped", "Running")),
        binary("I", "FilterAlarm", "Filter is dirty", lambda s: s.ahu.filter_pressure > 250, states=("Clean", "Dirty"), alarm=(1,)),
        binary("I", "FrostStat", "Frost protection thermostat", lambda s: s.ahu.mixed < 3, states=("Normal", "Frost"), alarm=(1,)),
        binary("I", "SmokeDetector", "Smoke detector in the return duct", False, states=("Normal", "Smoke"), alarm=(1,)),
        binary("I", "EmergencyStop", "Emergency stop pressed", False, states=("Released", "Pressed"), alarm=(1,)),
    )  # fmt: skip


def _ahu_commands() -> tuple[PointSpecification, ...]:
    return (
        analog("O", "SupplyFanSpeed", "Speed command of the supply fan", "percent",
               lambda s: round(s.ahu.fan_speed, 1), command="ahu.fan_speed"),
        analog("O", "HeatingValve", "Position of the heating valve", "percent",
               lambda s: round(s.ahu.heating_valve, 1), command="ahu.heating_valve"),
        analog("O", "CoolingValve", "Position of the cooling valve", "percent",
               lambda s: round(s.ahu.cooling_valve, 1), command="ahu.cooling_valve"),
        analog("O", "OutdoorAirDamper", "Position of the outdoor air damper", "percent",
               lambda s: round(s.ahu.outdoor_damper, 1), command="ahu.outdoor_damper"),
        analog("O", "ReturnAirDamper", "Position of the return air damper", "percent",
               lambda s: round(100 - s.ahu.outdoor_damper, 1)),
        binary("O", "SupplyFanCommand", "Start of the supply fan", lambda s: s.ahu.running,
               command="ahu.fan_command", states=("Stop", "Start")),
        binary("O", "HeatingPumpCommand", "Start of the heating coil pump", lambda s: s.ahu.heating_valve > 5),
        multi_state("O", "FanModeCommand", "Mode of the supply fan", HAND_OFF_AUTO, AUTO),
    )  # fmt: skip


def _ahu_settings() -> tuple[PointSpecification, ...]:
    return (
        analog("V", "SupplyAirSetpoint", "Supply air temperature setpoint, reset by the outdoor temperature", "degrees-celsius",
               lambda s: round(s.ahu.setpoint, 2), command="ahu.supply_setpoint", limits=(10, 25)),
        analog("V", "DuctPressureSetpoint", "Duct static pressure setpoint", "pascals", 350, cov=5),
        analog("V", "MinimumOutdoorAir", "Smallest opening of the outdoor air damper", "percent", 25),
        analog("V", "EconomizerLimit", "Free cooling below this outdoor temperature", "degrees-celsius", 20),
        analog("V", "CoolingLockout", "No mechanical cooling below this outdoor temperature", "degrees-celsius", 10),
        analog("V", "CarbonDioxideSetpoint", "Return air carbon dioxide setpoint", "parts-per-million", 900, cov=10),
        analog("V", "SupplyFanRunHours", "Hours the supply fan has run", "hours", lambda s: round(s.ahu.run_hours, 2), cov=1),
        analog("V", "AverageRoomTemperature", "Average of the rooms served", "degrees-celsius",
               lambda s: round(sum(room.temperature for room in s.rooms) / 6, 2)),
        analog("V", "AverageDamperPosition", "Average of the VAV dampers", "percent",
               lambda s: round(sum(room.damper for room in s.rooms) / 6, 1)),
        analog("V", "HeatingDemand", "Heating demand of the sequence", "percent", lambda s: round(max(0.0, s.ahu.coil), 1)),
        analog("V", "CoolingDemand", "Cooling demand of the sequence", "percent", lambda s: round(max(0.0, -s.ahu.coil), 1)),
    )  # fmt: skip


def _ahu_states() -> tuple[PointSpecification, ...]:
    return (
        binary("V", "Occupied", "The schedule says occupied", lambda s: s.occupied, states=("Unoccupied", "Occupied")),
        binary("V", "EconomizerActive", "Free cooling by outdoor air", lambda s: s.ahu.outdoor_damper > 50),
        binary("V", "ResetAlarms", "Resets latched alarms", False),
        binary("V", "AlarmSummary", "Any alarm of the unit", lambda s: s.ahu.filter_pressure > 250 or s.ahu.mixed < 3, alarm=(1,)),
        multi_state("I", "HandSwitch", "Switch on the panel door", HAND_OFF_AUTO, AUTO),
        multi_state("I", "DriveState", "State the fan's drive reports", ("Stopped", "Ramping", "Running", "Fault"),
                    lambda s: 1 if s.ahu.fan_speed < 2 else 2 if s.ahu.fan_speed < 25 else 3, alarm=(4,)),
        multi_state("V", "OperatingMode", "What the unit is doing", MODES, mode),
        multi_state("V", "Season", "Season of the plant", ("Winter", "Between", "Summer"),
                    lambda s: 1 if s.outdoor < 8 else 2 if s.outdoor < 16 else 3),
    )  # fmt: skip


def _vav_measurements(n: int) -> tuple[PointSpecification, ...]:
    room = _room(n)
    return (
        analog("I", "RoomTemperature", "Room temperature at the wall unit", "degrees-celsius",
               lambda s: round(room(s).temperature + 0.04 * s.noise(f"rt{n}"), 2), limits=(15, 29)),
        analog("I", "RoomCarbonDioxide", "Carbon dioxide in the room", "parts-per-million",
               lambda s: round(room(s).carbon_dioxide + 4 * s.noise(f"co2{n}")), limits=(0, 1200), cov=10),
        analog("I", "RoomHumidity", "Relative humidity in the room", "percent-relative-humidity",
               lambda s: round(room(s).humidity + 0.2 * s.noise(f"rh{n}"), 1), limits=(20, 75), cov=1),
        analog("I", "DischargeAirTemperature", "Air temperature after the reheat coil", "degrees-celsius",
               lambda s: round(room(s).discharge + 0.05 * s.noise(f"dat{n}"), 2), limits=(8, 50)),
        analog("I", "AirFlow", "Measured air flow", "liters-per-second",
               lambda s: round(room(s).airflow * (1 + 0.01 * s.noise(f"flow{n}")), 1), limits=(0, 340), cov=2),
        binary("I", "OccupancySensor", "Somebody is in the room", lambda s: room(s).occupants > 0.5, states=("Empty", "Present")),
        binary("I", "WindowContact", "Window contact", False, states=("Closed", "Open")),
        multi_state("I", "WallUnitMode", "Mode chosen at the wall unit", ("Comfort", "Standby", "Economy"),
                    lambda s: 1 if s.occupied else 3),
    )  # fmt: skip


def _vav_commands(n: int) -> tuple[PointSpecification, ...]:
    room = _room(n)
    return (
        analog("O", "DamperCommand", "Position of the air damper", "percent",
               lambda s: round(room(s).damper, 1), command=f"vav{n}.damper"),
        analog("O", "ReheatValve", "Position of the reheat valve", "percent",
               lambda s: round(room(s).reheat, 1), command=f"vav{n}.reheat"),
        binary("O", "LightCommand", "Light in the room", lambda s: room(s).occupants > 0.5),
        multi_state("O", "BlindCommand", "Position of the blinds", ("Up", "Half", "Down"),
                    lambda s: 3 if abs(s.hour - room(s).sun_hour) < 1.5 else 1),
        analog("V", "CoolingSetpoint", "Cooling setpoint while occupied", "degrees-celsius", 23.5,
               command=f"vav{n}.cooling_setpoint"),
        analog("V", "HeatingSetpoint", "Heating setpoint while occupied", "degrees-celsius", 21.0,
               command=f"vav{n}.heating_setpoint"),
        binary("V", "OccupancyOverride", "Occupied mode of this room", lambda s: s.occupied,
               command=f"vav{n}.occupied", states=("Unoccupied", "Occupied")),
        analog("V", "EffectiveCoolingSetpoint", "Cooling setpoint in force", "degrees-celsius",
               lambda s: room(s).cooling_setpoint),
        analog("V", "EffectiveHeatingSetpoint", "Heating setpoint in force", "degrees-celsius",
               lambda s: room(s).heating_setpoint),
    )  # fmt: skip


def _vav_settings() -> tuple[PointSpecification, ...]:
    return (
        analog("V", "UnoccupiedCoolingSetpoint", "Cooling setpoint while unoccupied", "degrees-celsius", 27.0),
        analog("V", "UnoccupiedHeatingSetpoint", "Heating setpoint while unoccupied", "degrees-celsius", 17.0),
        analog("V", "MinimumAirFlow", "Smallest air flow while occupied", "liters-per-second", 50),
        analog("V", "MaximumAirFlow", "Largest air flow", "liters-per-second", 300),
    )


def _vav_states(n: int) -> tuple[PointSpecification, ...]:
    room = _room(n)

    def control_state(state: BuildingState) -> Value:
        if room(state).reheat > 5:
            return 2
        return 3 if room(state).damper > 30 else 1

    return (
        analog("V", "Occupants", "Estimated number of people", "no-units", lambda s: round(room(s).occupants), cov=1),
        binary("V", "AirQualityAlarm", "Carbon dioxide is too high", lambda s: room(s).carbon_dioxide > 1200, alarm=(1,)),
        multi_state("V", "ControlState", "What the box is doing", ("Satisfied", "Heating", "Cooling"), control_state),
    )


def _room(n: int) -> Callable[[BuildingState], Room]:
    return lambda state: state.rooms[n - 1]
