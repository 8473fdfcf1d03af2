"""The parts of features that become services of the process, and are made of its other services."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.feature_registry import parts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mitmproxy import http

    from wirekey.core.calls.agent_signatures import AgentSignatures
    from wirekey.core.calls.attempt_rewrite import FindStep
    from wirekey.core.calls.conversations import Conversations
    from wirekey.core.calls.services import Services
    from wirekey.core.calls.usage_limits import UsageLimits


@dataclass(frozen=True, slots=True)
class AttemptRewrite:
    """The part of a feature that changes the request of an attempt before its credential is chosen.

    `make` returns what finds the step for an attempt: a function, or None if the request stays as it is. The step needs
    nothing of the event loop, so a thread may run it. It raises Refusal if the request cannot be sent.
    """

    make: Callable[[Services], FindStep]


@dataclass(frozen=True, slots=True)
class AddedUsageLimits:
    """The part of a feature that limits what calls use. Only one feature has it."""

    make: Callable[[Services], UsageLimits]


@dataclass(frozen=True, slots=True)
class AddedConversations:
    """The part of a feature that carries conversations. `make` is called once for each process."""

    make: Callable[[Services], Conversations]


@dataclass(frozen=True, slots=True)
class AddedAgentSignatures:
    """The part of a feature that verifies the signatures of agents. `make` is called once for each process."""

    make: Callable[[Services], AgentSignatures]


@dataclass(frozen=True, slots=True)
class AddedPreflights:
    """The part of a feature that responds to preflights of pages that `gateway.cors` does not list.

    `respond` returns None if it is off. Its awaitable raises Refusal if there is no response.
    """

    respond: Callable[[Services, http.HTTPFlow], Awaitable[None] | None]


def add_services_of_features(services: Services) -> None:
    """Add what the installed features make of the services of a process."""
    services.rewrites = tuple(part.make(services) for part in parts(AttemptRewrite))
    for limits in parts(AddedUsageLimits):
        services.usage_limits = limits.make(services)
    for conversations in parts(AddedConversations):
        services.conversations = conversations.make(services)
    for signatures in parts(AddedAgentSignatures):
        services.agent_signatures = signatures.make(services)
