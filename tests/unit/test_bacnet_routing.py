"""The routing table: what it believes, and for how long."""

import pytest
import structlog

from bms_iot.bacnet.counters import Counters
from bms_iot.bacnet.network import routers
from bms_iot.bacnet.network.npdu import NetworkMessage, frame_who_is_router
from bms_iot.bacnet.network.routers import Reachable, Rejected, Routers

R1, R2 = ("10.0.0.1", 47808), ("10.0.0.2", 47808)


class Table:
    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.routers = Routers(broadcast=self.sent.append, counters=Counters())

    def hear(self, source: tuple[str, int], message_type: int, data: str, now: float = 0.0) -> list[Reachable | Rejected]:
        return self.routers.receive(NetworkMessage(*source, message_type, bytes.fromhex(data)), now)

    def router_of(self, network: int) -> tuple[str, int] | None:
        route = self.routers.route(network)
        return None if route is None else (route.host, route.port)


def test_i_am_router_names_the_networks_it_leads_to():
    table = Table()
    assert table.hear(R1, 1, "0005 0006") == [Reachable(network=5), Reachable(network=6)]
    assert [table.router_of(number) for number in (5, 6, 7)] == [R1, R1, None]
    assert table.hear(R1, 1, "0005") == []


@pytest.mark.parametrize("data", ["", "00", "0000", "ffff", "0005 00"])
def test_networks_that_cannot_be_are_passed_over(data):
    table = Table()
    table.hear(R1, 1, data)
    assert {network for network in (0, 0xFFFF) if table.router_of(network)} == set()


def test_what_comes_from_a_network_tells_the_way_there():
    table = Table()
    assert table.routers.heard(5, *R1) == Reachable(network=5)
    assert table.routers.heard(5, *R1) is None
    assert table.router_of(5) == R1


def test_another_router_is_taken_only_when_the_first_seems_to_be_gone():
    table = Table()
    table.hear(R1, 1, "0005")
    assert table.hear(R2, 1, "0005") == []
    table.routers.unanswered(5, 10.0)
    assert table.sent == [frame_who_is_router(5)]
    table.routers.heard(5, *R1)
    assert table.hear(R2, 1, "0005") == []
    table.routers.unanswered(5, 20.0)
    assert table.hear(R2, 1, "0005") == [Reachable(network=5, moved=True)]
    assert table.router_of(5) == R2


def test_a_network_is_asked_for_once_a_second_at_most():
    table = Table()
    for now in (0.0, 0.5, 0.9, 1.0, 1.5):
        table.routers.ask(5, now)
    assert len(table.sent) == 2


def test_a_rejection_of_the_router_in_use_forgets_the_way_and_one_of_another_does_not():
    table = Table()
    table.hear(R1, 1, "0005")
    assert table.hear(R2, 3, "01 0005") == []
    (rejected,) = table.hear(R1, 3, "01 0005", now=3.0)
    assert isinstance(rejected, Rejected)
    assert not rejected.again
    assert table.router_of(5) is None
    assert table.routers.has_nobody(5, 4.0)
    table.hear(R1, 1, "0005")
    assert not table.routers.has_nobody(5, 4.0)


@pytest.mark.parametrize(("message_type", "data"), [(4, "0005"), (4, ""), (3, "02 0005")])
def test_a_busy_router_is_busy_for_its_own_networks_until_it_says_otherwise(message_type, data):
    table = Table()
    table.hear(R1, 1, "0005")
    table.hear(R2, 1, "0006")
    table.hear(R1, message_type, data, now=100.0)
    route, other = table.routers.route(5), table.routers.route(6)
    assert route is not None
    assert other is not None
    assert route.busy_until == 100.0 + routers.BUSY_SECONDS
    assert other.busy_until == 0.0
    assert table.hear(R1, 5, "") == [Reachable(network=5)]
    assert route.busy_until == 0.0


def test_the_table_is_bounded(monkeypatch):
    monkeypatch.setattr(routers, "MAX_ROUTES", 3)
    table = Table()
    table.hear(R1, 1, "".join(f"{number:04x}" for number in range(1, 10)))
    for number in range(1, 10):
        table.routers.ask(number, 0.0)
        table.routers.nobody(number, 0.0)
    assert [number for number in range(1, 10) if table.router_of(number)] == [7, 8, 9]
    assert len(table.routers._asked_at) == len(table.routers._nobody_until) == 3


@pytest.mark.parametrize("message_type", [0, 2, 6, 7, 8, 9, 0x12, 0x13, 0x80, 0xFF])
def test_other_network_messages_are_counted_only(message_type):
    table = Table()
    assert table.hear(R1, message_type, "0005 0102") == []
    assert table.router_of(5) is None


def test_changes_without_end_are_logged_a_hundred_times_an_hour():
    table = Table()
    with structlog.testing.capture_logs() as logged:
        for _ in range(200):
            table.hear(R1, 1, "0005")
            table.hear(R1, 3, "01 0005")
    assert len(logged) == routers.MAX_EVENTS + 1
    assert logged[-1]["event"] == "routers_not_steady"


def test_routes_that_were_only_offered_make_room_before_those_that_something_came_through():
    table = Table()
    table.routers.heard(5, *R1)
    for first in range(6, 6 + 2 * routers.MAX_ROUTES, 512):
        table.hear(R2, 1, "".join(f"{number:04x}" for number in range(first, first + 512)))
    assert table.router_of(5) == R1
