"""The hosts of the providers, by the settings of a configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.egress.hosts import CODE_ASSIST_HOSTS, vertex_host
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
    """Return host → name of Vertex AI and Code Assist, if they are configured, and of the custom providers."""
    vertex = config.providers.vertex
    locations = vertex.locations if vertex else ()
    found = {host: "vertex" for location in locations if (host := vertex_host(location))}
    if config.providers.code_assist:
        found |= dict.fromkeys(CODE_ASSIST_HOSTS, "code_assist")
    return found | {host: provider.name for provider in config.providers.custom for host in provider.hosts}
