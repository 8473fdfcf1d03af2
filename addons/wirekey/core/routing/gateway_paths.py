"""Finds the provider that a path of the gateway belongs to, and the path that the provider knows. Pure.

A provider's host is never made of what the client wrote. It comes from the provider that the path's prefix names and,
for AWS, from a region that the configuration allows. `match_operation` checks the rest of the path, as of every call.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from wirekey.core.egress.hosts import RUNTIME, bedrock_hosts
from wirekey.providers.bedrock import BEDROCK
from wirekey.providers.bedrock.services import service_of
from wirekey.providers.registry import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from wirekey.providers.protocol import Provider

PREFIXES = {f"/api/v1/{name}": name for name in PROVIDERS}

_PREFIXED = re.compile(r"/api/v1/([a-z0-9_-]+)(/.*)", re.DOTALL)
# A provider's paths are looked at before those of the providers above it in the registry; the first match wins.
_AT_THE_ROOT = [
    (re.compile(pattern), provider)
    for provider in reversed(PROVIDERS.values())
    for pattern in (*provider.gateway.paths, *provider.companions.at_the_gateway)
]
LONGEST_PATH = 256
"""Characters of a path that is remembered. Clients choose the paths, and could fill the memory with long ones."""
MODELS = re.compile(r"/(?:v1|v1beta|v1alpha)/models(?:/[^/]+)?")
"""Paths of the list of models of all providers, at the root of the gateway."""


@dataclass(frozen=True, slots=True)
class Direction:
    """The provider and path that a path of the gateway stands for.

    `path`: raw, as the provider knows it, without the query. `by_model`: the model may lead to another provider.
    `own_models`: a request for a list of models gets Wirekey's own list, in the format of `provider`.
    """

    provider: str
    path: str
    by_model: bool = False
    own_models: bool = False


def direction_of(path: str, headers: Mapping[str, str]) -> Direction | None:
    """Return where a raw path without its query leads, or None. `headers`: by lower-case name."""
    if prefixed := _PREFIXED.fullmatch(path):
        name, rest = prefixed.groups()
        if name in PROVIDERS:
            return Direction(name, rest)
    found = direction_at_the_root(path) if len(path) <= LONGEST_PATH else direction_at_the_root.__wrapped__(path)
    if found is None:
        return direction_without_version(path, headers)
    if found.by_model:
        for provider in reversed(PROVIDERS.values()):
            if is_of_sdk(provider, path, headers):
                return Direction(
                    provider.name, path, by_model=provider.gateway.leads_by_model, own_models=found.own_models
                )
    return found


@lru_cache(maxsize=256)
def direction_at_the_root(path: str) -> Direction | None:
    """Return where a raw path without a prefix leads if no header of an SDK says otherwise, or None. Cached."""
    provider = next((provider for pattern, provider in _AT_THE_ROOT if pattern.fullmatch(path)), None)
    if provider is None:
        return None
    models = MODELS.fullmatch(path) is not None
    return Direction(provider.name, path, by_model=provider.gateway.leads_by_model, own_models=models)


def direction_without_version(path: str, headers: Mapping[str, str]) -> Direction | None:
    """Return where a path leads whose SDK expects the version in the base URL, as the AI SDK for Anthropic does."""
    for provider in PROVIDERS.values():
        if provider.gateway.sdk_header in headers and re.fullmatch(provider.gateway.unversioned_paths, path):
            return Direction(provider.name, f"/v1{path}")
    return None


def is_of_sdk(provider: Provider, path: str, headers: Mapping[str, str]) -> bool:
    """Return whether a header says that a path which several formats have is called by this provider's SDK."""
    return provider.gateway.sdk_header in headers and re.fullmatch(provider.gateway.sdk_paths, path) is not None


def bedrock_host_of(method: str, path: str, region: str, allowed: Collection[str]) -> str | None:
    """Return the host of Bedrock that has this operation in `region`, or None if it is not among the `allowed` ones."""
    operation = BEDROCK.operations.match_operation(method, path, {})
    service = service_of(operation.name) if operation else RUNTIME
    hosts = bedrock_hosts(region)
    return next((host for host, stands_for in hosts.items() if stands_for.service == service and host in allowed), None)
