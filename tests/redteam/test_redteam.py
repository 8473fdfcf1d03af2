"""The techniques that need no other user, against one Wirekey, and how a broken rule is found."""

from __future__ import annotations

import re
import socket
from collections import Counter

import pytest

from tests.docs.pages import text_of
from tests.redteam.families import http2, provider, tls, tokens, uploads, websocket
from tests.redteam.ground import ground, models_of
from tests.redteam.library import ALL
from tests.redteam.page import PAGE, code, page, row
from tests.redteam.technique import Result, Technique
from tests.support.raw_client import post
from tests.support.running import PROVIDER_KEYS, wait_for


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with ground(tmp_path_factory.mktemp("redteam")) as running:
        yield running


def test_there_are_1000_different_techniques():
    assert len({(technique.family, technique.tried) for technique in ALL}) == len(ALL) >= 1000


def test_every_tenth_technique_is_held(place):
    chosen = [(number, technique) for number, technique in list(enumerate(ALL, 1))[::10]]
    results = [place.try_(*each) for each in chosen if place.can_try(each[1])]
    assert [row(result) for result in results if not result.expected] == []
    assert place.leaks() == []


def test_the_page_has_a_row_for_each_technique():
    families = PAGE.read_text().split("\n## ")[2:]  # behind what is not held
    rows = re.findall(r"^\| \d+ \| (`[^`]*`) \| `[^`]*` \| ", "\n".join(families), re.MULTILINE)
    assert Counter(rows) == Counter(code(technique.tried) for technique in ALL)


def test_what_is_known_not_to_be_held_is_on_the_page_about_security():
    known = {technique.known for technique in ALL if technique.known}
    assert [each for each in known if f"- **{each}.**" not in text_of("docs/security.md")] == []


CHAT_OF_HTTP2 = Technique("x", "y", lambda ground: http2.in_http2(ground, http2.request(http2.CHAT_FIELDS)), True)
CONTROLS = (
    (CHAT_OF_HTTP2, "200"),
    (websocket.framed("a response", websocket.frame(websocket.CREATE)), "101"),
    (tls.secured("nothing odd"), "HTTP/1.1 200"),
    (uploads.upload("nothing odd", uploads.BATCH + uploads.file("a.jsonl") + uploads.END), "HTTP/1.1 200"),
    (provider.said("x", "nothing odd", provider.response(body=b'{"choices":[]}')), "HTTP/1.1 200"),
    (Technique("x", "a JWT", lambda ground: tokens.sent(ground, "Bearer at the proxy", tokens.good())), "HTTP/1.1 200"),
)


@pytest.mark.parametrize(("technique", "status"), CONTROLS, ids=[each.tried for each, _ in CONTROLS])
def test_what_the_techniques_change_works_as_it_is(place, technique, status):
    result = place.try_(1, technique)
    assert result.stopped_by.startswith(status)
    assert result.held


def test_a_connection_that_must_not_be_made_is_found(place):
    def dial(ground):
        socket.create_connection(("127.0.0.1", ground.trap.port)).close()
        wait_for(lambda: ground.trap.dials, "the trap")
        return "200"

    technique = Technique("x", "y", dial, refused=True)
    assert place.try_(1, technique).broken == ("127.0.0.1 was dialled", "it was not refused")


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
    assert row(result) == r"| 7 | `a/'\r\n` | `HTTP/1.1 400` | **not held**: x. |"
    assert page([result], [], "2026-01-01", "abc").count(row(result)) == 2
