"""The simulated building: real BACnet/IP devices on loopback, for the demo, the tests and the benchmarks; misbehaves on request."""

from bms_iot.simulator.building import SimulatedBuilding
from bms_iot.simulator.described import SimulatedDevice, SimulatedObject
from bms_iot.simulator.encoding import Encoding
from bms_iot.simulator.faults import Fault

__all__ = ["Encoding", "Fault", "SimulatedBuilding", "SimulatedDevice", "SimulatedObject"]
