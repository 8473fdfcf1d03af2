"""Keys in turn, and the rest of those that were refused."""

import pytest

from wirekey.credentials.pool import Key, KeyPool, retry_after_seconds
from wirekey.secret import Secret


def pool(*labels):
    return KeyPool([Key(label, Secret(f"key-{label}")) for label in labels])


def labels(keys, now, count):
    return [keys.choose(now).label for _ in range(count)]


def test_keys_serve_round_robin():
    assert labels(pool("a", "b", "c"), 0, 7) == ["a", "b", "c", "a", "b", "c", "a"]


def test_an_empty_pool_gives_no_key():
    assert pool().choose(0) is None


@pytest.mark.parametrize("status", [401, 403, 429])
def test_a_refused_key_rests_while_others_serve(status):
    keys = pool("a", "b")
    keys.settle(keys.choose(0), status, None, 0)
    assert labels(keys, 0.5, 3) == ["b", "b", "b"]


def test_the_provider_says_how_long_by_retry_after():
    keys = pool("a", "b")
    keys.settle(keys.choose(0), 429, 20, 0)
    assert "a" not in labels(keys, 19.9, 4)
    assert "a" in labels(keys, 20, 2)


def test_the_rest_grows_with_each_refusal_in_a_row_and_ends_with_a_success():
    keys = pool("a", "b")
    key = keys.keys[0]
    rests = []
    for _ in range(5):
        keys.settle(key, 429, None, 0)
        rests.append(key.resting_until)
    assert rests == [1, 2, 4, 8, 16]
    keys.settle(key, 200, None, 0)
    assert key.resting_until == 0
    keys.settle(key, 429, None, 0)
    assert key.resting_until == 1


def test_a_rest_is_at_most_an_hour():
    keys = pool("a")
    keys.settle(keys.keys[0], 429, 10**9, 0)
    assert keys.keys[0].resting_until == 3600


def test_where_all_rest_the_one_that_rests_least_serves():
    keys = pool("a", "b")
    keys.settle(keys.keys[0], 429, 50, 0)
    keys.settle(keys.keys[1], 429, 5, 0)
    assert labels(keys, 1, 3) == ["b", "b", "b"]


@pytest.mark.parametrize("status", [400, 404, 500, 529])
def test_other_errors_say_nothing_of_the_key(status):
    keys = pool("a", "b")
    keys.settle(keys.keys[0], status, None, 0)
    assert keys.keys[0].resting_until == 0


def test_a_new_configuration_keeps_the_rest_of_keys_that_stay():
    old, new = pool("a", "b"), pool("b", "c")
    old.settle(old.keys[1], 429, 60, 0)
    new.carry_over(old)
    assert labels(new, 1, 2) == ["c", "c"]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        ("0.5", 0.5),
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


def test_a_key_that_was_refused_in_words_rests_too():
    keys = pool("a", "b")
    keys.settle_refused(keys.choose(0), 0)
    assert labels(keys, 0.5, 3) == ["b", "b", "b"]
