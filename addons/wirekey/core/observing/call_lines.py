"""One log line for each call that ended: names, counts and times of its audit event, never content."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from wirekey.core.audit.event import MAX_PATH, MAX_REASON, count, number, safe

if TYPE_CHECKING:
    from wirekey.core.call import Call

UNKNOWN = "-"
SHORT_ID = 12
"""Number of final digits of a call's id: enough for `wirekey audit show`."""
LONGEST_SHOWN_REASON = 160
RED, GREEN, YELLOW, DIM, PLAIN = "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[2m", "\x1b[0m"
COLOURS = {"completed": GREEN, "declined": PLAIN, "denied": YELLOW, "client_cancelled": YELLOW}


class CallLine:
    """The message of such a log record: text for ordinary handlers, fields for those that know them."""

    __slots__ = ("call", "created")

    def __init__(self, call: Call) -> None:
        self.call = call
        self.created = time.time()

    @property
    def fields(self) -> dict[str, str | int | float | bool]:
        """Return what is known of the call, by the names of the audit event."""
        return fields_of(self.call)

    def __str__(self) -> str:
        return pretty(self.fields)


def fields_of(call: Call) -> dict[str, str | int | float | bool]:
    """Return what is known of a call, by the names of the audit event. Its id is `call`, as in all other lines."""
    agent, facts, operation, usage = call.agent, call.facts, call.operation, call.usage
    requested = (facts.model if facts else None) or (operation.model if operation else None)
    model = call.model or requested
    known = {
        "call": call.id,
        "agent_id": safe(agent.id) if agent else None,
        "client": safe(call.client),
        "provider": call.provider,
        "operation": call.purpose or (operation.name if operation else None),
        "method": safe(call.method),
        "path": safe(call.path.partition("?")[0], MAX_PATH),
        "requested_model": safe(requested) if requested != model else None,
        "model": safe(model),
        "stream": (facts is not None and facts.stream) or (operation is not None and operation.stream) or None,
        "policy_result": call.policy_result,
        "policy_reason": safe(call.policy_reason, MAX_REASON),
        "route": safe(call.route),
        "credential": safe(call.credential),
        "upstream": safe(call.upstream),
        "attempts": call.attempts if call.attempts != 1 else None,
        "status": call.status,
        "outcome": call.outcome.value if call.outcome else None,
        "cost_usd": number(call.cost_usd),
        "ttfb_ms": number(call.ttfb_ms),
        "duration_ms": number(call.duration_ms),
        "simulated": call.simulated or None,
    }
    if usage:
        known["finish_reason"] = safe(usage.finish_reason)
        known["input_tokens"] = count(usage.input_tokens)
        known["output_tokens"] = count(usage.output_tokens)
    return {name: value for name, value in known.items() if value is not None}


def pretty(fields: dict[str, str | int | float | bool], *, colours: bool = False) -> str:
    """Return the line for people: how the call ended, who called what, and its cost."""

    def of(name: str) -> str:
        return str(fields.get(name, UNKNOWN))

    outcome, status = of("outcome"), of("status")
    called = f"{of('provider')} {of('operation')}" if "operation" in fields else f"{of('method')} {of('path')}"
    model = of("model")
    if "requested_model" in fields:
        model = f"{fields['requested_model']} -> {model}"
    line = f"{of('agent_id'):<10} {called:<27} {model:<22} {measured(fields)}"
    if colours:
        colour = COLOURS.get(outcome, RED)
        return f"{colour}{status:>3} {outcome:<9}{PLAIN} {line}{DIM}{of('call')[-SHORT_ID:]}{PLAIN}"
    return f"{status:>3} {outcome:<9} {line}{of('call')[-SHORT_ID:]}"


def measured(fields: dict[str, str | int | float | bool]) -> str:
    """Return what is known of tokens, cost and time, and why Wirekey itself responded."""
    parts = []
    if "input_tokens" in fields or "output_tokens" in fields:
        parts.append(f"{fields.get('input_tokens', UNKNOWN):>6} in {fields.get('output_tokens', UNKNOWN):>6} out")
    if "cost_usd" in fields:
        parts.append(f"${fields['cost_usd']:.8f}".rstrip("0").rstrip("."))
    if "ttfb_ms" in fields:
        parts.append(f"first byte {fields['ttfb_ms']:.0f} ms")
    if "duration_ms" in fields:
        parts.append(f"{fields['duration_ms']:.0f} ms")
    if reason := fields.get("policy_reason"):
        parts.append(str(reason)[:LONGEST_SHOWN_REASON])
    return "".join(f"{part}  " for part in parts)


def clock(seconds: float, *, dated: bool) -> str:
    """Return the local time of Unix seconds, with the date if `dated`."""
    return time.strftime("%Y-%m-%d %H:%M:%S" if dated else "%H:%M:%S", time.localtime(seconds))
