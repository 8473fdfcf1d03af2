"""What of a provider's response is refused at its head: a redirect elsewhere, and what cannot be looked through."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.credentials.uploads import UPLOAD_URL_HEADERS
from wirekey.egress.redirects import Ways, location_for
from wirekey.metering.decoding import can_undo, is_plain
from wirekey.refusal import Fault, Refusal

if TYPE_CHECKING:
    from mitmproxy import http

    from wirekey.stations.house import House
    from wirekey.stations.passage import Passage

REDIRECTED = Refusal(
    502,
    "redirect_refused",
    "The provider redirects this call to a host that is not its own. It was not followed, as the agent's token would "
    "have gone there. If the provider is dialled at a place of your own, check providers.NAME.upstream.",
    Fault.PROVIDER,
)
UNREADABLE = Refusal(
    502,
    "upstream_unreadable",
    "The response is in a Content-Encoding that Wirekey cannot undo, so it could not be searched for the provider's "
    "key. Ask for gzip, deflate, br or zstd in Accept-Encoding.",
    Fault.PROVIDER,
)


def refusal_of_response(house: House, passage: Passage, response: http.Response) -> Refusal | None:
    """Return why a response must not reach the client, before anything of it did."""
    status, headers = response.status_code, response.headers
    if 300 <= status < 400 and "location" in headers and location_for_client(house, passage, response) is None:
        return REDIRECTED
    for name in UPLOAD_URL_HEADERS:
        if (url := headers.get(name)) and location_for(url, ways_of(house, passage)) is None:
            return REDIRECTED
    encoding = headers.get("content-encoding", "")
    if 200 <= status < 300 and passage.secrets and not is_plain(encoding) and not can_undo(encoding):
        return UNREADABLE
    return None


def location_for_client(house: House, passage: Passage, response: http.Response) -> str | None:
    """Return the Location of a redirect as the client gets it; None where there is none, or it leads elsewhere."""
    if not 300 <= response.status_code < 400:
        return None
    found = response.headers.get_all("location")
    return location_for(found[0], ways_of(house, passage)) if len(found) == 1 else None


def ways_of(house: House, passage: Passage) -> Ways:
    upstream, choice = passage.upstream, passage.choice
    assert upstream
    provider = choice.candidate.provider if choice else passage.call.provider
    if passage.base:
        own = {passage.host} if provider == passage.call.provider else set()
        return Ways(own, upstream.authority, passage.base, f"/api/v1/{provider}")
    hosts = house.settings.hosts
    return Ways(
        frozenset(host for host, name in hosts.items() if name == provider),
        upstream.authority,
        f"https://{passage.host}",
    )
