"""The UDP port of BACnet/IP (ASHRAE 135 annex J): one socket of ours, and one that hears broadcasts."""

import asyncio
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Self

from bms_iot.bacnet.counters import Counters
from bms_iot.bacnet.network.holders import holder_of
from bms_iot.bacnet.network.npdu import Incoming, Packet, Station, parse_datagram
from bms_iot.bacnet.values.codec import DecodeError
from bms_iot.domain.points import DEFAULT_PORT
from bms_iot.errors import TransportError

RECEIVE_BUFFER = 4 * 1024 * 1024
DATAGRAM_COST = 2304
"""What the kernel takes from the receive buffer for a datagram of up to 1,500 octets, about."""
DRAIN = 256
MAX_DATAGRAM = 2048


class UdpPort:
    """Our UDP port, and where a broadcast address is given a second socket that hears what is sent to it.

    Entering raises TransportError when the address cannot be had. `deliver` is called with all that is for us; it must not raise.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        broadcast: str | None,
        broadcast_port: int | None,
        deliver: Callable[[Incoming], None],
        counters: Counters,
    ) -> None:
        self._address = (host, port)
        self._broadcast = None if broadcast is None else (broadcast, broadcast_port or port or DEFAULT_PORT)
        self._deliver = deliver
        self._counters = counters
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sockets: list[socket.socket] = []

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        try:
            self._sockets.append(_bound(self._address, shared=False))
            if self._broadcast is not None and not self._hears_broadcasts(self._broadcast):
                self._hear_broadcasts(self._broadcast)
        except BaseException:
            self._close()
            raise
        for opened in self._sockets:
            self._loop.add_reader(opened.fileno(), self._drain, opened)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        for opened in self._sockets:
            if self._loop is not None:
                self._loop.remove_reader(opened.fileno())
            opened.close()
        self._sockets.clear()

    def _hear_broadcasts(self, broadcast: tuple[str, int]) -> None:
        """Any port of ours (0) is taken beside another program: it may have the broadcasts for itself."""
        try:
            self._sockets.append(_bound(broadcast, shared=True))
        except TransportError:
            if self._address[1] != 0:
                raise

    def _hears_broadcasts(self, broadcast: tuple[str, int]) -> bool:
        """Whether the first socket hears them: the kernel gives broadcasts to the wildcard, not to one address."""
        host, port = self._address
        return port == broadcast[1] and host in ("", "0.0.0.0", broadcast[0])  # noqa: S104  compared, not bound

    @property
    def address(self) -> tuple[str, int]:
        """The address and port that are bound. Raises TransportError when the port is not open."""
        name: tuple[str, int] = self._socket().getsockname()
        return name

    @property
    def room(self) -> int:
        """How many full answers the kernel keeps for us until we read them."""
        return int(self._socket().getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)) // DATAGRAM_COST

    def send(self, datagram: bytes | bytearray, host: str, port: int) -> OSError | None:
        """Send to one station. An error of the operating system is counted and returned: the datagram is as good as lost."""
        try:
            self._socket().sendto(datagram, (host, port))
        except OSError as error:
            self._counters.send_errors += 1
            return error
        return None

    def broadcast(self, datagram: bytes) -> None:
        """Send to the broadcast address. Raises TransportError when none was given or it cannot be sent to."""
        if self._broadcast is None:
            raise TransportError(
                "there is no broadcast address to send to",
                hint="set the broadcast address of the reader's network, or name an address",
            )
        try:
            self._socket().sendto(datagram, self._broadcast)
        except OSError as error:
            host, port = self._broadcast
            raise TransportError(
                f"cannot send to the broadcast address {host}:{port}: {error.strerror or error}",
                hint="check that the address belongs to a network of this machine (ip -br address)",
            ) from error

    def _socket(self) -> socket.socket:
        if not self._sockets:
            raise TransportError("the BACnet port is closed")
        return self._sockets[0]

    def _drain(self, opened: socket.socket) -> None:
        """Read what has arrived, up to DRAIN datagrams, so that the loop stays alive in a flood."""
        counters = self._counters
        for _ in range(DRAIN):
            try:
                datagram, (host, port) = opened.recvfrom(MAX_DATAGRAM)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error of an earlier datagram; the socket is still good
                counters.receive_errors += 1
                continue
            counters.datagrams += 1
            try:
                incoming = parse_datagram(datagram, host, port)
            except DecodeError:
                incoming = Packet(Station(host, port), b"", False)
            if incoming is None:
                counters.ignored += 1
                continue
            self._deliver(incoming)
            if not self._sockets:  # closed by what was delivered
                return


def _bound(address: tuple[str, int], *, shared: bool) -> socket.socket:
    """A non-blocking UDP socket bound to `address`; `shared` lets other programs hear the same broadcasts."""
    host, port = address
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        opened.setblocking(False)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        if shared:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        opened.bind(address)
    except (OSError, OverflowError) as error:
        opened.close()
        raise TransportError(
            f"cannot open UDP {host}:{port}: {getattr(error, 'strerror', None) or error}", hint=_hint(error, host, port)
        ) from error
    return opened


def _hint(error: Exception, host: str, port: int) -> str:
    match error:
        case PermissionError():
            return f"ports below 1024 need a privilege; choose another port than {port}"
        case OSError(errno=98):
            holder = holder_of(host, port) or "another program"
            return f"{holder} holds port {port}; stop it or choose another port (ss -lunp 'sport = :{port}')"
        case OSError(errno=99):
            return f"{host} is not an address of this machine; see which are with: ip -br address"
    return "check the host and the port"
