"""An agent that is revoked on one machine is revoked on all that share a state, also on those that were away."""

from __future__ import annotations

import json
import time

import pytest

from wirekey.core.identity.agents import AgentStore
from wirekey.core.shared_state import MemoryState, SharedStateUnavailableError
from wirekey.server.revocations import KEPT, KEY, MOST, SUSPENSIONS_KEY, Revocations, merged, read_list

NOW = 1_700_000_000.0


class Machine:
    """The agents of one machine, and its exchange with the others."""

    def __init__(self, folder, state) -> None:
        self.now = NOW
        self.path = folder / "agents.json"
        self.agents = self.store()
        self.ended = 0
        self.revocations = Revocations(state, self.agents, self.store, self.end_connections)

    def store(self) -> AgentStore:
        return AgentStore(self.path, lambda: self.now)

    def end_connections(self) -> None:
        self.ended += 1

    async def exchange(self) -> None:
        await self.revocations.exchange_or_report()


@pytest.fixture
def state():
    return MemoryState()


@pytest.fixture
def machines(tmp_path, state):
    """Two machines with an agent of the same name, each with a token of its own."""
    found = [Machine(tmp_path / name, state) for name in ("first", "second")]
    for machine in found:
        machine.token = machine.agents.add("alice")
        machine.now += 10
    return found


async def test_a_revocation_reaches_the_other_machine_and_is_stored_there(machines):
    first, second = machines
    first.agents.revoke("alice")
    await first.exchange()
    await second.exchange()
    assert second.agents.find(second.token) is None
    assert second.ended == 1, "open connections of the agent must end"
    assert second.store().find(second.token) is None
    assert second.store().agent("alice").revoked_at == first.store().agent("alice").revoked_at


async def test_an_agent_that_was_added_later_stays_active(machines):
    first, second = machines
    first.agents.revoke("alice")
    await first.exchange()
    await second.exchange()
    for machine in machines:
        machine.now += 10
        machine.token = machine.agents.add("alice")
    for machine in machines * 2:
        await machine.exchange()
        assert machine.agents.find(machine.token)


async def test_a_name_that_is_not_known_is_taken_so_that_no_issuer_can_use_it(machines):
    first, second = machines
    first.agents.add("bob")
    first.agents.revoke("bob")
    await first.exchange()
    assert not second.agents.has("bob")
    await second.exchange()
    assert second.agents.has("bob")
    assert second.agents.find_name("bob") is None


async def test_both_machines_learn_what_the_other_revoked_while_it_was_alone(machines, state):
    first, second = machines
    for machine, name in zip(machines, ("one", "two"), strict=True):
        machine.agents.add(name)
        machine.agents.revoke(name)
    for machine in machines * 2:
        await machine.exchange()
    assert {*first.agents.revocations} == {*second.agents.revocations} == {"one", "two"}


async def test_a_server_that_has_lost_its_data_gets_the_list_again(machines, state):
    first, second = machines
    first.agents.revoke("alice")
    await first.exchange()
    await state.delete(KEY)
    await first.exchange()
    await second.exchange()
    assert second.agents.find(second.token) is None


async def test_nothing_is_written_again_without_a_change(machines, state, monkeypatch):
    first, second = machines
    first.agents.revoke("alice")
    for machine in machines:
        await machine.exchange()
    written = []
    monkeypatch.setattr(state, "replace", lambda *given: written.append(given))
    before = second.path.stat()
    for machine in machines * 3:
        await machine.exchange()
    assert not written
    assert second.path.stat().st_mtime_ns == before.st_mtime_ns
    assert second.ended == 1


async def test_a_server_that_is_away_revokes_nobody_and_is_asked_again(machines, state, monkeypatch):
    first, second = machines

    async def away(key: str) -> bytes | None:
        raise SharedStateUnavailableError("away")

    with monkeypatch.context() as patched:
        patched.setattr(state, "get", away)
        first.agents.revoke("alice")
        for machine in machines:
            await machine.exchange()
    assert second.agents.find(second.token)
    for machine in machines:
        await machine.exchange()
    assert second.agents.find(second.token) is None


async def test_agents_that_cannot_be_written_are_reported_once_and_revoked_later(machines, caplog):
    first, second = machines
    first.agents.revoke("alice")
    await first.exchange()
    lock = second.path.with_name("agents.json.lock")
    lock.unlink()
    lock.mkdir()
    for _ in range(3):
        await second.exchange()
    assert caplog.text.count("are not revoked here") == 1
    lock.rmdir()
    await second.exchange()
    assert second.agents.find(second.token) is None


@pytest.mark.parametrize(
    "stored",
    [None, b"", b"\xff", b"[]", b'{"alice": "yesterday"}', b'{"../alice": 1}', b'{"alice": -1}', b'{"alice": 1e300}'],
    ids=["none", "empty", "not a text", "a list", "no number", "no name", "before all time", "after all time"],
)
def test_what_is_not_a_valid_entry_is_left_out(stored):
    assert read_list(stored) == {}


def test_a_list_that_is_too_long_keeps_the_latest_revocations():
    listed = {f"agent-{number}": NOW + number for number in range(MOST)}
    latest = merged(listed, {"new": NOW + MOST, "old": NOW - 1})
    assert len(latest) == MOST
    assert "new" in latest
    assert not latest.keys() & {"old", "agent-0"}
    assert read_list(json.dumps(latest).encode()) == latest
    assert time.time() + KEPT > max(latest.values())


# Suspensions.


async def test_a_suspension_reaches_the_other_machine_and_ends_there_when_it_ends_here(machines):
    first, second = machines
    first.agents.change("alice", suspended=True)
    for machine in machines:
        await machine.exchange()
    assert second.agents.find(second.token) is None
    assert second.ended == 1, "open connections of the agent must end"
    assert not second.store().agent("alice").is_active
    second.now += 10
    second.agents.change("alice", suspended=False)
    for machine in reversed(machines):
        await machine.exchange()
    assert first.agents.find(first.token)
    assert first.store().agent("alice").is_active


async def test_of_two_changes_the_later_one_holds_on_all_machines(machines):
    first, second = machines
    first.agents.change("alice", suspended=True)
    second.now += 5
    second.agents.change("alice", suspended=True)
    second.now += 5
    second.agents.change("alice", suspended=False)
    for machine in machines * 2:
        await machine.exchange()
    assert [machine.agents.find(machine.token) is None for machine in machines] == [False, False]


async def test_a_suspension_concerns_neither_agents_that_are_not_known_nor_those_added_later_nor_revoked_ones(machines):
    first, second = machines
    for name in ("bob", "carol"):
        first.agents.add(name)
    second.agents.add("carol")
    second.agents.revoke("carol")
    first.now += 10
    for name in ("alice", "bob", "carol"):
        first.agents.change(name, suspended=True)
    second.now += 20
    second.agents.revoke("alice")
    token = second.agents.add("alice")
    for machine in machines * 2:
        await machine.exchange()
    assert second.agents.find(token)
    assert not second.agents.has("bob")
    assert second.store().agent("carol").revoked_at


async def test_a_server_that_has_lost_its_data_gets_the_suspensions_again(machines, state):
    first, second = machines
    first.agents.change("alice", suspended=True)
    await first.exchange()
    await state.delete(SUSPENSIONS_KEY)
    await first.exchange()
    await second.exchange()
    assert second.agents.find(second.token) is None


@pytest.mark.parametrize(
    "stored",
    [b"[]", b'{"alice": 1}', b'{"alice": [1]}', b'{"alice": [1, "yes"]}', b'{"alice": [-1, true]}', b"\xff"],
    ids=["a list", "no pair", "one value", "no boolean", "before all time", "not a text"],
)
async def test_suspensions_that_are_not_valid_change_nothing(machines, state, stored):
    await state.set(SUSPENSIONS_KEY, stored, 60)
    for machine in machines:
        await machine.exchange()
        assert machine.agents.find(machine.token)
