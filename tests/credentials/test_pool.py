"""Keys in turn, and the cool-down of keys that were refused."""

import pytest

from wirekey.core.credentials.pool import KeyPool, ProviderKey, SessionAffinity, retry_after_seconds
from wirekey.core.secret import Secret


def pool(*labels):
    return KeyPool([ProviderKey(label, Secret(f"key-{label}")) for label in labels])


def labels(keys, now, count):
    return [keys.choose(now).label for _ in range(count)]


def test_keys_serve_round_robin():
    assert labels(pool("a", "b", "c"), 0, 7) == ["a", "b", "c", "a", "b", "c", "a"]


def test_an_empty_pool_returns_no_key():
    assert pool().choose(0) is None


@pytest.mark.parametrize("status", [401, 403, 429])
def test_a_refused_key_cools_down_while_others_serve(status):
    keys = pool("a", "b")
    keys.record_status(keys.choose(0), status, None, 0)
    assert labels(keys, 0.5, 3) == ["b", "b", "b"]


def test_retry_after_sets_the_length_of_the_cool_down():
    keys = pool("a", "b")
    keys.record_status(keys.choose(0), 429, 20, 0)
    assert "a" not in labels(keys, 19.9, 4)
    assert "a" in labels(keys, 20, 2)


def test_the_cool_down_doubles_with_each_refusal_and_ends_with_a_success():
    keys = pool("a", "b")
    key = keys.keys[0]
    ends = []
    for _ in range(5):
        keys.record_status(key, 429, None, 0)
        ends.append(key.cooling_until)
    assert ends == [1, 2, 4, 8, 16]
    keys.record_status(key, 200, None, 0)
    assert key.cooling_until == 0
    keys.record_status(key, 429, None, 0)
    assert key.cooling_until == 1


def test_a_cool_down_is_at_most_an_hour():
    keys = pool("a")
    keys.record_status(keys.keys[0], 429, 10**9, 0)
    assert keys.keys[0].cooling_until == 3600


def test_when_all_keys_cool_down_the_soonest_available_one_serves():
    keys = pool("a", "b")
    keys.record_status(keys.keys[0], 429, 50, 0)
    keys.record_status(keys.keys[1], 429, 5, 0)
    assert labels(keys, 1, 3) == ["b", "b", "b"]


@pytest.mark.parametrize("status", [400, 404, 500, 529])
def test_other_errors_do_not_cool_down_the_key(status):
    keys = pool("a", "b")
    keys.record_status(keys.keys[0], status, None, 0)
    assert keys.keys[0].cooling_until == 0


def test_a_reload_keeps_the_cool_down_of_keys_that_stay():
    old, new = pool("a", "b"), pool("b", "c")
    old.record_status(old.keys[1], 429, 60, 0)
    new.carry_over(old)
    assert labels(new, 1, 2) == ["c", "c"]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        ("0.5", 0.5),
        ("0", 0),
        ("Thu, 01 Jan 1970 00:02:00 GMT", 20),
        (None, None),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("Thu, 01 Jan 1970 00:00:00 GMT", None),
    ],
)
def test_retry_after(value, seconds):
    assert retry_after_seconds(value, 100) == seconds


def test_a_key_is_available_until_all_of_the_pool_cool_down():
    keys = pool("a", "b")
    found = [keys.has_available(0)]
    for key in keys.keys:
        keys.record_status(key, 429, 10, 0)
        found.append(keys.has_available(5))
    assert [*found, keys.has_available(10), pool().has_available(0)] == [True, True, False, True, False]


def test_a_key_that_was_rejected_in_the_body_cools_down():
    keys = pool("a", "b")
    keys.record_rejection(keys.choose(0), 0)
    assert labels(keys, 0.5, 3) == ["b", "b", "b"]


def chosen(selection, *labels, **more):
    keys = pool(*labels)
    keys.selection = selection
    for name, value in more.items():
        setattr(keys, name, value)
    return keys


def test_a_key_that_was_tried_is_not_chosen_again():
    keys = pool("a", "b", "c")
    tried = []
    while key := keys.choose(0, tried):
        tried.append(key)
    assert [key.label for key in tried] == ["a", "b", "c"]


def test_first_available_returns_the_first_key_that_is_available():
    keys = chosen("first-available", "a", "b", "c")
    assert labels(keys, 0, 3) == ["a", "a", "a"]
    keys.record_status(keys.keys[0], 429, 10, 0)
    assert labels(keys, 5, 2) == ["b", "b"]
    assert labels(keys, 10, 1) == ["a"]


def test_random_returns_every_key_that_is_available():
    keys = chosen("random", "a", "b", "c")
    keys.record_status(keys.keys[1], 429, 10, 0)
    assert set(labels(keys, 5, 200)) == {"a", "c"}
    assert keys.choose(5, [keys.keys[0], keys.keys[2]], available=True) is None


def test_a_session_keeps_its_key_and_new_sessions_are_spread():
    keys = chosen("session-affinity", "a", "b")
    found = {name: keys.choose(0, session=name).label for name in "wxyz"}
    assert found == {"w": "a", "x": "b", "y": "a", "z": "b"}
    assert {name: keys.choose(1, session=name).label for name in "zyxw"} == found


def test_a_session_whose_key_cools_down_gets_another_key_and_keeps_it():
    keys = chosen("session-affinity", "a", "b")
    key = keys.choose(0, session="x")
    keys.record_status(key, 429, 10, 0)
    assert [keys.choose(now, session="x").label for now in (1, 5, 20)] == ["b", "b", "b"]


def test_an_unused_session_expires():
    keys = chosen("session-affinity", "a", "b", sessions=SessionAffinity(ttl=10))
    assert [keys.choose(now, session="x").label for now in (0, 9, 18, 27)] == ["a"] * 4
    assert keys.choose(37, session="x").label == "b"


def test_sessions_are_bounded_and_the_least_recently_used_go_first():
    keys = chosen("session-affinity", "a", "b", "c", sessions=SessionAffinity(entries=2))
    for session in ("x", "y", "x", "z"):
        keys.choose(0, session=session)
    assert len(keys.sessions.kept) == 2
    assert keys.choose(0, session="x").label == "a"
    assert all(len(name) == 16 for name in keys.sessions.kept)


def test_a_reload_keeps_the_sessions_of_keys_that_stay():
    previous, latter = chosen("session-affinity", "a", "b"), chosen("session-affinity", "b", "c")
    previous.choose(0, session="x")
    previous.choose(0, session="y")
    latter.carry_over(previous)
    assert latter.choose(1, session="y").label == "b"
    assert len(latter.sessions.kept) == 1
