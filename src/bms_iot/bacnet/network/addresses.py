"""Addresses as the domain spells them, and stations as the network layer knows them (ASHRAE 135 clause 6.2).

`10.0.0.7` with a port is a station of our own network; `2001:0a` is station 0x0a of network 2001 (MS/TP, say), `5:0a000007bac0`
one of a BACnet/IP network behind a router. For Who-Is only: `*` is every station of our own network, `2001:*` every one of that.
"""

import ipaddress
from functools import lru_cache

from bms_iot.bacnet.network.npdu import MAX_NETWORK, Station, remote
from bms_iot.domain.points import DeviceAddress
from bms_iot.errors import DeviceUnreachable

EVERYBODY = "*"
MAX_MAC_OCTETS = 18
OUR_NETWORK = Station("", 0)
"""Every station of our own network."""


def is_broadcast(station: Station) -> bool:
    """Whether `station` is all stations of a network."""
    return not station.host and not station.mac


@lru_cache(maxsize=16_384)
def station_of(address: DeviceAddress) -> Station:
    """Where a device is reached. Raises DeviceUnreachable for what is no address: names are never looked up."""
    if address.host == EVERYBODY:
        return OUR_NETWORK
    if ":" in address.host:
        return _routed(address.host)
    if not 1 <= address.port <= 65_535:
        raise DeviceUnreachable(f"{address} has no UDP port", hint="ports are 1 to 65535, for BACnet nearly always 47808")
    try:
        return Station(str(ipaddress.IPv4Address(address.host)), address.port)
    except ValueError:
        raise DeviceUnreachable(
            f"{address} is not an IPv4 address",
            hint="give the controller's IPv4 address, or NETWORK:MAC (2001:0a) for one behind a router",
        ) from None


def address_of(station: Station) -> DeviceAddress:
    """The same, the other way round."""
    if not station.network:
        return DeviceAddress(host=station.host, port=station.port) if station.host else DeviceAddress(host=EVERYBODY)
    return DeviceAddress(host=f"{station.network}:{station.mac.hex() or EVERYBODY}")


def _routed(host: str) -> Station:
    network, _, mac = host.partition(":")
    try:
        octets = b"" if mac == EVERYBODY else bytes.fromhex(mac.removeprefix("0x"))
        number = int(network) if network.isascii() and network.isdigit() else 0
    except ValueError:
        number, octets = 0, b""
    if not 1 <= number <= MAX_NETWORK or not (mac == EVERYBODY or 1 <= len(octets) <= MAX_MAC_OCTETS):
        raise DeviceUnreachable(
            f"{host} is no NETWORK:MAC",
            hint="the network is 1 to 65534 in decimal, the MAC address hexadecimal: 2001:0a, or 5:0a000007bac0 for BACnet/IP",
        )
    return remote(number, octets)
