"""Calls as the addons leave them, for the tests of the audit record."""

from wirekey.core.body import Body
from wirekey.core.call import Agent, Call, Outcome
from wirekey.core.operation import Facts, Kind, Operation, Usage

CHAT = Operation("chat.completions", Body.JSON, Kind.INFERENCE)


def call_of(agent="alice", provider="openai", model="gpt-4o-mini", labels=(), **more):
    """Return a call as it is when its intent is recorded."""
    return Call(
        **{
            "client": "127.0.0.1",
            "agent": Agent(agent, "developer", "cli", labels=labels),
            "provider": provider,
            "method": "POST",
            "path": "/v1/chat/completions",
            "operation": CHAT,
            "facts": Facts("gpt-4o", True, 3, True, False, 0, 100),
            "model": model,
            "policy_result": "allow",
            "credential": f"{provider}/1",
            "upstream": "api.openai.com",
            **more,
        }
    )


def finish(call, **more):
    """Return the same call as it is at its end."""
    call.usage = Usage(10, 20, 5, 0, "stop", "gpt-4o-mini-2024-07-18")
    call.outcome = Outcome.COMPLETED
    call.status, call.attempts, call.cost_usd = 200, 1, 0.25
    call.request_bytes, call.response_bytes, call.ttfb_ms, call.duration_ms = 100, 200, 12.5, 50.0
    for name, value in more.items():
        setattr(call, name, value)
    return call
