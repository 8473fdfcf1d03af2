"""Requests that keep their format at a provider that wants them changed, with paths of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from wirekey.core.errors import Refusal
from wirekey.providers.registry import PROVIDERS

if TYPE_CHECKING:
    from wirekey.core.body import RequestBody
    from wirekey.core.calls.attempt_state import AttemptState
    from wirekey.core.calls.settings import Settings
    from wirekey.core.calls.state import CallState
    from wirekey.core.routing.candidate import Candidate
    from wirekey.providers.protocol import Provider

LOCATION_REFUSED = Refusal(
    403,
    "region_refused",
    "The location of the model in the setup is not one of those that the configuration of the provider allows.",
)


def provider_host(settings: Settings, state: CallState, candidate: Candidate) -> str:
    """Return the host of the provider of a candidate: the one that was called, or that of its usual place.

    Raises Refusal if the message that opens a connection names a place of another host.
    """
    provider = PROVIDERS[candidate.provider]
    if candidate.location and provider.locations:
        return provider.locations.host_in(candidate.location) or ""
    if candidate.provider == state.call.provider:
        return host_of_message(settings, state, provider) or state.host
    return provider.hosts.own or next((host for host, name in settings.hosts.items() if name == candidate.provider), "")


def host_of_message(settings: Settings, state: CallState, provider: Provider) -> str | None:
    """Return the host that the message which opens a connection names, or None. Raises Refusal if it is not allowed."""
    assert state.call.operation
    wanted = provider.locations.host_of_message(state.call.operation, state.body) if provider.locations else None
    if wanted is None or wanted == state.host:
        return wanted
    if not state.base:
        raise Refusal(
            421,
            "names_differ",
            f"The model of the setup is served at {wanted or 'no known host'}, and the connection was opened to "
            "another host.",
        )
    if wanted not in settings.hosts:
        raise LOCATION_REFUSED
    return wanted


def own_target(state: CallState, candidate: Candidate) -> bytes:
    """Return path and query as the client sent them, at the location of the route if it has one."""
    target, provider = state.original_target, PROVIDERS[candidate.provider]
    if candidate.location and provider.locations and candidate.provider == state.call.provider:
        return provider.locations.in_location(target, candidate.location)
    return target


def is_moved(state: CallState, candidate: Candidate) -> bool:
    """Return whether a request keeps its format, and goes to a provider that wants it changed."""
    elsewhere = candidate.provider != state.call.provider and candidate.speaks is None
    return elsewhere and PROVIDERS[candidate.provider].formats.rewriting is not None


def moved_attempt(state: CallState, attempt: AttemptState) -> AttemptState:
    """Return an attempt whose request is as its provider wants it. Raises Refusal if it cannot stand there."""
    call, location = state.call, attempt.location or ""
    assert call.operation
    assert call.facts
    rewriting = PROVIDERS[attempt.planned.candidate.provider].formats.rewriting
    assert rewriting
    target, body = rewriting.receive(
        call.operation, attempt.target, attempt.body, location, attempt.model or "", stream=call.facts.stream
    )
    return structs.replace(attempt, target=attempt.upstream.path.encode() + target, body=body)


def moved_request(  # noqa: PLR0917  # where it goes, and what it is
    provider: str, location: str, form: str, target: str, body: RequestBody, model: str, *, stream: bool
) -> tuple[str, bytes]:
    """Return target and body of a request in a format, as its provider wants them.

    Raises Refusal if it cannot stand there.
    """
    owner = next(each for each in PROVIDERS.values() if form in each.formats.speaks)
    operation = owner.operations.match_operation("POST", target.partition("?")[0], {})
    rewriting = PROVIDERS[provider].formats.rewriting
    assert operation
    assert rewriting
    moved, body = rewriting.receive(operation, target.encode(), body, location, model, stream=stream)
    return moved.decode(), bytes(body)
