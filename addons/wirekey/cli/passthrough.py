"""Programs that have a provider's key, or a login of their own at it: `key_source: passthrough`.

`exec` and `env` pass on that provider's key variables and set none of them. They set no base URL either, because the
gateway would find a key of the provider, and no agent token, in the place of the key. Through the proxy, the program
has its token in the proxy's address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.cli.credential_variables import is_ours
from wirekey.cli.environment import BASE_URLS, OPENCODE_CONFIG, PROVIDER_KEYS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wirekey.config import Config

OWN_KEYS = {
    "openai": [
        "OPENAI_API_KEY",
        "OPENAI_KEY",
        "OPENAI_ADMIN_KEY",
        "OPENAI_ACCESS_TOKEN",
        "OPENAI_WEBHOOK_SECRET",
        "CODEX_API_KEY",
    ],
    "anthropic": [
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "ANTHROPIC_ADMIN_KEY",
        "ANTHROPIC_FOUNDRY_API_KEY",
        "CLAUDE_API_KEY",
        "CLAUDE_CODE_OAUTH_TOKEN",
    ],
    "gemini": [
        "GEMINI_API_KEY",
        "GOOGLE_API_KEY",
        "GOOGLE_GENAI_API_KEY",
        "GOOGLE_GENERATIVE_AI_API_KEY",
        "GOOGLE_AI_API_KEY",
        "PALM_API_KEY",
        "GOOGLE_VERTEX_API_KEY",
        "VERTEX_API_KEY",
        "GOOGLE_APPLICATION_CREDENTIALS_JSON",
        "CLOUDSDK_AUTH_ACCESS_TOKEN",
    ],
    "bedrock": ["AWS_BEARER_TOKEN_BEDROCK"],
}
"""The variables from which programs read their own key of a provider. An AWS signature cannot be passed through."""

PROGRAM_SETTINGS = {"gemini": [OPENCODE_CONFIG]}
"""Variables that set the base URL of a provider for one program."""


def passed_through(config: Config) -> Iterator[str]:
    """Yield the providers whose key the programs have themselves."""
    return (name for name in OWN_KEYS if config.providers.of(name).key_source == "passthrough")


def own_keys(config: Config, environ: Mapping[str, str]) -> list[str]:
    """Return the variables of `environ` that contain a program's own key of such a provider."""
    names = (name for provider in passed_through(config) for name in OWN_KEYS[provider])
    return [name for name in names if environ.get(name) and not is_ours(environ[name])]


def without_passed_through(config: Config, variables: Mapping[str, str]) -> dict[str, str]:
    """Return variables without the keys and base URLs of such providers."""
    left_out: set[str] = set()
    for provider in passed_through(config):
        left_out |= {*PROVIDER_KEYS.get(provider, ()), *BASE_URLS[provider], *PROGRAM_SETTINGS.get(provider, ())}
    return {name: value for name, value in variables.items() if name not in left_out}
