"""A redirect is passed on only if it leads to the provider itself, through Wirekey."""

from __future__ import annotations

import pytest

from wirekey.core.egress.redirects import RedirectTargets, location_for

FORWARD = RedirectTargets({"api.openai.com"}, "localhost:8443", "https://api.openai.com")
GATEWAY = RedirectTargets({"api.openai.com"}, "localhost:8443", "http://127.0.0.1:8000", "/api/v1/openai")


@pytest.mark.parametrize(
    ("location", "forward", "gateway"),
    [
        ("/v1/models", "/v1/models", "/api/v1/openai/v1/models"),
        ("models?a=1#b", "models?a=1#b", "models?a=1#b"),
        ("?page=2", "?page=2", "?page=2"),
        ("", "", ""),
        ("https://api.openai.com/v1", "https://api.openai.com/v1", "http://127.0.0.1:8000/api/v1/openai/v1"),
        ("https://API.openai.com:443/v1", "https://API.openai.com:443/v1", "http://127.0.0.1:8000/api/v1/openai/v1"),
        ("https://localhost:8443/v1", "https://api.openai.com/v1", "http://127.0.0.1:8000/api/v1/openai/v1"),
        ("https://localhost:8443?a=1", "https://api.openai.com/?a=1", "http://127.0.0.1:8000/api/v1/openai/?a=1"),
        ("https://api.openai.com:444/v1", None, None),
        ("https://localhost/v1", None, None),
        ("https://example.com/v1", None, None),
        ("http://api.openai.com/v1", None, None),
        ("//example.com/v1", None, None),
        ("/\\example.com", None, None),
        ("https://api.openai.com\\@example.com", None, None),
        ("https://user@api.openai.com/", None, None),
        ("https://[::1]:8443/", None, None),
        ("javascript:alert(1)", None, None),
        ("/v1 /models", None, None),
    ],
)
def test_a_location_leads_to_the_provider_or_nowhere(location, forward, gateway):
    assert location_for(location, FORWARD) == forward
    assert location_for(location, GATEWAY) == gateway
