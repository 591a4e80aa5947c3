"""BACnet/IP datagrams (ASHRAE 135 annex J) and the network layer's header and messages (clauses 6.2 and 6.4)."""

import socket
from typing import NamedTuple, TypeAlias

from bms_iot.bacnet.values.codec import DecodeError

RESULT = 0x00
FORWARDED = 0x04
REGISTER_FOREIGN_DEVICE = 0x05
DISTRIBUTE_BROADCAST = 0x09
ORIGINAL_UNICAST = 0x0A
ORIGINAL_BROADCAST = 0x0B

EVERY_NETWORK = 0xFFFF
"""The network number of a broadcast to every device of every network (clause 6.2.2)."""
MAX_NETWORK = 0xFFFE
HOP_COUNT = 255

WHO_IS_ROUTER, I_AM_ROUTER, REJECT_MESSAGE, ROUTER_BUSY, ROUTER_AVAILABLE = 0x00, 0x01, 0x03, 0x04, 0x05
"""Network layer messages (clause 6.4) that a client has to do with."""

_EXPECTING_REPLY, _HAS_DESTINATION, _HAS_SOURCE, _IS_MESSAGE = 0x04, 0x20, 0x08, 0x80


class Station(NamedTuple):
    """Who sent a datagram: an IPv4 address and UDP port and, behind a router, a network number and a MAC address.

    As the one who is asked, a station behind a router has no address of its own: `remote` makes it.
    """

    host: str
    port: int
    network: int = 0
    mac: bytes = b""

    def __str__(self) -> str:
        if not self.network:
            return f"{self.host}:{self.port}"
        return f"network {self.network} station {self.mac.hex()}"


def remote(network: int, mac: bytes) -> Station:
    """The station `mac` of `network`, through whichever router leads there; an empty `mac` is all of them."""
    return Station("", 0, network, mac)


class Packet(NamedTuple):
    """An APDU and who sent it; `intact` is false when the datagram is shorter or longer than it says.

    What is no BACnet/IP at all is delivered as well, with an empty APDU, since it may be what is left of an answer. `forwarded`
    ones were broadcast and came through a BBMD.
    """

    station: Station
    apdu: bytes
    intact: bool
    forwarded: bool = False


class NetworkMessage(NamedTuple):
    """A network layer message (clause 6.4) and which neighbour of ours sent it."""

    host: str
    port: int
    type: int
    data: bytes


class BvlcResult(NamedTuple):
    """A BVLC-Result (clause J.2.1); code 0 is success."""

    host: str
    port: int
    code: int


Incoming: TypeAlias = Packet | NetworkMessage | BvlcResult


def frame_unicast(apdu: bytes, *, expecting_reply: bool = True, to: Station | None = None) -> bytes:
    """An APDU for one device, as a datagram: of our own network, or the station `to` behind a router, which it is sent to."""
    control = _EXPECTING_REPLY if expecting_reply else 0
    if to is None or not to.network:
        return _frame(ORIGINAL_UNICAST, bytes((1, control)) + apdu)
    return _frame(ORIGINAL_UNICAST, bytes((1, control | _HAS_DESTINATION)) + _destination(to.network, to.mac) + apdu)


def frame_broadcast(apdu: bytes, network: int = EVERY_NETWORK, mac: bytes = b"") -> bytes:
    """An APDU by broadcast: for every network, for one (1 to 65,534) or its one station `mac`, or for our own alone (0)."""
    header = bytes((1, _HAS_DESTINATION)) + _destination(network, mac) if network else b"\x01\x00"
    return _frame(ORIGINAL_BROADCAST, header + apdu)


def frame_who_is_router(network: int) -> bytes:
    """Who-Is-Router-To-Network (clause 6.4.1), by broadcast on our own network, as a datagram."""
    return _frame(ORIGINAL_BROADCAST, bytes((1, _IS_MESSAGE, WHO_IS_ROUTER)) + network.to_bytes(2, "big"))


def frame_register(ttl_seconds: int) -> bytes:
    """Register-Foreign-Device (clause J.2.6), as a datagram."""
    return _frame(REGISTER_FOREIGN_DEVICE, ttl_seconds.to_bytes(2, "big"))


def as_distributed(broadcast: bytes) -> bytes:
    """The same broadcast as Distribute-Broadcast-To-Network (clause J.2.10), for the BBMD we are registered with."""
    return broadcast[:1] + bytes((DISTRIBUTE_BROADCAST,)) + broadcast[2:]


def _destination(network: int, mac: bytes) -> bytes:
    return network.to_bytes(2, "big") + bytes((len(mac),)) + mac + bytes((HOP_COUNT,))


def _frame(function: int, npdu: bytes) -> bytes:
    return b"\x81" + bytes((function,)) + (len(npdu) + 4).to_bytes(2, "big") + npdu


def parse_datagram(datagram: bytes, host: str, port: int) -> Incoming | None:
    """What is in `datagram`, which came from that address; None when it is nothing for us. Raises DecodeError."""
    if len(datagram) < 4 or datagram[0] != 0x81:
        raise DecodeError("not a BVLL message")
    function, length = datagram[1], int.from_bytes(datagram[2:4], "big")
    at = 4
    if function == FORWARDED:
        if len(datagram) < 10:
            raise DecodeError("a Forwarded-NPDU without its origin")
        host, port, at = socket.inet_ntoa(datagram[4:8]), int.from_bytes(datagram[8:10], "big"), 10
    elif function == RESULT and length == len(datagram) == 6:
        return BvlcResult(host, port, int.from_bytes(datagram[4:6], "big"))
    elif function not in (ORIGINAL_UNICAST, ORIGINAL_BROADCAST):
        return None
    end = min(length, len(datagram))
    try:
        return _parse_npdu(datagram[at:end], Station(host, port), intact=length == len(datagram), forwarded=function == FORWARDED)
    except IndexError:
        raise DecodeError("the network layer's header is cut off") from None


def _parse_npdu(npdu: bytes, station: Station, *, intact: bool, forwarded: bool) -> Incoming | None:
    """Clause 6.2: the source, if it is behind a router, and the APDU or network layer message."""
    if npdu[0] != 1:
        raise DecodeError(f"version {npdu[0]} of the network layer")
    control, at = npdu[1], 2
    if control & _HAS_DESTINATION:
        at += 3 + npdu[at + 2]
    if control & _HAS_SOURCE:
        network, length = int.from_bytes(npdu[at : at + 2], "big"), npdu[at + 2]
        station = Station(station.host, station.port, network, npdu[at + 3 : at + 3 + length])
        at += 3 + length
    if control & _HAS_DESTINATION:
        at += 1
    if at > len(npdu):
        raise DecodeError("the network layer's header is cut off")
    if control & _IS_MESSAGE:
        return NetworkMessage(station.host, station.port, npdu[at], npdu[at + 1 :]) if intact else None
    return Packet(station, npdu[at:], intact, forwarded)
