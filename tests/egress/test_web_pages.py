"""Which requests come from a web page, and the CORS headers of those that are allowed."""

from __future__ import annotations

import pytest

from wirekey.core.egress.web_pages import (
    cors_fields,
    is_from_a_page,
    is_preflight,
    preflight_headers,
    without_cors,
)

OURS = "https://app.example.com"
REQUEST = "access-control-request-method"


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({}, False),
        ({"origin": OURS}, False),
        ({"origin": OURS, "sec-fetch-site": "cross-site"}, False),
        ({"origin": "https://evil.example"}, True),
        ({"origin": "null"}, True),
        ({"sec-fetch-site": "cross-site"}, True),
        ({"sec-fetch-site": "same-site"}, True),
        ({"sec-fetch-site": "same-origin"}, False),
        ({"sec-fetch-site": "none"}, False),
    ],
)
def test_pages_of_other_origins_are_known_by_their_headers(headers, refused):
    assert is_from_a_page(headers, {OURS}) is refused


@pytest.mark.parametrize(
    ("method", "headers", "expected"),
    [
        ("OPTIONS", {"origin": OURS, REQUEST: "POST"}, True),
        ("POST", {"origin": OURS, REQUEST: "POST"}, False),
        ("OPTIONS", {REQUEST: "POST"}, False),
        ("OPTIONS", {"origin": OURS}, False),
    ],
)
def test_a_preflight_has_an_origin_and_a_method(method, headers, expected):
    assert is_preflight(method, headers) is expected


@pytest.mark.parametrize(
    ("asked", "allowed"),
    [
        ("authorization, x-api-key", "authorization, x-api-key"),
        ("", None),
        ("x-a\r\nset-cookie: b", None),
        ("x" * 5000, None),
    ],
)
def test_a_preflight_is_allowed_the_headers_that_it_lists_if_they_are_names(asked, allowed):
    found = preflight_headers({"origin": OURS, "access-control-request-headers": asked})
    assert found["access-control-allow-origin"] == OURS
    assert found.get("access-control-allow-headers") == allowed


@pytest.mark.parametrize(("asked", "allowed"), [("true", "true"), ("false", None)])
def test_a_private_network_is_allowed_if_the_browser_asks(asked, allowed):
    found = preflight_headers({"origin": OURS, "access-control-request-private-network": asked})
    assert found.get("access-control-allow-private-network") == allowed


def test_the_cors_headers_of_a_provider_are_replaced_by_ours():
    fields = ((b"Content-Type", b"a"), (b"Access-Control-Allow-Origin", b"*"), (b"access-control-max-age", b"9"))
    assert without_cors(fields) == ((b"Content-Type", b"a"),)
    assert (b"access-control-allow-origin", OURS.encode()) in cors_fields(OURS)
