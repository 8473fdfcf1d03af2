"""Decides who may see the page at all, by host name, client address, and the site that makes the request. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.egress.addresses import is_address, is_loopback, is_own_name
from wirekey.core.local_response import local_error

if TYPE_CHECKING:
    from collections.abc import Collection

    from wirekey.core.endpoints.local_request import LocalRequest
    from wirekey.core.local_response import LocalResponse


def refusal(request: LocalRequest, names: Collection[str], *, remote: bool) -> LocalResponse | None:
    """Return the refusal of a request that may not see the page, or None.

    A page of another site whose own name points here (DNS rebinding) sends that name as its host. `remote`: other
    machines may see the page. Then any address is accepted as a host, because addresses cannot be rebound.
    """
    if not remote and not is_loopback(request.address):
        message = "The page is only for browsers on Wirekey's own machine. To allow others, set console.remote."
        return local_error(403, "not_from_here", message)
    name = request.host
    if not (is_own_name(name) or name in names or (remote and is_address(name))):
        message = (
            "The page is not available under this host name. Use an address, or add the name to console.names in "
            "wirekey.yaml."
        )
        return local_error(421, "misdirected", message)
    return None


def refuse_other_sites(request: LocalRequest) -> LocalResponse | None:
    """Return the refusal of a request that the browser marks as made by another site, or None."""
    sites = request.values("sec-fetch-site")
    origins = request.values("origin")
    own = {f"{scheme}://{value}" for value in request.values("host") for scheme in ("http", "https")}
    if any(site not in ("same-origin", "none") for site in sites) or any(origin not in own for origin in origins):
        return local_error(403, "another_site", "Only Wirekey's own page may use this.")
    return None


def cookie_of(request: LocalRequest, name: str) -> str | None:
    """Return the value of a cookie, or None."""
    for header in request.values("cookie"):
        for pair in header.split(";"):
            found, _, value = pair.strip().partition("=")
            if found == name:
                return value
    return None
