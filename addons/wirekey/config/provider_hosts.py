"""The hosts of the providers, by the settings of a configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.providers import hosts

if TYPE_CHECKING:
    from wirekey.config.models import Config


def provider_hosts(config: Config) -> dict[str, str]:
    """Return provider host → provider name, for all hosts that are decrypted and that the CA may sign."""
    return hosts.provider_hosts(config.providers.bedrock.regions) | configured_hosts(config)


def usual_hosts(config: Config) -> dict[str, str]:
    """Return the part of `provider_hosts` that nearly all calls go to, for display and for `doctor`."""
    return hosts.usual_hosts(config.providers.bedrock.regions) | configured_hosts(config)


def configured_hosts(config: Config) -> dict[str, str]:
    """Return host → name of the providers that have hosts because of their settings."""
    return {host: name for name, _, settings in config.providers.entries() for host in settings.added_hosts}
