"""The permission that an agent needs for a call, checked before any policy: `web:read` or `web:write`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.body import WEBSOCKETS
from wirekey.core.errors import Refusal
from wirekey.core.operation import Kind
from wirekey.core.permissions import DEFAULT, READ, WRITE

if TYPE_CHECKING:
    from wirekey.core.call import Agent, Call


READING = frozenset({Kind.LISTING, Kind.LOGIN, Kind.COMPANION})
"""Kinds of operations that read, whatever their method."""


def permissions_of(agent: Agent | None) -> list[str]:
    """Return the permissions that a policy sees for an agent.

    Without an agent, which is possible only if `identity.required` is false, the default permissions apply. So the same
    policies work with agents and without.
    """
    return list(DEFAULT if agent is None else agent.permissions)


def needed(call: Call) -> str:
    """Return the permission that a recognised call needs.

    It is reading for a GET, a listing, a login and a companion operation, and writing for all else. A WebSocket is
    opened by a GET, but its messages call models.
    """
    assert call.operation
    if call.operation.body in WEBSOCKETS:
        return WRITE
    return READ if call.method == "GET" or call.operation.kind in READING else WRITE


def check_permission(call: Call) -> None:
    """Raise Refusal(403) if the agent lacks the permission."""
    permission = needed(call)
    if call.agent is None or permission not in call.agent.permissions:
        raise Refusal(
            403,
            "missing_permission",
            f"This agent lacks the permission {permission}, which the call needs. Ask the operator for it.",
        )
