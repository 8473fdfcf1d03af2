"""What an agent must be permitted to do at all, before any policy is asked: `web:read` or `web:write`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.identity.permissions import READ, WRITE
from wirekey.providers.protocol import Kind
from wirekey.refusal import Refusal

if TYPE_CHECKING:
    from wirekey.call import Call


def needed(call: Call) -> str:
    """Name the permission that a recognised call needs: a GET or a listing reads, all else generates or changes."""
    assert call.operation
    return READ if call.action == "GET" or call.operation.kind is Kind.LISTING else WRITE


def check_permission(call: Call) -> None:
    """Raise Refusal(403) where the agent lacks the permission."""
    permission = needed(call)
    if call.agent is None or permission not in call.agent.permissions:
        raise Refusal(
            403,
            "missing_permission",
            f"This agent lacks the permission {permission}, which the call needs. Ask the operator for it.",
        )
