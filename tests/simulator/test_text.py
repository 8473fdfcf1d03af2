import itertools
import tracemalloc

import pytest

from wirekey_simulator.behaviour import parse_behaviour
from wirekey_simulator.text import TEXT, counts, last_text, limited, tool_arguments, whole, words


def test_the_default_text_comes_word_by_word():
    assert "".join(words(parse_behaviour(""))) == TEXT
    assert next(words(parse_behaviour(""))) == "Hello "


@pytest.mark.parametrize(
    ("behaviour", "pieces"),
    [("events=20", 20), ("events=0", 0), ("events=3, unicode", 3), ("size=100, events=7", 7), ("size=2, events=9", 2)],
)
def test_the_text_is_cut_into_as_many_pieces_as_asked_for(behaviour, pieces):
    assert len([piece for piece in words(parse_behaviour(behaviour)) if piece]) == pieces


@pytest.mark.parametrize("size", [0, 1, 5, 100, 1024, 1025, 100_000])
@pytest.mark.parametrize("more", ["", ", unicode", ", events=3", ", events=3, unicode"])
def test_the_text_has_exactly_the_bytes_asked_for(size, more):
    assert len(whole(parse_behaviour(f"size={size}{more}")).encode()) == size


def test_a_text_of_1_gib_is_never_held():
    tracemalloc.start()
    try:
        pieces = sum(1 for _ in itertools.islice(words(parse_behaviour("size=1GiB")), 5000))
        assert pieces == 5000
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("behaviour", "input_", "output", "cached", "reasoning"),
    [
        ("", 3, 9, 0, 0),
        ("events=20", 3, 20, 0, 0),
        ("tokens=7, input-tokens=11", 11, 7, 0, 0),
        ("tokens=7, reasoning-tokens=3, input-tokens=11, cached-tokens=5", 11, 7, 5, 3),
        ("cached-tokens=5, reasoning-tokens=3", 8, 12, 5, 3),
        ("input-tokens=1, cached-tokens=5, tokens=1, reasoning-tokens=3", 5, 3, 5, 3),
    ],
)
def test_counts_are_those_asked_for_else_estimated(behaviour, input_, output, cached, reasoning):
    found = counts(parse_behaviour(behaviour), {"messages": [{"content": "12345678"}]})
    assert (found.input, found.output, found.cached, found.reasoning) == (input_, output, cached, reasoning)


@pytest.mark.parametrize(
    "request_json",
    [
        {"messages": [{"role": "user", "content": "no"}, {"role": "user", "content": "last"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "last"}, {"type": "image"}]}]},
        {"contents": [{"parts": [{"text": "no"}, {"text": "last"}]}]},
        {"contents": "last"},
        {"input": "last"},
        {"prompt": "last"},
    ],
)
def test_the_last_text_is_what_the_user_said_last(request_json):
    assert last_text(request_json) == "last"


def test_the_arguments_of_a_tool_call_fit_its_schema():
    schema = {
        "type": "OBJECT",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "INTEGER"},
            "unit": {"type": "string", "enum": ["C", "F"]},
            "where": {"type": ["object", "null"], "properties": {"x": {"type": "number"}}},
        },
    }
    assert tool_arguments(schema) == {"city": "simulated", "days": 1, "unit": "C", "where": {"x": 1.5}}
    assert tool_arguments(None) == {}


@pytest.mark.parametrize(
    ("behaviour", "most", "text", "is_limited"),
    [
        ("", 2, "Hello from ", True),
        ("", 9, TEXT, False),
        ("", None, TEXT, False),
        ("", 0, TEXT, False),
        ("", "2", TEXT, False),
        ("events=3", 2, "Hello from the ", False),
    ],
)
def test_the_default_text_ends_at_the_token_limit_of_a_request(behaviour, most, text, is_limited):
    behaviour, found = limited(parse_behaviour(behaviour), most)
    assert (whole(behaviour), found) == (text, is_limited)
