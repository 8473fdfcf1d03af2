"""The techniques that need no other user, against one Wirekey, and how a broken rule is found."""

from __future__ import annotations

import pytest

from tests.redteam.__main__ import page, row
from tests.redteam.ground import ground, models_of
from tests.redteam.library import ALL
from tests.redteam.technique import Result, Technique
from tests.support.raw_client import post
from tests.support.running import PROVIDER_KEYS


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with ground(tmp_path_factory.mktemp("redteam")) as running:
        yield running


def test_there_are_300_different_techniques():
    assert len({(technique.family, technique.tried) for technique in ALL}) == len(ALL) >= 300


def test_every_tenth_technique_is_held(place):
    chosen = [(number, technique) for number, technique in list(enumerate(ALL, 1))[::10]]
    results = [place.try_(*each) for each in chosen if each[1].family not in ("process", "files")]
    assert [row(result) for result in results if not result.held] == []
    assert place.leaks() == []


def test_a_key_that_is_shown_is_found(place):
    shown = place.try_(1, Technique("x", "y", lambda _: f"200 {PROVIDER_KEYS['openai']}"))
    assert shown.broken == ("shows the key of openai",)


def test_a_request_that_must_not_arrive_is_found(place):
    arrived = place.try_(1, Technique("x", "y", lambda ground: ground.in_tunnel(post())))
    assert arrived.broken == ("1 requests arrived",)


def test_a_recorded_call_breaks_no_rule(place):
    assert place.try_(1, Technique("x", "y", lambda ground: ground.in_tunnel(post()), True)).held


def test_each_model_of_a_body_counts():
    assert models_of(b'{"model":"a","x":{"model":"c"},"mod\\u0065l":"b"}') == {"a", "b"}


def test_a_row_has_no_character_that_ends_a_cell():
    result = Result(7, Technique("path", "a|`\r\n", lambda _: ""), "HTTP/1.1 400", ("x",))
    assert row(result) == r"| 7 | path | `a/'\r\n` | `HTTP/1.1 400` | **not held**: x |"
    assert row(result) in page([result], [])
