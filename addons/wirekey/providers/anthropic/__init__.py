"""Anthropic: https://docs.anthropic.com/en/api."""

from __future__ import annotations

from types import MappingProxyType

from wirekey.providers.anthropic.errors import AnthropicErrors
from wirekey.providers.anthropic.models import AnthropicModels
from wirekey.providers.anthropic.requests import AnthropicRequests
from wirekey.providers.anthropic.responses import AnthropicResponses
from wirekey.providers.companions import CompanionPaths
from wirekey.providers.description import ProviderHeaders, ProviderHosts, ProviderVariables
from wirekey.providers.protocol import Provider


class Anthropic(AnthropicRequests, AnthropicResponses, AnthropicErrors, AnthropicModels, Provider):
    """The protocol of Anthropic's API."""

    hosts = ProviderHosts(
        own="api.anthropic.com",
        elsewhere=MappingProxyType(
            {
                "claude.ai": "Claude, signed in with an Anthropic account",
                "*.claude.ai": "Claude, signed in with an Anthropic account",
            }
        ),
    )
    key_setting = "ANTHROPIC_API_KEY"
    headers = ProviderHeaders(
        account=("anthropic-workspace-id",),
        shown=("anthropic-version", "anthropic-beta"),
        shown_families=("anthropic-ratelimit-",),
        limits="anthropic-ratelimit-{counted}-{value}",
        resets_at=True,
    )
    companions = CompanionPaths(
        (
            ("GET|HEAD", r"/", "check"),
            ("GET|HEAD", r"/api/hello", "check"),
            ("GET", r"/api/claude_cli/[\w/-]+", "settings"),
            ("GET", r"/api/claude_code(?:/[\w/-]+|_\w+)", "settings"),
            ("POST", r"/api/claude_code/[\w/-]+", "telemetry"),
            ("POST", r"/api/claude_cli_feedback", "telemetry"),
            ("POST", r"/api/event_logging/[\w/-]+", "telemetry"),
            ("POST", r"/api/eval/[\w-]+", "settings"),
            ("GET", r"/api/directory/[\w/-]+", "registry"),
            ("GET", r"/mcp-registry/[\w./-]+", "registry"),
            ("GET", r"/v1/mcp_servers", "registry"),
            ("GET|POST", r"/api/oauth/[\w/-]+", "account"),
            ("GET", r"/api/organizations/[\w/-]+", "account"),
        ),
        at_the_gateway=(r"/api/(?:hello|claude_(?:cli|code)\w*|event_logging|eval|directory|oauth)(?:/.*)?",),
    )
    variables = ProviderVariables(
        usual=("ANTHROPIC_API_KEY",),
        keys=("ANTHROPIC_API_KEY",),
        own=(
            "ANTHROPIC_API_KEY",
            "ANTHROPIC_AUTH_TOKEN",
            "ANTHROPIC_ADMIN_KEY",
            "ANTHROPIC_FOUNDRY_API_KEY",
            "CLAUDE_API_KEY",
            "CLAUDE_CODE_OAUTH_TOKEN",
        ),
        pointers=(),
        base_urls=MappingProxyType({"ANTHROPIC_BASE_URL": ""}),
    )
    key_headers: tuple[str, ...] = ("x-api-key", "authorization")
    client_key_header = "X-Anthropic-Key"
    gateway_paths: tuple[str, ...] = (r"/v1/messages(?:/.*)?",)
    sdk_header = "anthropic-version"
    sdk_paths = (
        r"/v1/(?:models|files|skills|agents|sessions|environments|deployments|deployment_runs|dreams|memory_stores"
        r"|organizations|tunnels|user_profiles|vaults)(?:/.*)?"
    )
    unversioned_paths = r"/messages(?:/.*)?"
    model_list_headers = MappingProxyType({"anthropic-version": "2023-06-01"})
    counts_cached_apart = True
    speaks = ("anthropic",)
    otel_name = price_list = "anthropic"

    def credential(self, key: str, path: str) -> tuple[str, str]:
        """Return the header that carries an API key."""
        return "x-api-key", key
