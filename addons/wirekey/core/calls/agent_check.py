"""Whether the agent of a call is still the one that was decided on: checked before the call is recorded and sent."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from wirekey.core.body import WEBSOCKETS, Body
from wirekey.core.errors import Fault, Refusal
from wirekey.core.identity.proof import proven_agent

if TYPE_CHECKING:
    from wirekey.core.calls.state import CallState
    from wirekey.core.identity.agents import AgentStore

OPEN_FOR_LONG = (Body.EVENTS, *WEBSOCKETS)
"""Bodies of operations that keep a connection open for many calls."""
IDENTITY_ENDED = Refusal(
    401,
    "identity_ended",
    "The agent was revoked or suspended, or its token expired or was replaced, before the request was complete. The "
    "request was not sent. Ask for a new token: wirekey agents add NAME.",
)
AGENT_CHANGED = Refusal(
    503,
    "agent_changed",
    "The agent was changed while this request was decided, so it was not sent. Send it again.",
    Fault.OPERATOR,
)
AGENT_REVOKED = Refusal(
    401,
    "agent_revoked",
    "The agent was revoked or suspended, or its token was replaced or has expired, while this request was in progress. "
    "Wirekey ended it. Ask for a new token: wirekey agents add NAME.",
)
STOPPING = Refusal(
    503,
    "stopping",
    "Wirekey stopped before this call had ended. Send it again.",
    Fault.OPERATOR,
)


def check_agent(agents: AgentStore, state: CallState) -> None:
    """Raise Refusal unless the request's credentials still identify the agent that was decided on."""
    if not state.proof:
        return
    agent = proven_agent(state.proof, agents, time.time())
    if agent is None:
        raise IDENTITY_ENDED
    if agent != state.call.agent:
        raise AGENT_CHANGED


def refusal_if_revoked(agents: AgentStore, state: CallState) -> Refusal | None:
    """Return the refusal that ends a running call if its agent was revoked; None if the call continues.

    A token that merely expires does not end what it began, except a connection that may stay open for long: a WebSocket
    or a stream in two directions.
    """
    if not state.proof:
        return None
    operation = state.call.operation
    now = time.time() if operation and operation.body in OPEN_FOR_LONG else state.proof.accepted_at
    if proven_agent(state.proof, agents, now) is not None:
        return None
    return AGENT_REVOKED
