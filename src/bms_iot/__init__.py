"""The gateway between a building's BACnet/IP controllers and its cloud."""

__version__ = "0.1.0"
