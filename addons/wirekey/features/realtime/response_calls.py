"""A response of an open connection, as a call of its own: decided, reserved in quotas, recorded before it begins."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.core.audit.audit_log import AuditUnavailable
from wirekey.core.body import Body
from wirekey.core.calls.agent_check import refusal_if_revoked
from wirekey.core.errors import Fault, Refusal
from wirekey.core.identity.proof import proven_agent
from wirekey.core.operation import Kind, Operation
from wirekey.core.policy.input import build_input
from wirekey.core.policy.permissions import check_permission

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from wirekey.core.call import Call
    from wirekey.core.calls.services import Services
    from wirekey.core.calls.state import CallState
    from wirekey.core.policy.decision import Decision

RESPONSE = Operation("realtime.response", Body.WEBSOCKET, Kind.INFERENCE)
SETTINGS = Operation("realtime.session", Body.WEBSOCKET, Kind.INFERENCE)
TRANSCRIPTION = Operation("realtime.transcription", Body.WEBSOCKET, Kind.INFERENCE)
MOST_OPEN = 256
"""Responses of a connection that have not ended, or whose event is not written."""
TOO_MANY_OPEN = Refusal(
    429,
    "too_many_responses",
    f"This connection has {MOST_OPEN} responses that have not ended. It may ask again when one of them has ended.",
)
OTHER_MODEL = Refusal(
    403,
    "model_change_refused",
    "This connection was opened for another model, and the routes do not allow a change. Open a connection for the "
    "model that you want.",
)


@dataclass(eq=False, slots=True)
class RealtimeResponse:
    """One response of a connection. `event_id`: the client's name of the event that asked for it."""

    state: CallState
    event_id: str | None = None
    lane: str | None = None
    """The lane of the responses that come one after the other, in a protocol with several."""
    included: int | None = None
    """Of the client's tokens of its connection, those that it reads for sure; None if it has an input of its own."""
    admission: asyncio.Task[None] | None = None
    """The task that records a response which the client has not asked for."""


async def check_policy(services: Services, parent: CallState, headers: Mapping[str, str], state: CallState) -> Decision:
    """Return the policy's decision on a call within a connection, which allows it. Raises Refusal.

    `parent`: the call of the connection, whose request had `headers`.
    """
    call = state.call
    if revoked := refusal_if_revoked(services.agents, parent):
        raise revoked
    if state.proof:
        call.agent = proven_agent(state.proof, services.agents, state.proof.accepted_at) or call.agent
    if call.agent is not None or services.settings.identity_required:
        check_permission(call)
    given = build_input(call, headers)
    services.usage_limits.note_limits(state, given)
    decision = services.policy.decide_at_once(given) or await services.policy.decide(given)
    call.policy_revision = decision.revision
    if not decision.allow:
        raise decision.refusal()
    return decision


async def record_intent(services: Services, call: Call) -> None:
    """Record a response before it is asked for. Raises Refusal."""
    call.attempts, call.attempt_began = 1, time.perf_counter()
    try:
        await services.store.record_intent(call)
    except AuditUnavailable as error:
        text = f"The response could not be recorded, so it was not asked for: {error}."
        raise Refusal(503, "cannot_record", text, Fault.OPERATOR) from error
    call.intent_recorded = True
    services.events.began(call)
