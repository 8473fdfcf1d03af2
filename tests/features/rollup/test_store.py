"""The bounds of what is stored."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wirekey.features.rollup.store import ENTRY_BYTES, RollupStore


def filled(*names, entries=10, size=10**6):
    store = RollupStore()
    for name in names:
        store.put(name.encode(), f"agent-{name}", f"text of {name}", entries, size)
    return store


def test_the_least_recently_used_entry_makes_room():
    store = filled("a", "b")
    assert store.find(b"a") == "text of a"
    store.put(b"c", "agent-c", "text of c", 2, 10**6)
    assert [store.find(name) for name in (b"a", b"b", b"c")] == ["text of a", None, "text of c"]


def test_entries_are_bounded_by_bytes():
    store = RollupStore()
    for number in range(5):
        store.put(b"%d" % number, "alice", "x" * 1000, 100, 3 * (1000 + ENTRY_BYTES))
    assert len(store) == 3
    assert store.size == 3 * (1000 + ENTRY_BYTES)
    store.put(b"large", "alice", "ü" * 4000, 100, 5000)
    assert b"large" not in store


def test_a_text_is_replaced():
    store = filled("a", "a")
    assert len(store) == 1
    assert store.size == len("text of a") + ENTRY_BYTES


def test_the_entries_of_an_agent_are_removed():
    store = filled("a", "b")
    store.remove_agents(lambda agent: agent == "agent-a")
    assert store.agents == {"agent-b"}
    assert store.size == len("text of b") + ENTRY_BYTES
    store.clear()
    assert (len(store), store.size) == (0, 0)


def test_no_text_is_in_a_repr():
    store = filled("a")
    assert "text of" not in repr(store) + repr(vars(store))


@given(st.lists(st.tuples(st.integers(0, 9), st.text(max_size=50), st.integers(0, 3), st.integers(0, 3000))))
def test_the_bounds_always_hold(puts):
    store = RollupStore()
    for key, text, entries, size in puts:
        store.put(b"%d" % key, "alice", text, entries, size)
        assert len(store) <= entries
        assert store.size <= size
        assert store.size == sum(entry.size for entry in store._entries.values())
