"""The ids of calls."""

import uuid

import pytest

from wirekey.core import call

NOW = 1_800_000_000_123_456_789


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still, and can be set. No id was made before."""
    times = {"now": NOW}
    monkeypatch.setattr(call.time, "time_ns", lambda: times["now"])
    monkeypatch.setattr(call, "_latest", 0)
    return times


def test_an_id_is_a_uuid_of_version_7_with_the_time_in_milliseconds(clock):
    made = uuid.UUID(call.new_call_id())
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == NOW // 1_000_000


@pytest.mark.parametrize("later", [0, 1_000_000, -5_000_000_000], ids=["same", "later", "set back"])
def test_ids_sort_in_the_order_in_which_they_were_made(clock, later):
    ids = [call.new_call_id() for _ in range(5000)]
    clock["now"] += later
    ids += [call.new_call_id() for _ in range(5000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)


def test_the_ids_of_a_worker_end_with_its_tag(clock, monkeypatch):
    monkeypatch.setattr(call, "_last_byte", None)
    call.end_call_ids_with("a7")
    assert {call.new_call_id()[-2:] for _ in range(100)} == {"a7"}
