"""The region of AWS, or the location of Google Cloud, of a host: prices may depend on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.egress.hosts import region_of

if TYPE_CHECKING:
    from wirekey.providers.protocol import Provider


def place_of(provider: Provider, host: str | None) -> str:
    """Return the region or location that a provider's host serves, or "" if it names none."""
    if not host:
        return ""
    found = region_of(host)
    return found.region if found else provider.location_of(host) or ""
