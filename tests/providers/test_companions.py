"""Companion operations of coding agents, by provider, method and path."""

import pytest

from wirekey.core.body import Body
from wirekey.core.operation import Kind
from wirekey.providers.registry import PROVIDERS

KNOWN = [
    ("anthropic", "GET", "/api/claude_code/settings", "settings"),
    ("anthropic", "GET", "/api/claude_code/policy_limits", "settings"),
    ("anthropic", "GET", "/api/claude_code/organizations/metrics_enabled", "settings"),
    ("anthropic", "GET", "/api/claude_cli/bootstrap", "settings"),
    ("anthropic", "GET", "/api/claude_code_penguin_mode", "settings"),
    ("anthropic", "POST", "/api/eval/sdk-zAZezfDKGoZuXXKe", "settings"),
    ("anthropic", "POST", "/api/claude_code/metrics", "telemetry"),
    ("anthropic", "POST", "/api/event_logging/v2/batch", "telemetry"),
    ("anthropic", "GET", "/api/directory/server-urls", "registry"),
    ("anthropic", "GET", "/mcp-registry/v0/servers", "registry"),
    ("anthropic", "GET", "/api/oauth/profile", "account"),
    ("anthropic", "HEAD", "/", "check"),
    ("openai", "HEAD", "/", "check"),
    ("gemini", "GET", "/", "check"),
    ("bedrock", "HEAD", "/", "check"),
]
UNKNOWN = [
    ("openai", "GET", "/api/claude_code/settings"),
    ("anthropic", "DELETE", "/api/claude_code/settings"),
    ("anthropic", "POST", "/"),
    ("anthropic", "GET", "/api"),
    ("anthropic", "GET", "/api/claude_code/../../v1/organizations"),
    ("anthropic", "GET", "/v1/organizations/users"),
    ("anthropic", "POST", "/api/event_logging/%2e%2e/batch"),
]


@pytest.fixture(params=KNOWN)
def known(request):
    """The provider, method, path and name of a companion operation. Features add rows of their own."""
    return request.param


def test_a_known_request_is_a_companion_operation(known):
    provider, method, path, what = known
    operation = PROVIDERS[provider].companions.find(method, path)
    assert (operation.name, operation.kind) == (f"companion.{what}", Kind.COMPANION)
    assert operation.body is (Body.OPAQUE if method == "POST" else Body.NONE)


@pytest.mark.parametrize(("provider", "method", "path"), UNKNOWN)
def test_anything_else_is_not(provider, method, path):
    assert PROVIDERS[provider].companions.find(method, path) is None


def test_no_companion_operation_is_an_operation_of_the_api(known):
    provider, method, path, _ = known
    documented = PROVIDERS[provider].operations.match_operation(method, path, {})
    assert documented is None or documented.kind is Kind.OTHER
