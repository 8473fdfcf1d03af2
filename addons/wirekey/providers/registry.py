"""The providers, by name: those of the core, and those that features add."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.metering.price import price_lists_in_use
from wirekey.core.model_name import register_prefixes
from wirekey.feature_registry import features, installed_settings
from wirekey.providers.anthropic import ANTHROPIC
from wirekey.providers.bedrock import BEDROCK
from wirekey.providers.bedrock.services import find_short
from wirekey.providers.gemini import GEMINI
from wirekey.providers.mistral import MISTRAL
from wirekey.providers.openai import OPENAI

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wirekey.providers.protocol import Provider

PROVIDERS: dict[str, Provider] = {each.name: each for each in (OPENAI, GEMINI, ANTHROPIC, BEDROCK, MISTRAL)}
CORE_PROVIDERS = tuple(PROVIDERS)
for feature in features():
    PROVIDERS.update(feature.providers())
OWN_PROVIDERS = tuple(PROVIDERS)
"""The providers that Wirekey knows without configuration."""
BACKENDS = installed_settings("backends")
"""Further ways to reach Gemini's models, without an API key. Each is off until its setting enables it."""

price_lists_in_use.update(provider.prices.price_list for provider in PROVIDERS.values())
register_prefixes(
    (name for name, provider in PROVIDERS.items() if provider.formats.speaks),
    vendor_after=(name for name, provider in PROVIDERS.items() if provider.formats.models_have_vendor),
)


def register(providers: Iterable[Provider]) -> None:
    """Add the providers that a configuration makes.

    A provider that the configuration no longer has stays, for open calls: what may be called is
    decided by the settings, which have its hosts and keys.
    """
    added = {provider.name: provider for provider in providers}
    PROVIDERS.update(added)
    register_prefixes(added)
    find_short.cache_clear()  # a path may have one of the names in front of its model


def family_of(provider: str) -> str:
    """Return the name of the provider whose format and paths a provider has: its own, or that of its family."""
    return PROVIDERS[provider].family or provider


def provider_of_backend(name: str) -> str:
    """Return the provider whose format a backend has; a provider's own name stays."""
    return "gemini" if name in BACKENDS else name


def answered_as(called: str, provider: str) -> str:
    """Return the name by which the provider `called` knows where its requests go, for its edits and targets."""
    return called if provider == called else family_of(provider)


DEFAULT_PROVIDER = PROVIDERS["openai"]
"""The provider whose error format is used when a request does not show which provider it is for."""


def owner_of_model(model: str, default: str | None = None) -> str:
    """Return the name of the provider that a model name belongs to, or `default`, or else the default provider."""
    owner = next((name for name, provider in PROVIDERS.items() if provider.formats.owns_model(model)), default)
    return owner or DEFAULT_PROVIDER.name


def _compatible(called: str) -> tuple[str, ...]:
    return PROVIDERS[family_of(called)].formats.compatible


def accepts_format(provider: str, called: str) -> bool:
    """Return whether a provider accepts requests in the format of the provider `called`."""
    return family_of(provider) == family_of(called) or family_of(provider) in _compatible(called)
