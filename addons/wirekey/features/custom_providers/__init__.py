"""Custom providers: other hosts that speak the format of a known provider, such as Azure OpenAI and OpenRouter."""

from __future__ import annotations

from wirekey.feature import Feature


def parts() -> tuple[object, ...]:
    """Return what this feature adds to the core."""
    from wirekey.config.feature_settings import AddedSettings
    from wirekey.features.custom_providers.config import CustomProvidersSetting, custom_names

    return (AddedSettings({"providers": CustomProvidersSetting}, provider_names=custom_names),)


FEATURE = Feature("custom_providers", parts)
