"""The provider that a request is for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.egress.hosts import region_of
from wirekey_simulator.registry import ALIKE, APIS, HOSTS, VERTEX_HOST
from wirekey_simulator.strictness import credentials

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from wirekey_simulator.exchange import SimulatedRequest
    from wirekey_simulator.registry import SimulatedApi

REGIONS = (
    "us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "sa-east-1",
    "eu-central-1", "eu-west-1", "eu-west-2", "eu-west-3", "eu-north-1", "eu-south-1",
    "ap-northeast-1", "ap-northeast-2", "ap-south-1", "ap-southeast-1", "ap-southeast-2",
)  # fmt: skip
BEDROCK_HOSTS = tuple(f"bedrock-runtime.{region}.amazonaws.com" for region in REGIONS)
NO_KEYS: Mapping[str, Collection[str]] = {}


def provider_of_host(host: str | None) -> str | None:
    """Return the provider with this host name, which may have a port, or None."""
    name = (host or "").rsplit(":", 1)[0] if ":" in (host or "") else host or ""
    if VERTEX_HOST.fullmatch(name):
        return "vertex"
    return HOSTS.get(name) or ("bedrock" if region_of(name) else None)


def provider_of(request: SimulatedRequest, keys: Mapping[str, Collection[str]] = NO_KEYS) -> str | None:
    """Return the provider by host and SNI if they are a provider's, else by the path and the key, or None.

    `keys`: the good keys of each provider.
    """
    return provider_of_host(request.authority) or provider_of_host(request.sni) or _provider_of_request(request, keys)


def _provider_of_request(request: SimulatedRequest, keys: Mapping[str, Collection[str]]) -> str | None:
    line = f"{request.method} {request.path}"
    found = next((api for api in APIS if _is_for(api, request, line)), None)
    if found is None:
        return None
    if len(alike := ALIKE[found.name]) == 1:
        return found.name
    sent = {value.removeprefix("Bearer ") for _, value in credentials(request)}
    return next((name for name in alike if not sent.isdisjoint(keys.get(name, ()))), found.name)


def _is_for(api: SimulatedApi, request: SimulatedRequest, line: str) -> bool:
    by_header = (pattern for header, pattern in api.sdk_requests if header in request.fields)
    return any(pattern.match(line) for pattern in (*api.requests, *by_header))
