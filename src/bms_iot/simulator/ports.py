"""Finding one UDP port that is free on many loopback addresses at once."""

import socket
from collections.abc import Sequence

from bms_iot.domain.points import DEFAULT_PORT
from bms_iot.errors import TransportError
from bms_iot.simulator.front import bound_socket, shared_socket

BROADCAST = "127.255.255.255"
ATTEMPTS = 50


def take_port(hosts: Sequence[str], wanted: int | None) -> list[socket.socket]:
    """A bound socket for each host, all of one port.

    `wanted` None prefers 47808 and takes another if need be; 0 takes any. Raises TransportError when the wanted port is taken.
    """
    if wanted is None:
        sockets, _ = _try(hosts, DEFAULT_PORT)
        if sockets:
            return sockets
    elif wanted:
        sockets, reason = _try(hosts, wanted)
        if not sockets:
            raise TransportError(f"UDP port {wanted} is not free: {reason}", hint="take another one, or 0 for any that is free")
        return sockets
    for _ in range(ATTEMPTS):
        sockets, reason = _try(hosts, _any_port())
        if sockets:
            return sockets
    raise TransportError(f"no UDP port is free on {len(hosts)} loopback addresses: {reason}")


def free_port(hosts: Sequence[str]) -> int:
    """A port that is free on every host at this moment. Raises TransportError."""
    sockets = take_port(hosts, 0)
    port = int(sockets[0].getsockname()[1])
    for udp in sockets:
        udp.close()
    return port


def _any_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        return int(udp.getsockname()[1])


def _try(hosts: Sequence[str], port: int) -> tuple[list[socket.socket], str]:
    """The sockets, or none and the reason; the broadcast address is tried too."""
    sockets: list[socket.socket] = []
    try:
        shared_socket((BROADCAST, port)).close()
        for host in hosts:
            sockets.append(bound_socket((host, port)))
    except OSError as error:
        for udp in sockets:
            udp.close()
        return [], str(error)
    return sockets, ""
