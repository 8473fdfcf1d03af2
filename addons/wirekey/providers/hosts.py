"""The hosts of the providers that need no configuration, except for the AWS regions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.egress.hosts import DEFAULT_REGION, bedrock_host, bedrock_hosts
from wirekey.providers.registry import OWN_PROVIDERS, PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Iterable

FIXED_HOSTS = {PROVIDERS[name].hosts.own: name for name in OWN_PROVIDERS if PROVIDERS[name].hosts.own}
SHARED_HOSTS = frozenset(host for name in OWN_PROVIDERS for host in PROVIDERS[name].hosts.shared)
AT_AWS = next(name for name, provider in PROVIDERS.items() if provider.credentials.uses_aws)


def provider_hosts(regions: Iterable[str] = (DEFAULT_REGION,)) -> dict[str, str]:
    """Return host → provider, with all Bedrock hosts in each of `regions`."""
    return FIXED_HOSTS | {host: AT_AWS for region in regions for host in bedrock_hosts(region)}


def usual_hosts(regions: Iterable[str] = (DEFAULT_REGION,)) -> dict[str, str]:
    """Return the subset of `provider_hosts` that nearly all calls go to, for display and for `doctor`."""
    return FIXED_HOSTS | {bedrock_host(region): AT_AWS for region in regions}
