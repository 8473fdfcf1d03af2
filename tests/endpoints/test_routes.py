"""The response to each request, by path and state."""

from __future__ import annotations

import json

import pytest

from tests.support.local_endpoints import asked, reply


def test_a_similar_path_is_404(token_server):
    for path in ("/health/", "//health", "/Health", "/health%20", "/api/v1/auth/token/", "/api/v1/auth/../health"):
        response = reply(token_server.routes(), asked("GET", path))
        assert (response.status, json.loads(response.body)["error"]) == (404, "not_found")


def test_a_query_is_ignored(token_server):
    assert reply(token_server.routes(), asked("GET", "/health?verbose=1")).status == 200


def test_health_does_not_depend_on_any_part(token_server):
    token_server.parts = dict.fromkeys(token_server.parts, "broken")
    response = reply(token_server.routes(), asked("GET", "/health"))
    assert (response.status, json.loads(response.body)) == (200, {"status": "ok"})


def test_health_lists_the_servers_that_several_machines_share(token_server):
    token_server.dependencies = {"audit_database": "cannot be reached", "shared_state": None}
    response = reply(token_server.routes(), asked("GET", "/health"))
    assert response.status == 200
    assert json.loads(response.body) == {
        "status": "ok",
        "dependencies": {
            "audit_database": {"available": False, "reason": "cannot be reached"},
            "shared_state": {"available": True},
        },
    }


def test_ready_does_not_depend_on_a_server_that_several_machines_share(token_server):
    token_server.dependencies = {"audit_database": "cannot be reached"}
    response = reply(token_server.routes(), asked("GET", "/ready"))
    assert (response.status, json.loads(response.body)["status"]) == (200, "ready")


def test_ready_names_a_change_that_is_not_in_use(token_server):
    token_server.rejected_changes = {"policy": "has errors"}
    response = reply(token_server.routes(), asked("GET", "/ready"))
    assert (response.status, json.loads(response.body)["rejected_changes"]) == (200, {"policy": "has errors"})


def test_ready_lists_each_part(token_server):
    response = reply(token_server.routes(), asked("GET", "/ready"))
    assert response.status == 200
    assert json.loads(response.body) == {
        "status": "ready",
        "parts": {name: {"ready": True} for name in ("listeners", "audit", "ca", "policy")},
    }


@pytest.mark.parametrize("part", ["listeners", "audit", "ca", "policy"])
def test_one_part_that_is_not_ready_makes_a_503_with_the_reason(token_server, part):
    token_server.parts[part] = "is broken"
    response = reply(token_server.routes(), asked("GET", "/ready"))
    content = json.loads(response.body)
    assert (response.status, content["status"]) == (503, "not ready")
    assert content["parts"].pop(part) == {"ready": False, "reason": "is broken"}
    assert all(other == {"ready": True} for other in content["parts"].values())


@pytest.mark.parametrize(("method", "path"), [("POST", "/api/v1/auth/token"), ("GET", "/.well-known/jwks.json")])
def test_with_an_external_issuer_the_token_endpoints_are_404(token_server, method, path):
    token_server.endpoint = None
    response = reply(token_server.routes(), asked(method, path))
    assert response.status == 404
    assert "identity.jwt.jwks_url" in json.loads(response.body)["error_description"]


@pytest.mark.parametrize("body", [None, b"x" * 20_000, b"secret"])
def test_the_repr_of_a_request_has_no_headers_and_no_body(body):
    from dataclasses import replace

    request = replace(asked("POST", "/x?key=secret", {"authorization": "secret"}), body=body)
    assert "secret" not in repr(request)
