"""Whose turn it is: stations in turn, networks one at a time, the urgent ahead."""

import itertools

from bms_iot.bacnet.network.npdu import Station, remote
from bms_iot.bacnet.transactions import queues
from bms_iot.bacnet.transactions.queues import Queues
from bms_iot.bacnet.transactions.transaction import Transaction

A, B, C = Station("10.0.0.1", 47808), Station("10.0.0.2", 47808), Station("10.0.0.3", 47808)


def request(station: Station, *, urgent: bool = False) -> Transaction:
    return Transaction(
        station=station, service=14, frame=bytearray(4), invoke_id_at=2, tries_left=1, tries=1, done=lambda _: None, urgent=urgent
    )


def filled(*requests: Transaction, per_station: int = 1) -> Queues:
    made = Queues(per_station=per_station)
    for each in requests:
        made.add(each)
    return made


def sent(of: Queues, *, room: bool = True) -> list[Transaction]:
    taken = []
    while (transaction := of.next(room=room)) is not None:
        taken.append(transaction)
    return taken


def test_one_request_is_on_its_way_to_each_station_and_the_next_when_it_is_done():
    first, second, other = request(A), request(A), request(B)
    made = filled(first, second, other)
    assert sent(made) == [first, other]
    assert made.waiting == 1
    assert made.remove(first)
    assert sent(made) == [second]
    assert made.waiting == 0


def test_stations_are_served_in_turn():
    many = [request(A) for _ in range(3)]
    few = [request(B), request(C)]
    assert sent(filled(*many, *few, per_station=8)) == [many[0], few[0], few[1], *many[1:]]


def test_invoke_ids_on_their_way_to_one_station_differ():
    requests = [request(A) for _ in range(300)]
    taken = sent(filled(*requests, per_station=255))
    assert len({transaction.invoke_id for transaction in taken}) == len(taken) == 255
    assert all(transaction.frame[2] == transaction.invoke_id for transaction in taken)


def test_an_urgent_request_goes_ahead_of_all_that_waits_and_urgent_ones_keep_their_order():
    polls = [request(A) for _ in range(3)]
    writes = [request(A, urgent=True) for _ in range(2)]
    made = filled(*polls, *writes)
    order = []
    while taken := sent(made):
        order.extend(taken)
        for each in taken:
            made.remove(each)
    assert order == [*writes, *polls]


def test_an_urgent_request_does_not_wait_for_a_place_in_the_total():
    poll, write = request(A), request(B, urgent=True)
    made = filled(poll, request(C), write)
    assert sent(made, room=False) == [write]
    assert poll in sent(made)


def test_an_urgent_request_waits_for_the_one_on_its_way_to_its_station_only():
    poll, write = request(A), request(A, urgent=True)
    made = filled(poll)
    assert sent(made) == [poll]
    made.add(write)
    assert sent(made, room=False) == []
    made.remove(poll)
    assert sent(made, room=False) == [write]


def test_one_request_is_on_its_way_to_a_network_behind_a_router_however_many_stations_it_has():
    stations = [remote(5, bytes((mac,))) for mac in range(4)]
    requests = [request(station) for station in stations]
    elsewhere = request(remote(6, b"\1"))
    made = filled(*requests, elsewhere, per_station=8)
    assert sent(made) == [requests[0], elsewhere]
    for done, following in itertools.pairwise(requests):
        made.remove(done)
        assert sent(made) == [following]


def test_an_urgent_request_goes_ahead_of_the_other_stations_of_its_network():
    polls = [request(remote(5, bytes((mac,)))) for mac in range(4)]
    write = request(remote(5, b"\3"), urgent=True)
    made = filled(*polls, write)
    assert sent(made) == [write]
    made.remove(write)
    assert sent(made) == [polls[0]]


def test_what_is_withdrawn_while_it_waits_is_never_sent():
    first, second, third = request(A), request(A), request(A, urgent=True)
    made = filled(first, second, third)
    assert sent(made) == [third]
    assert not made.remove(second)
    made.remove(third)
    assert sent(made) == [first]
    made.remove(first)
    assert sent(made) == []
    assert made.waiting == 0


def test_stations_with_nothing_to_do_are_forgotten_when_there_are_too_many(monkeypatch):
    monkeypatch.setattr(queues, "MAX_PEERS", 2)
    idle, busy = request(A), request(B)
    made = filled(idle, busy)
    sent(made)
    made.remove(idle)
    made.add(request(C))
    assert made.peer(A) is None
    assert made.peer(B) is not None
    assert made.clear() != []
    assert made.waiting == 0
