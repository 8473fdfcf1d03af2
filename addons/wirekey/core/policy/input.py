"""The input of a policy. Pure.

Its fields are in `audit/fields.py`. Unknown values are left out rather than null, so Rego's `not input.model` works as
expected, and a comparison with one is undefined instead of true.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from wirekey.core.audit.event import rfc3339
from wirekey.core.audit.fields import CALL_FIELDS
from wirekey.core.call import legacy_values
from wirekey.core.metering.modifiers import named_modifiers, tier_of
from wirekey.core.policy.decision import UndecidedError
from wirekey.core.policy.permissions import permissions_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.core.call import Call

type Input = dict[str, Any]

LARGEST_INPUT = 64 * 1024
MOST_TOOLS = 1024
"""More tools than any provider accepts. A policy's time may be quadratic in their number."""


FIELDS = tuple(field for field in CALL_FIELDS if field.input)
"""The fields of the input. A name with a dot is a member of an object."""
HEADERS = dict.fromkeys(
    (
        *("accept", "content-type", "user-agent"),
        *("anthropic-beta", "anthropic-version", "openai-beta"),
        *("x-amzn-bedrock-guardrailidentifier", "x-amzn-bedrock-guardrailversion"),
        *("x-amzn-bedrock-performanceconfig-latency", "x-amzn-bedrock-service-tier", "x-amzn-bedrock-trace"),
        *("x-goog-api-client", "x-stainless-lang", "x-stainless-package-version", "x-stainless-retry-count"),
    )
)
"""The headers that a policy sees. None can hold a credential."""
HEADER_FIELDS = frozenset(name.encode() for name in HEADERS)
"""Their names in header fields."""

QUOTA_FIELDS = ("spend", "remaining")
"""The fields that the quotas add to the input."""
NOT_RECORDED = (
    *("backend", "tools", "other_models", "service_tier", "price_modifiers", "headers", "agent.permissions"),
    *QUOTA_FIELDS,
)
"""Fields that the audit event lacks, or has of the response. A replay goes without them or takes them elsewhere."""

_encode = msgspec.json.Encoder().encode


def build_input(call: Call, headers: Mapping[str, str]) -> Input:
    """Return the policy's input for a recognised call. `headers`: the request's, by lower-case name."""
    agent, facts, operation, provider = call.agent, call.facts, call.operation, call.provider
    model = (facts.model if facts else None) or (operation.model if operation else None)
    path = call.path.partition("?")[0]
    mcp_server, tool_name, target = legacy_values(provider, path)
    given: Input = {
        "id": call.id,
        "time": rfc3339(call.started_at),
        "client": call.client,
        "provider": provider,
        "operation": call.purpose or (operation.name if operation else None),
        "kind": operation.kind.value if operation and call.method != "CONNECT" else None,
        "method": call.method,
        "path": path,
        "mcp_server": mcp_server,
        "tool_name": tool_name,
        "action": call.method,
        "target": target,
        "requested_model": model,
        "model": model,
        "stream": bool((facts and facts.stream) or (operation and operation.stream)),
    }
    if call.upstream is not None:
        given["upstream"] = call.upstream
    if call.backend is not None:
        given["backend"] = call.backend
    if agent:
        given |= {"agent_id": agent.id, "agent_role": agent.role, "agent_type": agent.type}
    if labels := call.labels:
        given |= {
            "labels": labels.verified or None,
            "labels_unverified": labels.unverified or None,
            "labels_invalid": list(labels.invalid) or None,
        }
    if facts:
        given["message_count"] = facts.message_count
        given["has_system"] = facts.has_system
        given["has_tools"] = facts.has_tools
        given["tool_count"] = facts.tool_count
        given["max_tokens"] = facts.max_tokens
        given["service_tier"] = tier_of(facts.modifiers) if facts.modifiers else None
    if None in given.values():
        given = {name: value for name, value in given.items() if value is not None}
    given["tools"] = list(facts.tools) if facts else []
    given["other_models"] = list(facts.other_models) if facts else []
    given["price_modifiers"] = named_modifiers(facts.modifiers) if facts else []
    given["agent"] = agent_group(given, permissions_of(agent))
    given["headers"] = seen_headers(headers)
    return given


AGENT_PARTS = (("id", "agent_id"), ("role", "agent_role"), ("type", "agent_type"))
"""The parts of `agent`, and the fields that they repeat."""


def agent_group(given: Input, permissions: list[str]) -> dict[str, Any]:
    """Return `agent`, made of the fields `agent_…` and the permissions."""
    agent = {part: given[name] for part, name in AGENT_PARTS if name in given}
    return agent | {"permissions": permissions}


def seen_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that policies see, in ASCII. Other characters are escaped as in Python."""
    return {
        name: value if value.isascii() else value.encode("ascii", "backslashreplace").decode()
        for name, value in headers.items()
        if name in HEADERS
    }


def encode_input(given: Input) -> bytes:
    """Return the input as JSON. Raises UndecidedError if it is larger than that of any legitimate call."""
    if len(given.get("tools", ())) > MOST_TOOLS:
        raise UndecidedError(f"The call offers more than {MOST_TOOLS} tools, so no policy is evaluated.")
    try:
        data = _encode(given)
    except (UnicodeEncodeError, ValueError, TypeError) as error:
        raise UndecidedError(f"The policy's input cannot be encoded: {error}.") from error
    if len(data) > LARGEST_INPUT:
        raise UndecidedError(f"The policy's input would be larger than {LARGEST_INPUT} bytes.")
    return data
