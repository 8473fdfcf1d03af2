"""Which answer a request gets, from tables."""

from __future__ import annotations

import json

import pytest

from wirekey.console.local_request import parse_local_request


def asked(method, target, headers=()):
    return parse_local_request(method, target, tuple(dict(headers).items()), "127.0.0.1")


def test_a_path_that_only_resembles_ours_is_nobodys(office):
    for path in ("/health/", "//health", "/Health", "/health%20", "/api/v1/auth/token/", "/api/v1/auth/../health"):
        answer = office.router().respond(asked("GET", path))
        assert (answer.status, json.loads(answer.body)["error"]) == (404, "not_found")


def test_a_query_changes_nothing(office):
    assert office.router().respond(asked("GET", "/health?verbose=1")).status == 200


def test_health_needs_no_part_to_be_ready(office):
    office.parts = dict.fromkeys(office.parts, "broken")
    answer = office.router().respond(asked("GET", "/health"))
    assert (answer.status, json.loads(answer.body)) == (200, {"status": "ok"})


def test_ready_names_each_part(office):
    answer = office.router().respond(asked("GET", "/ready"))
    assert answer.status == 200
    assert json.loads(answer.body) == {
        "status": "ready",
        "parts": {name: {"ready": True} for name in ("listeners", "audit", "ca", "policy")},
    }


@pytest.mark.parametrize("part", ["listeners", "audit", "ca", "policy"])
def test_one_part_that_is_not_ready_is_enough_for_503_and_says_why(office, part):
    office.parts[part] = "is broken"
    answer = office.router().respond(asked("GET", "/ready"))
    content = json.loads(answer.body)
    assert (answer.status, content["status"]) == (503, "not ready")
    assert content["parts"].pop(part) == {"ready": False, "reason": "is broken"}
    assert all(other == {"ready": True} for other in content["parts"].values())


@pytest.mark.parametrize(("method", "path"), [("POST", "/api/v1/auth/token"), ("GET", "/.well-known/jwks.json")])
def test_where_another_issuer_gives_out_tokens_there_are_none_here(office, method, path):
    office.endpoint = None
    answer = office.router().respond(asked(method, path))
    assert answer.status == 404
    assert "identity.jwt.jwks_url" in json.loads(answer.body)["error_description"]


@pytest.mark.parametrize("body", [None, b"x" * 20_000, b"secret"])
def test_a_request_shows_nothing_of_its_headers_and_body(body):
    from dataclasses import replace

    request = replace(asked("POST", "/x?key=secret", {"authorization": "secret"}), body=body)
    assert "secret" not in repr(request)
