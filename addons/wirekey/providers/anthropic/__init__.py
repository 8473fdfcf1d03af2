"""Anthropic: https://docs.anthropic.com/en/api."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from wirekey.providers.anthropic.batches import BATCHES
from wirekey.providers.anthropic.errors import AnthropicErrors
from wirekey.providers.anthropic.formats import LIMITS, MESSAGES
from wirekey.providers.anthropic.models import MODELS
from wirekey.providers.anthropic.requests import AnthropicRequests
from wirekey.providers.anthropic.responses import AnthropicResponses
from wirekey.providers.companions import CompanionPaths
from wirekey.providers.description import (
    NOTHING,
    ProviderGateway,
    ProviderHeaders,
    ProviderVariables,
    always,
    bearer_key,
    key_in,
    one_host,
    own_formats,
    plain_prices,
)
from wirekey.providers.protocol import Provider, ProviderOperations


class AnthropicOperations(AnthropicRequests, AnthropicResponses, AnthropicErrors, ProviderOperations):
    """The operations of Anthropic's API."""


ANTHROPIC = Provider(
    name="anthropic",
    family="",
    setting="providers.anthropic",
    otel_name="anthropic",
    otel_operations=NOTHING,
    hosts=one_host(
        "api.anthropic.com",
        MappingProxyType(
            {
                "claude.ai": "Claude, signed in with an Anthropic account",
                "*.claude.ai": "Claude, signed in with an Anthropic account",
            }
        ),
    ),
    gateway=ProviderGateway(
        paths=(r"/v1/messages(?:/.*)?",),
        leads_by_model=False,
        sdk_header="anthropic-version",
        sdk_paths=(
            r"/v1/(?:models|files|skills|agents|sessions|environments|deployments|deployment_runs|dreams|memory_stores"
            r"|organizations|tunnels|user_profiles|vaults)(?:/.*)?"
        ),
        unversioned_paths=r"/messages(?:/.*)?",
    ),
    headers=ProviderHeaders(
        account=("anthropic-workspace-id",),
        shown=("anthropic-version", "anthropic-beta"),
        shown_families=("anthropic-ratelimit-",),
        limits=LIMITS,
    ),
    companions=CompanionPaths(
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
    ),
    credentials=replace(
        bearer_key(
            "ANTHROPIC_API_KEY",
            "X-Anthropic-Key",
            ProviderVariables(
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
                settings=(),
            ),
        ),
        headers=("x-api-key", "authorization"),
        header=key_in("x-api-key"),
    ),
    operations=AnthropicOperations(),
    formats=own_formats((MESSAGES.name,), None),
    prices=replace(plain_prices("anthropic"), counts_cached_apart=always(True)),
    models=MODELS,
    locations=None,
    batches=BATCHES,
)
