from __future__ import annotations

import pytest

from wirekey.core.calls.client_connections import ClientConnections, Deadlines, Step

HERE = "192.0.2.1"
DEADLINES = Deadlines(first_byte=1, hello=2, head=4)


def overdue(connections: ClientConnections, now: float) -> list[tuple[str, Step]]:
    return connections.overdue(now, DEADLINES)


def test_the_deadline_of_the_head_counts_from_the_start_of_the_connection():
    connections = ClientConnections()
    connections.opened("a", HERE, 0, 9)
    assert overdue(connections, 1.5) == [("a", Step.FIRST_BYTE)]
    connections.first_byte_received("a")
    assert overdue(connections, 3.9) == []
    assert overdue(connections, 4.1) == [("a", Step.HEAD)]


@pytest.mark.parametrize("step", [Step.HELLO, Step.HANDSHAKE])
def test_the_steps_of_tls_have_their_own_deadlines(step):
    connections = ClientConnections()
    connections.opened("a", HERE, 0, 9)
    connections.begin_step("a", step, 10)
    assert overdue(connections, 11.9) == []
    assert overdue(connections, 12.1) == [("a", step)]


def test_an_active_request_is_not_overdue_and_the_next_deadline_counts_from_the_response():
    connections = ClientConnections()
    connections.opened("a", HERE, 0, 9)
    connections.request_started("a")
    connections.request_started("a")
    connections.response_ended("a", 50)
    assert overdue(connections, 100) == []
    connections.response_ended("a", 100)
    assert overdue(connections, 103) == []
    assert overdue(connections, 105) == [("a", Step.HEAD)]


def test_an_agents_connection_is_never_overdue_and_counts_for_its_agent():
    connections = ClientConnections()
    for name in "abc":
        connections.opened(name, HERE, 0, 9)
    assert connections.prove("a", HERE, "alice", 1)
    assert connections.prove("a", HERE, "alice", 1)
    assert not connections.prove("b", HERE, "alice", 1)
    assert connections.prove("b", HERE, "bob", 1)
    assert overdue(connections, 100) == [("c", Step.FIRST_BYTE)]
    connections.closed("a")
    assert connections.prove("c", HERE, "alice", 1)


def test_a_new_connection_replaces_the_oldest_silent_one_of_its_address():
    connections = ClientConnections()
    assert connections.opened("a", HERE, 0, 2) is None
    assert connections.opened("other", "192.0.2.2", 0, 2) is None
    assert connections.opened("b", HERE, 1, 2) is None
    assert connections.prove("a", HERE, "alice", 2)
    assert connections.opened("c", HERE, 2, 2) is None
    assert connections.opened("d", HERE, 3, 2) == "b"
    # The next one arrives before the end of "b" is reported.
    assert connections.opened("e", HERE, 3, 2) == "c"
    for name in ("a", "b", "c", "d", "e", "other"):
        connections.closed(name)
    assert not connections.silent
    assert not connections.of_address
    assert not connections.by_agent
