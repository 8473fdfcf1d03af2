"""The origin of a provider's credentials, as commands name it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wirekey.config import Config


def other_source(config: Config, provider: str) -> str:
    """Return where a provider's credentials come from if not from `keys`, otherwise an empty string."""
    from wirekey.config.custom_providers import CustomProviderConfig
    from wirekey.config.providers import BedrockConfig
    from wirekey.config.vertex import VertexConfig

    settings = config.providers.of(provider)
    if settings.key_source != "inject":
        return "clients use their own"
    if isinstance(settings, BedrockConfig):
        return "AWS credentials are configured" if settings.aws and not settings.keys else ""
    if isinstance(settings, VertexConfig):
        return f"the service account in {settings.credentials}" if settings.credentials else "Google's own search"
    if isinstance(settings, CustomProviderConfig) and not settings.takes_keys:
        return "it needs no key" if settings.auth == "none" else f"{settings.auth} makes its credentials"
    return ""
