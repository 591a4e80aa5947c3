"""The physics of the simulated building: weather, six rooms, an air handling unit, chiller, boiler, pumps and meter.

Everything is a pure function of the state before, the time step and the commands somebody gave. Temperatures are in °C, flows in
l/s of air, powers in kW, positions and speeds in percent, times in seconds since the Monday the simulation began with.
"""

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

Commands = Mapping[str, float]
"""Inputs of the model that somebody commanded through BACnet, by name (`ahu.fan_speed`, `vav3.cooling_setpoint`)."""

LONGEST_STEP_SECONDS = 10.0
DAY_SECONDS = 86_400.0
START_SECONDS = 7.0 * 3600.0 - 30.0
"""The simulation begins on a Monday half a minute before the building wakes up at 07:00."""

AIR_KW_PER_K = 1.2 * 1.005 / 1000
"""Heat carried by 1 l/s of air for each kelvin."""
STAGE_LOCK_SECONDS = 300.0
ROOM_LITERS = 180_000.0
ROOM_KJ_PER_K = 4_200.0
LOOP_KJ_PER_K = 4_600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A zone with its VAV box; the first three fields are its nature, the rest its condition."""

    max_airflow: float
    sun_hour: float
    people: float
    temperature: float = 20.0
    carbon_dioxide: float = 430.0
    humidity: float = 42.0
    occupants: float = 0.0
    damper: float = 20.0
    reheat: float = 0.0
    airflow: float = 0.0
    discharge: float = 19.0
    cooling_setpoint: float = 23.5
    heating_setpoint: float = 21.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AirHandler:
    """The air handling unit; `coil` is the control sequence: -100 full cooling … 100 full heating."""

    running: bool = False
    fan_speed: float = 0.0
    coil: float = 0.0
    heating_valve: float = 0.0
    cooling_valve: float = 0.0
    outdoor_damper: float = 0.0
    mixed: float = 19.0
    supply: float = 19.0
    returned: float = 20.5
    setpoint: float = 16.0
    duct_pressure: float = 0.0
    filter_pressure: float = 0.0
    dirt: float = 0.35
    run_hours: float = 8_412.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """A chiller or a boiler with its water loop; two stages of `stage_kw` each."""

    stage_kw: float
    stage: int = 0
    since_change: float = STAGE_LOCK_SECONDS
    leaving: float = 20.0
    entering: float = 20.0
    setpoint: float = 7.0
    load_kw: float = 0.0
    power_kw: float = 0.0
    pump_speed: float = 0.0
    starts: int = 0
    run_hours: float = 2_950.0
    fuel: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """The main electricity meter; `energy` and its parts only grow (kWh)."""

    power_kw: float = 12.0
    lighting_kw: float = 1.0
    hvac_kw: float = 0.0
    plug_kw: float = 3.0
    energy: float = 184_220.0
    lighting_energy: float = 51_877.0
    hvac_energy: float = 96_104.0
    demand_kw: float = 12.0
    peak_kw: float = 48.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildingState:
    """Everything that is true at one moment of simulated time."""

    seed: int
    seconds: float
    outdoor: float
    outdoor_humidity: float
    rooms: tuple[Room, ...]
    ahu: AirHandler
    chiller: Plant
    boiler: Plant
    meter: Meter

    @property
    def hour(self) -> float:
        """Hour of the day, 0 to 24."""
        return self.seconds % DAY_SECONDS / 3600.0

    @property
    def occupied(self) -> bool:
        """The schedule: 07:00 to 19:00, Monday to Friday."""
        return self.seconds // DAY_SECONDS % 7 < 5 and 7.0 <= self.hour < 19.0

    def noise(self, channel: str) -> float:
        """Between -1 and 1, the same for the same seed, moment and channel: what a sensor adds."""
        return zlib.crc32(f"{self.seed}/{self.seconds:.1f}/{channel}".encode()) / 0x7FFF_FFFF - 1.0


def initial(seed: int = 0) -> BuildingState:
    """The Monday morning it begins with; the seed decides how the rooms differ and how the sensors tremble."""

    def spread(channel: str) -> float:
        return zlib.crc32(f"{seed}/{channel}".encode()) / 0x7FFF_FFFF - 1.0

    rooms = tuple(
        Room(
            max_airflow=260.0 + 40.0 * spread(f"flow{n}"),
            sun_hour=9.0 + 1.5 * n,
            people=6.0 + round(3 * spread(f"people{n}")),
            temperature=19.8 + 0.8 * spread(f"temperature{n}"),
        )
        for n in range(6)
    )
    outdoor, humidity = _weather(START_SECONDS, seed)
    return BuildingState(
        seed=seed,
        seconds=START_SECONDS,
        outdoor=outdoor,
        outdoor_humidity=humidity,
        rooms=rooms,
        ahu=AirHandler(),
        chiller=Plant(stage_kw=8.0, leaving=13.0, entering=13.5, setpoint=7.0),
        boiler=Plant(stage_kw=12.0, leaving=42.0, entering=40.0, setpoint=60.0),
        meter=Meter(),
    )


def step(state: BuildingState, seconds: float, commands: Commands) -> BuildingState:
    """The building `seconds` later, with what was commanded meanwhile; long times are taken in steps of at most ten seconds."""
    pieces = max(1, math.ceil(seconds / LONGEST_STEP_SECONDS))
    for _ in range(pieces):
        state = _short_step(state, seconds / pieces, commands)
    return state


def _short_step(state: BuildingState, dt: float, commands: Commands) -> BuildingState:
    now = state.seconds + dt
    outdoor, humidity = _weather(now, state.seed)
    state = replace(state, seconds=now, outdoor=outdoor, outdoor_humidity=humidity)
    ahu = _air_handler(state, dt, commands)
    rooms = tuple(_room(state, ahu, n, dt, commands) for n in range(len(state.rooms)))
    airflow = sum(room.airflow for room in rooms)
    cooling_kw = max(0.0, airflow * AIR_KW_PER_K * (ahu.mixed - ahu.supply)) if ahu.cooling_valve > 1 else 0.0
    heating_kw = max(0.0, airflow * AIR_KW_PER_K * (ahu.supply - ahu.mixed)) if ahu.heating_valve > 1 else 0.0
    heating_kw += sum(max(0.0, room.airflow * AIR_KW_PER_K * (room.discharge - ahu.supply)) for room in rooms)
    threshold = 3 if state.boiler.pump_speed > 5 else 15
    wants_heat = ahu.heating_valve > threshold or any(room.reheat > threshold for room in rooms)
    chiller = _chiller(
        state, cooling_kw, ahu.cooling_valve > (8 if state.chiller.pump_speed > 5 else 30) and outdoor > 10, dt, commands
    )
    boiler = _boiler(state, heating_kw, wants_heat, dt, commands)
    state = replace(state, ahu=ahu, rooms=rooms, chiller=chiller, boiler=boiler)
    return replace(state, meter=_meter(state, dt))


def _weather(seconds: float, seed: int) -> tuple[float, float]:
    """Outdoor temperature (coldest at 04:00, warmest at 16:00; each day a little different) and relative humidity."""
    day, hour = divmod(seconds / 3600.0, 24.0)
    of_day = zlib.crc32(f"{seed}/day{int(day)}".encode()) / 0x7FFF_FFFF - 1.0
    temperature = 17.0 + 2.5 * of_day + 7.5 * math.sin(math.tau * (hour - 10.0) / 24.0) + 0.4 * math.sin(seconds / 1300.0)
    return temperature, _clamp(95.0 - 2.4 * (temperature - 6.0), 25.0, 98.0)


def _air_handler(state: BuildingState, dt: float, commands: Commands) -> AirHandler:
    ahu, rooms = state.ahu, state.rooms
    running = bool(commands.get("ahu.fan_command", state.occupied or any(room.temperature < 17.0 for room in rooms)))
    demand = sum(room.damper for room in rooms) / len(rooms)
    wanted_speed = commands.get("ahu.fan_speed", 30.0 + 0.65 * demand) if running else 0.0
    speed = _towards(ahu.fan_speed, wanted_speed, dt, 25.0)
    setpoint = commands.get("ahu.supply_setpoint", _clamp(18.0 - 0.25 * (state.outdoor - 14.0), 13.0, 19.0))
    free_cooling = state.outdoor < ahu.returned - 1 and ahu.coil < -5
    outdoor_damper = commands.get("ahu.outdoor_damper", (80.0 if free_cooling else 25.0) if running else 0.0)
    share = outdoor_damper / 100.0
    mixed = _towards(ahu.mixed, share * state.outdoor + (1 - share) * ahu.returned, dt, 40.0)
    coil = _clamp(ahu.coil + 0.08 * (setpoint - ahu.supply) * dt, -100.0, 100.0) if running else 0.0
    heating = commands.get("ahu.heating_valve", max(0.0, coil))
    cooling = commands.get("ahu.cooling_valve", max(0.0, -coil))
    coil_out = mixed + 0.5 * heating / 100 * (state.boiler.leaving - mixed) - 0.8 * cooling / 100 * (mixed - state.chiller.leaving)
    flow = speed / 100.0
    airflow = sum(room.airflow for room in rooms)
    still = sum(room.temperature for room in rooms) / len(rooms)
    returned = sum(room.airflow * room.temperature for room in rooms) / airflow + 0.3 if airflow > 1 else still
    return replace(
        ahu,
        running=running,
        fan_speed=speed,
        coil=coil,
        heating_valve=heating,
        cooling_valve=cooling,
        outdoor_damper=outdoor_damper,
        mixed=mixed,
        supply=_towards(ahu.supply, coil_out + 0.8 * flow, dt, 45.0),
        returned=_towards(ahu.returned, returned, dt, 60.0),
        setpoint=setpoint,
        duct_pressure=620.0 * flow**2 * (1.35 - 0.007 * demand),
        filter_pressure=(110.0 + 260.0 * ahu.dirt) * flow**2,
        dirt=min(1.5, ahu.dirt + flow * dt / (180 * DAY_SECONDS)),
        run_hours=ahu.run_hours + (dt / 3600.0 if running else 0.0),
    )


def _room(state: BuildingState, ahu: AirHandler, n: int, dt: float, commands: Commands) -> Room:
    room, vav = state.rooms[n], f"vav{n + 1}"
    occupied = bool(commands.get(f"{vav}.occupied", state.occupied))
    cooling_setpoint = commands.get(f"{vav}.cooling_setpoint", 23.5) if occupied else 27.0
    heating_setpoint = commands.get(f"{vav}.heating_setpoint", 21.0) if occupied else 17.0
    cooling = _clamp(60.0 * (room.temperature - cooling_setpoint), 0.0, 100.0)
    heating = _clamp(60.0 * (heating_setpoint - room.temperature), 0.0, 100.0)
    wanted = max(20.0 + 0.8 * cooling, 35.0 if heating > 0 else 0.0, 45.0 if room.carbon_dioxide > 900 else 0.0)
    damper = _towards(room.damper, commands.get(f"{vav}.damper", wanted), dt, 30.0)
    reheat = _towards(room.reheat, commands.get(f"{vav}.reheat", heating), dt, 30.0)
    airflow = room.max_airflow * damper / 100.0 * ahu.fan_speed / 75.0
    discharge = ahu.supply + reheat / 100.0 * max(0.0, state.boiler.leaving - 25.0) * 0.45
    occupants = _towards(room.occupants, room.people * _presence(state, n), dt, 600.0)
    sun_kw = 0.9 * max(0.0, math.cos(math.tau * (state.hour - room.sun_hour) / 16.0)) if 6.0 < state.hour < 20.0 else 0.0
    gains_kw = 0.1 * occupants + (0.6 if occupied else 0.1) + sun_kw + 0.06 * (state.outdoor - room.temperature)
    fresh_air = 15.0 + airflow * max(0.3, ahu.outdoor_damper / 100.0)
    air_kw = airflow * AIR_KW_PER_K * (discharge - room.temperature)
    return replace(
        room,
        temperature=room.temperature + (gains_kw + air_kw) * dt / ROOM_KJ_PER_K,
        carbon_dioxide=room.carbon_dioxide + dt * (0.028 * occupants - fresh_air / ROOM_LITERS * (room.carbon_dioxide - 420.0)),
        humidity=_towards(room.humidity, 36.0 + 0.12 * state.outdoor_humidity + 0.5 * occupants, dt, 1_800.0),
        occupants=occupants,
        damper=damper,
        reheat=reheat,
        airflow=airflow,
        discharge=_towards(room.discharge, discharge, dt, 40.0),
        cooling_setpoint=cooling_setpoint,
        heating_setpoint=heating_setpoint,
    )


def _presence(state: BuildingState, n: int) -> float:
    """The share of a room's people that is there: they come between 07:30 and 09:00, lunch, and leave from 16:30."""
    if not state.occupied:
        return 0.0
    hour = state.hour - 0.1 * n
    arrived = _clamp((hour - 7.5) / 1.5, 0.0, 1.0) * _clamp((18.5 - hour) / 2.0, 0.0, 1.0)
    return arrived * (0.45 if 12.0 <= hour < 13.0 else 1.0)


def _chiller(state: BuildingState, load_kw: float, wanted: bool, dt: float, commands: Commands) -> Plant:
    setpoint = commands.get("chiller.setpoint", 7.0)
    enabled = bool(commands.get("chiller.enable", wanted))
    plant = _staged(state.chiller, too_much=state.chiller.leaving - setpoint, enabled=enabled, dt=dt)
    cooling_kw = plant.stage * plant.stage_kw
    leaving = _clamp(plant.leaving + (load_kw + 0.04 * (22.0 - plant.leaving) - cooling_kw) * dt / LOOP_KJ_PER_K, 4.0, 26.0)
    efficiency = 4.2 - 0.05 * (state.outdoor - 20.0)
    return _loop(
        plant,
        dt,
        leaving=leaving,
        load_kw=load_kw,
        setpoint=setpoint,
        enabled=enabled,
        power_kw=cooling_kw / efficiency,
        rise=load_kw / 7.0,
    )


def _boiler(state: BuildingState, load_kw: float, wanted: bool, dt: float, commands: Commands) -> Plant:
    setpoint = commands.get("boiler.setpoint", _clamp(70.0 - 0.9 * state.outdoor, 45.0, 75.0))
    enabled = bool(commands.get("boiler.enable", wanted))
    plant = _staged(state.boiler, too_much=(setpoint - state.boiler.leaving) / 3.0, enabled=enabled, dt=dt)
    heating_kw = plant.stage * plant.stage_kw
    leaving = _clamp(plant.leaving + (heating_kw - load_kw - 0.06 * (plant.leaving - 20.0)) * dt / LOOP_KJ_PER_K, 18.0, 92.0)
    plant = replace(plant, fuel=plant.fuel + heating_kw / 0.93 / 10.4 * dt / 3600.0)
    return _loop(
        plant,
        dt,
        leaving=leaving,
        load_kw=load_kw,
        setpoint=setpoint,
        enabled=enabled,
        power_kw=0.15 * plant.stage,
        rise=-load_kw / 5.0,
    )


def _staged(plant: Plant, *, too_much: float, enabled: bool, dt: float) -> Plant:
    """One stage more above +1 K of deviation, one less below -1 K, and never two changes within five minutes."""
    since = plant.since_change + dt
    if not enabled:
        return replace(plant, stage=0, since_change=since if plant.stage == 0 else 0.0)
    change = 0 if since < STAGE_LOCK_SECONDS else (too_much > 1.0 and plant.stage < 2) - (too_much < -1.0 and plant.stage > 0)
    if change == 0:
        return replace(plant, since_change=since)
    started = plant.stage == 0
    return replace(plant, stage=plant.stage + change, since_change=0.0, starts=plant.starts + started)


def _loop(
    plant: Plant, dt: float, *, leaving: float, load_kw: float, setpoint: float, enabled: bool, power_kw: float, rise: float
) -> Plant:
    return replace(
        plant,
        leaving=leaving,
        entering=_towards(plant.entering, leaving + rise, dt, 60.0),
        setpoint=setpoint,
        load_kw=load_kw,
        power_kw=_towards(plant.power_kw, power_kw, dt, 20.0),
        pump_speed=_towards(plant.pump_speed, _clamp(35.0 + 1.2 * load_kw, 35.0, 100.0) if enabled else 0.0, dt, 20.0),
        run_hours=plant.run_hours + (dt / 3600.0 if plant.stage else 0.0),
    )


def _meter(state: BuildingState, dt: float) -> Meter:
    meter = state.meter
    people = sum(room.occupants for room in state.rooms)
    lighting = 1.2 + (7.5 if state.occupied else 0.0)
    plug = 3.0 + 0.22 * people
    pumps = sum(1.5 * (plant.pump_speed / 100.0) ** 3 for plant in (state.chiller, state.boiler))
    hvac = 7.5 * (state.ahu.fan_speed / 100.0) ** 3 + state.chiller.power_kw + state.boiler.power_kw + pumps
    power = lighting + plug + hvac
    demand = _towards(meter.demand_kw, power, dt, 450.0)
    hours = dt / 3600.0
    return Meter(
        power_kw=power,
        lighting_kw=lighting,
        hvac_kw=hvac,
        plug_kw=plug,
        energy=meter.energy + power * hours,
        lighting_energy=meter.lighting_energy + lighting * hours,
        hvac_energy=meter.hvac_energy + hvac * hours,
        demand_kw=demand,
        peak_kw=max(meter.peak_kw, demand),
    )


def _clamp(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def _towards(value: float, target: float, dt: float, time_constant: float) -> float:
    """First-order lag, exact for any step."""
    return target + (value - target) * math.exp(-dt / time_constant)
