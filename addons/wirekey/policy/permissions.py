"""What an agent must be permitted to do at all, before any policy is asked: `web:read` or `web:write`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.errors import Refusal
from wirekey.permissions import DEFAULT, READ, WRITE
from wirekey.providers.protocol import Kind

if TYPE_CHECKING:
    from wirekey.call import Agent, Call


def permissions_of(agent: Agent | None) -> list[str]:
    """Return what a policy is told that an agent is permitted.

    Nobody gets as far as a policy only where `identity.required` is false, and counts there as an agent of whom
    nothing was said: so the same policies serve with agents and without.
    """
    return list(DEFAULT if agent is None else agent.permissions)


def needed(call: Call) -> str:
    """Name the permission that a recognised call needs: a GET or a listing reads, all else generates or changes."""
    assert call.operation
    return READ if call.method == "GET" or call.operation.kind is Kind.LISTING else WRITE


def check_permission(call: Call) -> None:
    """Raise Refusal(403) where the agent lacks the permission."""
    permission = needed(call)
    if call.agent is None or permission not in call.agent.permissions:
        raise Refusal(
            403,
            "missing_permission",
            f"This agent lacks the permission {permission}, which the call needs. Ask the operator for it.",
        )
