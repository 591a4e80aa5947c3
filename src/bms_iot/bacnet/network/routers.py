"""Which router leads to which network (ASHRAE 135 clauses 6.4 and 6.6.3, as a node that is no router needs them).

A route is learned from I-Am-Router-To-Network and from the source of whatever comes from behind a router. It is kept until the
router rejects the network, or another one offers it while requests go unanswered.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from bms_iot.bacnet.counters import Counters
from bms_iot.bacnet.network.npdu import (
    EVERY_NETWORK,
    I_AM_ROUTER,
    REJECT_MESSAGE,
    ROUTER_AVAILABLE,
    ROUTER_BUSY,
    NetworkMessage,
    frame_who_is_router,
)

log = structlog.get_logger()

MAX_ROUTES = 1_024
BUSY_SECONDS = 30.0
"""How long a router that said busy is taken for it (clause 6.6.3.6)."""
ASK_AGAIN_SECONDS = 1.0
NO_ROUTER_SECONDS = 10.0
"""After nobody offered a network, requests to it wait a moment only, for so long."""
MOMENT_SECONDS = 0.25
MAX_EVENTS, EVENTS_SECONDS = 100, 3600.0
"""So many changes are logged in so long, the others are counted only."""
UNREACHABLE, BUSY = 1, 2
"""Reasons of Reject-Message-To-Network (clause 6.4.4)."""

REJECT_REASONS = (
    "other",
    "it leads to no such network",
    "it is busy",
    "unknown network layer message",
    "the message is too long for it",
    "security",
    "addressing",
)


@dataclass(slots=True)
class Route:
    """The router that leads to a network; `suspect` since something went unanswered and nothing has been heard from there.

    `proven` when something has come from there: routes that were only offered make room first.
    """

    host: str
    port: int
    busy_until: float = 0.0
    suspect: bool = False
    proven: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A router would not pass on to `network`; `reason` for people. `again` when it was only busy."""

    network: int
    reason: str
    again: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reachable:
    """There is a router now, or it is no longer busy; `moved` when it is another one than before."""

    network: int
    moved: bool = False


class Routers:
    """The routing table. `broadcast` sends a datagram on our own network and must not raise."""

    def __init__(self, *, broadcast: Callable[[bytes], None], counters: Counters) -> None:
        self._broadcast = broadcast
        self._counters = counters
        self._routes: dict[int, Route] = {}
        self._asked_at: dict[int, float] = {}
        self._nobody_until: dict[int, float] = {}
        self._said = 0
        self._silent_until = 0.0

    def _say(self, event: str, **facts: object) -> None:
        """Log what changed, but not without end where routers are not steady."""
        now = time.monotonic()
        if now >= self._silent_until:
            self._said, self._silent_until = 0, now + EVENTS_SECONDS
        self._said += 1
        if self._said <= MAX_EVENTS:
            log.info(event, **facts)
        elif self._said == MAX_EVENTS + 1:
            log.warning("routers_not_steady", events=self._said, seconds=EVENTS_SECONDS)

    def route(self, network: int) -> Route | None:
        """How `network` is reached, None when that is not known."""
        return self._routes.get(network)

    def ask(self, network: int, now: float) -> None:
        """Who-Is-Router-To-Network, at most once a second for each network."""
        if now - self._asked_at.get(network, -ASK_AGAIN_SECONDS) < ASK_AGAIN_SECONDS:
            return
        _bound(self._asked_at)
        self._asked_at[network] = now
        self._counters.routers_asked += 1
        self._broadcast(frame_who_is_router(network))

    def unanswered(self, network: int, now: float) -> None:
        """A request to `network` was not answered in time: ask who leads there, so that another router can take over."""
        if (route := self._routes.get(network)) is not None:
            route.suspect = True
        self.ask(network, now)

    def nobody(self, network: int, now: float) -> None:
        """Nobody offered `network` while a request waited for it."""
        _bound(self._nobody_until)
        self._nobody_until[network] = now + NO_ROUTER_SECONDS

    def has_nobody(self, network: int, now: float) -> bool:
        """Whether nobody offered `network` a moment ago."""
        return self._nobody_until.get(network, 0.0) > now

    def heard(self, network: int, host: str, port: int) -> Reachable | None:
        """Something came from `network` through that router."""
        route = self._routes.get(network)
        if route is not None and (route.host, route.port) == (host, port):
            route.suspect, route.proven = False, True
            return None
        news = self._offered(network, host, port)
        if news is not None:
            self._routes[network].proven = True
        return news

    def receive(self, message: NetworkMessage, now: float) -> list[Reachable | Rejected]:
        """Take a network layer message; what has changed by it."""
        if message.type == I_AM_ROUTER:
            offers = [self._offered(network, message.host, message.port) for network in _networks(message.data)]
            return [offer for offer in offers if offer is not None]
        if message.type == REJECT_MESSAGE and len(message.data) >= 3:
            return self._rejected(int.from_bytes(message.data[1:3], "big"), message.data[0], message, now)
        if message.type in (ROUTER_BUSY, ROUTER_AVAILABLE):
            return self._is_busy(message, now) if message.type == ROUTER_BUSY else self._is_available(message)
        self._counters.ignored += 1
        return []

    def _is_busy(self, message: NetworkMessage, now: float) -> list[Reachable | Rejected]:
        for network, route in self._led_by(message):
            route.busy_until = now + BUSY_SECONDS
            self._say("router_busy", network=network, router=f"{route.host}:{route.port}")
        return []

    def _is_available(self, message: NetworkMessage) -> list[Reachable | Rejected]:
        available = self._led_by(message)
        for _, route in available:
            route.busy_until = 0.0
        return [Reachable(network=network) for network, _ in available]

    def _offered(self, network: int, host: str, port: int) -> Reachable | None:
        """A second router is taken when the first seems to be gone only."""
        if not 0 < network < EVERY_NETWORK:
            return None
        known = self._routes.get(network)
        if known is not None and ((known.host, known.port) == (host, port) or not known.suspect):
            return None
        if known is None and len(self._routes) >= MAX_ROUTES:
            offered = (number for number, route in self._routes.items() if not route.proven)
            del self._routes[next(offered, next(iter(self._routes)))]
        self._routes[network] = Route(host, port)
        self._nobody_until.pop(network, None)
        self._counters.routes_learned += 1
        self._say("route_learned", network=network, router=f"{host}:{port}", before=known and f"{known.host}:{known.port}")
        return Reachable(network=network, moved=known is not None)

    def _rejected(self, network: int, reason: int, message: NetworkMessage, now: float) -> list[Reachable | Rejected]:
        route = self._routes.get(network)
        if route is None or (route.host, route.port) != (message.host, message.port):
            return []
        self._counters.rejected_by_router += 1
        if reason == BUSY:
            route.busy_until = now + BUSY_SECONDS
        elif reason == UNREACHABLE:
            del self._routes[network]
            self.nobody(network, now)
        why = REJECT_REASONS[reason] if reason < len(REJECT_REASONS) else f"reason {reason}"
        self._say("router_rejects", network=network, router=f"{message.host}:{message.port}", reason=why)
        return [Rejected(network=network, reason=f"router {message.host}:{message.port}: {why}", again=reason == BUSY)]

    def _led_by(self, message: NetworkMessage) -> list[tuple[int, Route]]:
        """The routes of the router that spoke, all of them when it names none (clause 6.4.5)."""
        named = _networks(message.data)
        return [
            (network, route)
            for network, route in self._routes.items()
            if (route.host, route.port) == (message.host, message.port) and (not named or network in named)
        ]


def _networks(data: bytes) -> list[int]:
    return [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data) - 1, 2)]


def _bound(moments: dict[int, float]) -> None:
    if len(moments) >= MAX_ROUTES:
        del moments[next(iter(moments))]
