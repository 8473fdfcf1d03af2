"""Which connections a listener closes when there are too many."""

from __future__ import annotations

import pytest

from wirekey.core.endpoints.admission import Admission


class Connections:
    """Connections of an admission, by name. `closed`: the names of those it has closed."""

    def __init__(self, most: int, of_one_address: int) -> None:
        self.admission = Admission(most, of_one_address)
        self.closed: list[str] = []

    def open(self, name: str, address: str):
        return self.admission.admit(address, lambda: self.closed.append(name))


def test_R48_half_heads_from_two_addresses_do_not_keep_a_third_out():
    connections = Connections(512, 256)
    for number in range(512):
        assert connections.open(f"attacker {number}", f"10.0.0.{number % 2}")
    assert connections.open("newcomer", "10.0.0.9")
    assert connections.closed == ["attacker 0"]
    assert len(connections.admission) == 512


def test_too_many_of_one_address_close_the_oldest_of_that_address():
    connections = Connections(10, 2)
    for name, address in [("other", "10.0.0.1"), ("first", "10.0.0.2"), ("second", "10.0.0.2")]:
        connections.open(name, address)
    assert connections.open("third", "10.0.0.2")
    assert connections.closed == ["first"]


@pytest.mark.parametrize(
    ("one", "other"),
    [("127.0.0.1", "127.9.9.9"), ("2001:db8::1", "2001:db8::ffff"), ("127.0.0.1", "::ffff:127.0.0.2")],
)
def test_addresses_of_one_owner_count_as_one(one, other):
    connections = Connections(10, 1)
    connections.open("first", one)
    assert connections.open("second", other)
    assert connections.closed == ["first"]


def test_a_connection_whose_request_was_read_is_kept_and_the_newcomer_is_refused():
    connections = Connections(2, 2)
    for name in ("first", "second"):
        connections.admission.request_read(connections.open(name, "10.0.0.1"))
    assert connections.open("newcomer", "10.0.0.2") is None
    assert connections.closed == []


def test_a_connection_between_two_requests_is_younger_than_one_that_never_sent_a_request():
    connections = Connections(2, 2)
    served = connections.open("served", "10.0.0.1")
    connections.open("silent", "10.0.0.1")
    connections.admission.request_read(served)
    connections.admission.request_ended(served)
    connections.open("newcomer", "10.0.0.2")
    connections.open("next", "10.0.0.2")
    assert connections.closed == ["silent", "served"]


def test_a_client_behind_a_load_balancer_is_counted_for_its_own_address():
    connections = Connections(10, 2)
    for number in range(4):
        moved = connections.open(f"client {number}", "10.0.0.1")
        assert connections.admission.move(moved, "10.0.0.7")
    assert connections.closed == ["client 0", "client 1"]
    busy = Connections(10, 1)
    busy.admission.request_read(busy.open("busy", "10.0.0.7"))
    assert not busy.admission.move(busy.open("next", "10.0.0.1"), "10.0.0.7")
    assert len(busy.admission) == 1


def test_a_connection_that_has_left_is_counted_no_longer():
    connections = Connections(10, 10)
    admitted = connections.open("first", "10.0.0.1")
    for _ in range(2):
        connections.admission.leave(admitted)
    connections.admission.request_ended(admitted)
    assert len(connections.admission) == 0
