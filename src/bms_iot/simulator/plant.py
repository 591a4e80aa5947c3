"""The objects of the chiller, the boiler, the pump skid and the electricity meter."""

from collections.abc import Callable

from bms_iot.simulator.model import BuildingState, Plant
from bms_iot.simulator.specification import DeviceSpecification, PointSpecification, analog, binary, multi_state

STAGES = ("Off", "Starting", "Stage 1", "Stage 2", "Fault")
PHASES = (("L1", 0.35), ("L2", 0.33), ("L3", 0.32))


def chiller() -> DeviceSpecification:
    """CH-1: two compressors, staged by the leaving water temperature."""
    return DeviceSpecification(
        name="CH-1", description="Air-cooled chiller", location="Roof", points=(*_water_loop("chiller"), *_chiller_points())
    )


def boiler() -> DeviceSpecification:
    """B-1: two-stage gas boiler, its setpoint reset by the outdoor temperature."""
    return DeviceSpecification(
        name="B-1", description="Gas boiler", location="Boiler room", points=(*_water_loop("boiler"), *_boiler_points())
    )


def pump_skid() -> DeviceSpecification:
    """PS-1: the chilled water and the hot water pumps."""
    return DeviceSpecification(
        name="PS-1",
        description="Pump skid",
        location="Boiler room",
        points=(
            *_pump("ChilledWater", "chilled water", lambda s: s.chiller, 6.0),
            *_pump("HotWater", "hot water", lambda s: s.boiler, 2.6),
        ),
    )


def meter() -> DeviceSpecification:
    """EM-1: main meter with sub-meters; energies only grow."""
    return DeviceSpecification(
        name="EM-1",
        description="Electricity meter",
        location="Main switchboard",
        points=(*_meter_totals(), *(point for name, share in PHASES for point in _phase(name, share)), *_meter_states()),
    )


def _loop(which: str) -> Callable[[BuildingState], Plant]:
    return (lambda s: s.chiller) if which == "chiller" else (lambda s: s.boiler)


def _stage_number(plant: Plant) -> int:
    if plant.stage == 0:
        return 1
    return 2 if plant.starts and plant.stage == 1 and plant.since_change < 20 else 2 + plant.stage


def _water_loop(which: str) -> tuple[PointSpecification, ...]:
    loop, limits = _loop(which), (3.0, 18.0) if which == "chiller" else (25.0, 88.0)
    return (
        analog("I", "LeavingWaterTemperature", "Water temperature leaving the machine", "degrees-celsius",
               lambda s: round(loop(s).leaving + 0.03 * s.noise(f"{which}lwt"), 2), limits=limits),
        analog("I", "EnteringWaterTemperature", "Water temperature entering the machine", "degrees-celsius",
               lambda s: round(loop(s).entering + 0.03 * s.noise(f"{which}ewt"), 2)),
        analog("I", "WaterFlow", "Water flow", "cubic-meters-per-hour", lambda s: round(loop(s).pump_speed * 0.06, 2), cov=0.2),
        analog("I", "ElectricalPower", "Electrical power of the machine", "kilowatts", lambda s: round(loop(s).power_kw, 2)),
        analog("I", "LoopPressure", "Static pressure of the loop", "bars",
               lambda s: round(1.8 + 0.004 * (loop(s).leaving - 7) + 0.005 * s.noise(f"{which}p"), 3), limits=(1.0, 3.0), cov=0.05),
        analog("V", "ThermalLoad", "Heat given to or taken from the building", "kilowatts", lambda s: round(loop(s).load_kw, 2)),
        analog("V", "PartLoad", "Share of the installed capacity in use", "percent", lambda s: 50.0 * loop(s).stage, cov=1),
        analog("V", "RunHours", "Hours run", "hours", lambda s: round(loop(s).run_hours, 3), cov=1),
        analog("V", "Starts", "Number of starts", "no-units", lambda s: loop(s).starts, cov=1),
        analog("V", "TemperatureDifference", "Entering minus leaving water temperature", "delta-degrees-kelvin",
               lambda s: round(loop(s).entering - loop(s).leaving, 2)),
        analog("V", "StageUpDeviation", "Deviation that adds a stage", "delta-degrees-kelvin", 1.0),
        analog("V", "StageLockTime", "Shortest time between two stages", "seconds", 300, cov=1),
        binary("I", "RunStatus", "The machine runs", lambda s: loop(s).stage > 0, states=("Stopped", "Running")),
        binary("I", "Stage1Status", "First stage runs", lambda s: loop(s).stage >= 1),
        binary("I", "Stage2Status", "Second stage runs", lambda s: loop(s).stage >= 2),
        binary("I", "FlowSwitch", "Water flows", lambda s: loop(s).pump_speed > 20, states=("No flow", "Flow")),
        binary("I", "CommonAlarm", "Common alarm of the machine", False, states=("Normal", "Alarm"), alarm=(1,)),
        multi_state("I", "MachineState", "State of the machine", STAGES, lambda s: _stage_number(loop(s)), alarm=(5,)),
        multi_state("O", "LeadSelection", "Which stage starts first", ("Stage 1", "Stage 2", "By hours"), 3),
        multi_state("V", "ControlSource", "Who commands the machine", ("Local", "Network", "Schedule"), 2),
    )  # fmt: skip


def _chiller_points() -> tuple[PointSpecification, ...]:
    return (
        analog("V", "ChilledWaterSetpoint", "Leaving water temperature setpoint", "degrees-celsius", 7.0,
               command="chiller.setpoint", limits=(5, 15)),
        analog("O", "CondenserFanSpeed", "Speed of the condenser fans", "percent",
               lambda s: round(min(100.0, s.chiller.stage * 30 + max(0.0, s.outdoor - 15) * 2) if s.chiller.stage else 0.0, 1)),
        analog("I", "CondensingPressure", "Condensing pressure", "bars",
               lambda s: round(9 + 0.25 * s.outdoor + 2.5 * s.chiller.stage + 0.05 * s.noise("cp"), 2), limits=(5, 28), cov=0.5),
        analog("I", "EvaporatingPressure", "Evaporating pressure", "bars",
               lambda s: round((9 if s.chiller.stage == 0 else 4.2 - 0.4 * s.chiller.stage) + 0.03 * s.noise("ep"), 2), cov=0.2),
        binary("O", "EnableCommand", "Release of the chiller", lambda s: s.chiller.pump_speed > 5, command="chiller.enable"),
        binary("V", "FreeCoolingAllowed", "Free cooling is allowed", True),
    )  # fmt: skip


def _boiler_points() -> tuple[PointSpecification, ...]:
    return (
        analog("V", "HotWaterSetpoint", "Leaving water temperature setpoint", "degrees-celsius",
               lambda s: round(s.boiler.setpoint, 2), command="boiler.setpoint", limits=(40, 80)),
        analog("O", "BurnerModulation", "Modulation of the burner", "percent", lambda s: 50.0 * s.boiler.stage),
        analog("I", "FlueGasTemperature", "Flue gas temperature", "degrees-celsius",
               lambda s: round(s.boiler.leaving + 45 * s.boiler.stage + s.noise("fg"), 1), limits=(0, 190), cov=2),
        analog("V", "GasConsumption", "Natural gas burnt (m3)", "no-units", lambda s: round(s.boiler.fuel, 3), cov=0.1),
        binary("O", "EnableCommand", "Release of the boiler", lambda s: s.boiler.pump_speed > 5, command="boiler.enable"),
        binary("V", "LegionellaCycle", "Thermal disinfection is running", False),
    )  # fmt: skip


def _pump(name: str, words: str, loop: Callable[[BuildingState], Plant], lift: float) -> tuple[PointSpecification, ...]:
    return (
        analog("I", f"{name}PumpSpeed", f"Measured speed of the {words} pump", "percent", lambda s: round(loop(s).pump_speed, 1)),
        analog("I", f"{name}PumpFrequency", f"Output frequency of the {words} pump's drive", "hertz",
               lambda s: round(loop(s).pump_speed * 0.5, 2)),
        analog("I", f"{name}PumpPower", f"Electrical power of the {words} pump", "kilowatts",
               lambda s: round(1.5 * (loop(s).pump_speed / 100) ** 3, 3), cov=0.05),
        analog("I", f"{name}DifferentialPressure", f"Differential pressure of the {words} loop", "kilopascals",
               lambda s: round(lift * 10 * (loop(s).pump_speed / 100) ** 2 + 0.1 * s.noise(name), 2), limits=(-5, 90), cov=1),
        analog("O", f"{name}PumpCommand", f"Speed command of the {words} pump", "percent", lambda s: round(loop(s).pump_speed, 0)),
        analog("V", f"{name}PressureSetpoint", f"Differential pressure setpoint of the {words} loop", "kilopascals",
               lift * 7, cov=1),
        binary("I", f"{name}PumpStatus", f"The {words} pump runs", lambda s: loop(s).pump_speed > 5, states=("Stopped", "Running")),
        binary("I", f"{name}PumpFault", f"Fault of the {words} pump's drive", False, states=("Normal", "Fault"), alarm=(1,)),
        binary("O", f"{name}PumpStart", f"Start of the {words} pump", lambda s: loop(s).pump_speed > 1, states=("Stop", "Start")),
        binary("V", f"{name}PumpRotation", f"Duty rotation of the {words} pumps", True),
        multi_state("I", f"{name}PumpSwitch", f"Switch of the {words} pump", ("Hand", "Off", "Auto"), 3),
        multi_state("O", f"{name}DutyPump", f"Which {words} pump is on duty", ("Pump A", "Pump B"),
                    lambda s: 1 + int(s.seconds // 86_400) % 2),
        multi_state("V", f"{name}ControlMode", f"Control of the {words} pump", ("Constant", "Proportional", "Manual"), 2),
    )  # fmt: skip


def _meter_totals() -> tuple[PointSpecification, ...]:
    return (
        analog("I", "ActivePower", "Active power of the building", "kilowatts",
               lambda s: round(s.meter.power_kw, 2), limits=(0, 90)),
        analog("I", "ReactivePower", "Reactive power", "kilovolt-amperes-reactive", lambda s: round(s.meter.power_kw * 0.34, 2)),
        analog("I", "ApparentPower", "Apparent power", "kilovolt-amperes", lambda s: round(s.meter.power_kw * 1.056, 2)),
        analog("I", "PowerFactor", "Power factor", "power-factor", lambda s: round(0.947 + 0.004 * s.noise("pf"), 3), cov=0.01),
        analog("I", "Frequency", "Mains frequency", "hertz",
               lambda s: round(50 + 0.02 * s.noise("hz"), 3), limits=(49, 51), cov=0.05),
        analog("V", "ActiveEnergy", "Active energy of the building", "kilowatt-hours", lambda s: round(s.meter.energy, 2), cov=1),
        analog("V", "LightingEnergy", "Active energy of the lighting", "kilowatt-hours",
               lambda s: round(s.meter.lighting_energy, 2), cov=1),
        analog("V", "HvacEnergy", "Active energy of heating, cooling and ventilation", "kilowatt-hours",
               lambda s: round(s.meter.hvac_energy, 2), cov=1),
        analog("V", "LightingPower", "Active power of the lighting", "kilowatts", lambda s: round(s.meter.lighting_kw, 2)),
        analog("V", "HvacPower", "Active power of heating, cooling and ventilation", "kilowatts",
               lambda s: round(s.meter.hvac_kw, 2)),
        analog("V", "PlugPower", "Active power of the sockets", "kilowatts", lambda s: round(s.meter.plug_kw, 2)),
        analog("V", "Demand", "Demand over 15 minutes", "kilowatts", lambda s: round(s.meter.demand_kw, 2)),
        analog("V", "PeakDemand", "Largest demand so far", "kilowatts", lambda s: round(s.meter.peak_kw, 2)),
        analog("O", "DemandLimit", "Demand limit given to the load shedding", "kilowatts", 80, cov=1),
    )  # fmt: skip


def _phase(name: str, share: float) -> tuple[PointSpecification, ...]:
    return (
        analog("I", f"Voltage{name}", f"Voltage {name} to neutral", "volts",
               lambda s: round(231 - 0.02 * s.meter.power_kw + 0.4 * s.noise(f"u{name}"), 1), limits=(207, 253), cov=1),
        analog("I", f"Current{name}", f"Current {name}", "amperes",
               lambda s: round(s.meter.power_kw * 1000 * share / 219, 2), cov=0.5),
    )  # fmt: skip


def _meter_states() -> tuple[PointSpecification, ...]:
    return (
        binary("I", "MainBreaker", "Main breaker", True, states=("Open", "Closed")),
        binary("I", "SurgeProtection", "Surge protection has tripped", False, states=("Normal", "Tripped"), alarm=(1,)),
        binary("V", "HighTariff", "High tariff applies", lambda s: 7 <= s.hour < 21),
        binary("O", "LoadSheddingRelay", "Load shedding stage 1", lambda s: s.meter.demand_kw > 80),
        multi_state("I", "PhaseSequence", "Phase sequence", ("Clockwise", "Counter-clockwise", "Phase missing"), 1, alarm=(2, 3)),
        multi_state("O", "SheddingStage", "Load shedding stage", ("None", "Stage 1", "Stage 2"),
                    lambda s: 2 if s.meter.demand_kw > 80 else 1),
        multi_state("V", "Tariff", "Tariff in force", ("Night", "Day", "Peak"),
                    lambda s: 3 if 17 <= s.hour < 20 else 2 if 7 <= s.hour < 21 else 1),
    )  # fmt: skip
