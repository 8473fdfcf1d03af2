"""Refuses responses by their head: odd heads, foreign redirects, and bodies that cannot be searched for the key."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from wirekey.core.body import WEBSOCKETS
from wirekey.core.credentials.uploads import UPLOAD_URL_HEADERS
from wirekey.core.egress.redirects import RedirectTargets, location_for
from wirekey.core.errors import Fault, Refusal
from wirekey.core.metering.decoding import can_undo, is_plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mitmproxy import http

    from wirekey.core.calls.state import CallState

REDIRECTED = Refusal(
    502,
    "redirect_refused",
    "The provider redirects this call to another host. The redirect was not passed on, because the agent's token "
    "would be sent there. If you have configured where the provider is dialled, check providers.NAME.upstream_url.",
    Fault.PROVIDER,
)
UNREADABLE = Refusal(
    502,
    "upstream_unreadable",
    "Wirekey cannot decode the Content-Encoding of the response, so it could not be searched for the provider's "
    "key. Request gzip, deflate, br or zstd in Accept-Encoding.",
    Fault.PROVIDER,
)
ODD_STATUS = Refusal(
    502,
    "upstream_unreadable",
    "The status of the provider's response is not one of HTTP, so clients could read the response in several ways.",
    Fault.PROVIDER,
)
CONTROL_CHARACTERS = Refusal(
    502,
    "upstream_unreadable",
    "A header of the provider's response has control characters, so clients could read the response in several ways.",
    Fault.PROVIDER,
)
CONTROLS = bytes({*range(32), 127} - {9})
"""All but the tab, which a value may contain."""
FINAL_STATUSES = range(200, 600)
SWITCHING_PROTOCOLS = 101


def refusal_of_response(hosts: Mapping[str, str], state: CallState, response: http.Response) -> Refusal | None:
    """Return why a response must not reach the client, before anything of it did.

    `hosts` is provider host → provider name.
    """
    status, headers = response.status_code, response.headers
    if status not in FINAL_STATUSES and not (status == SWITCHING_PROTOCOLS and opens_websocket(state)):
        return ODD_STATUS
    head = b"".join(chain.from_iterable(headers.fields))
    if len(head.translate(None, CONTROLS)) != len(head):  # a search by a regular expression takes longer
        return CONTROL_CHARACTERS
    if 300 <= status < 400 and "location" in headers and location_for_client(hosts, state, response) is None:
        return REDIRECTED
    for name in UPLOAD_URL_HEADERS:
        if (url := headers.get(name)) and location_for(url, redirect_targets(hosts, state)) is None:
            return REDIRECTED
    encoding = headers.get("content-encoding", "")
    if 200 <= status < 300 and not is_plain(encoding) and not can_undo(encoding) and state.secrets:
        return UNREADABLE
    return None


def opens_websocket(state: CallState) -> bool:
    """Return whether a call asks for a WebSocket."""
    return state.call.operation is not None and state.call.operation.body in WEBSOCKETS


def location_for_client(hosts: Mapping[str, str], state: CallState, response: http.Response) -> str | None:
    """Return the Location of a redirect as the client gets it, or None if it is missing or leads to another host."""
    if not 300 <= response.status_code < 400:
        return None
    found = response.headers.get_all("location")
    return location_for(found[0], redirect_targets(hosts, state)) if len(found) == 1 else None


def redirect_targets(hosts: Mapping[str, str], state: CallState) -> RedirectTargets:
    """Return the hosts to which a response of this attempt may redirect the client."""
    assert state.attempt
    upstream, provider = state.attempt.upstream, state.attempt.planned.candidate.provider
    if state.base:
        own = {state.host} if provider == state.call.provider else set()
        return RedirectTargets(own, upstream.authority, state.base, f"/api/v1/{provider}")
    return RedirectTargets(
        frozenset(host for host, name in hosts.items() if name == provider),
        upstream.authority,
        f"https://{state.host}",
    )
