"""Summary of a call in a list of flows: a marker, and a comment of fields of its audit event. Pure.

Markers are names of mitmproxy's emoji, so that its filters find them: `~marker no_entry`, `~comment alice`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.call import Outcome
from wirekey.core.observing.call_lines import fields_of

if TYPE_CHECKING:
    from wirekey.core.call import Call

IN_PROGRESS = ":hourglass_flowing_sand:"
STREAMING = ":ocean:"
COMPLETED = ":white_check_mark:"
DENIED = ":no_entry:"
BROKEN_OFF = ":wave:"
FAILED = ":x:"
OURS = frozenset({IN_PROGRESS, STREAMING, COMPLETED, DENIED, BROKEN_OFF, FAILED})
ENDINGS = {
    Outcome.COMPLETED: COMPLETED,
    Outcome.DENIED: DENIED,
    Outcome.DECLINED: COMPLETED,
    Outcome.CLIENT_CANCELLED: BROKEN_OFF,
    Outcome.INTERRUPTED: BROKEN_OFF,
}

LONGEST_PART = 80
LONGEST = 400


def marker_of(call: Call) -> str:
    """Return the marker for how the call ended, or that it is in progress, with or without a stream."""
    if call.outcome is None:
        return STREAMING if streams(call) else IN_PROGRESS
    return ENDINGS.get(call.outcome, FAILED)


def comment_of(call: Call) -> str:
    """Return the known ones of decision, agent, operation, models, outcome, reason code, tokens and cost.

    Only the code of a reason is included, because its text may quote the request. ASCII, at most `LONGEST` characters.
    """
    fields = fields_of(call)
    known = {name: str(value)[:LONGEST_PART] for name, value in fields.items()}
    parts = [known.get("policy_result", ""), known.get("agent_id", "")]
    if call.operation:
        parts.append(f"{known.get('provider', '')} {known['operation']}".strip())
    parts.append(" -> ".join(known[name] for name in ("requested_model", "model") if name in known))
    parts.append("stream" if streams(call) else "")
    parts.append(" ".join(known[name] for name in ("outcome", "status") if name in known))
    parts += [known.get("policy_reason", "").partition(":")[0], known.get("finish_reason", "")]
    parts.append(
        ", ".join(f"{known[f'{name}_tokens']} {name}" for name in ("input", "output") if f"{name}_tokens" in known)
    )
    if call.cost_usd is not None:
        parts.append(f"${call.cost_usd:.6f}")
    parts.append("simulated" if call.simulated else "")
    return " | ".join(part for part in parts if part)[:LONGEST]


def streams(call: Call) -> bool:
    """Return whether the call asked for a stream."""
    return bool((call.facts and call.facts.stream) or (call.operation and call.operation.stream))
