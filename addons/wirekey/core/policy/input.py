"""The input of a policy. Pure.

The table `FIELDS` is the contract: the input is built from it, `wirekey policy check` compares policies with it, and
the reference page is generated from it. Unknown values are left out rather than null, so Rego's `not input.model` works
as expected, and a comparison with one is undefined instead of true.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from wirekey.core.audit.event import rfc3339
from wirekey.core.call import legacy_values
from wirekey.core.metering.modifiers import named_modifiers, tier_of
from wirekey.core.policy.decision import UndecidedError
from wirekey.core.policy.permissions import permissions_of
from wirekey.providers.other_models import MOST_OTHER_MODELS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.core.call import Call

type Input = dict[str, Any]

LARGEST_INPUT = 64 * 1024
MOST_TOOLS = 1024
"""More tools than any provider accepts. A policy's time may be quadratic in their number."""


@dataclass(frozen=True, slots=True)
class InputField:
    """One row of the table of input fields."""

    name: str
    """The name after `input.`."""
    type: str
    description: str


FIELDS = (
    InputField("id", "string", "the call's id, a UUIDv7"),
    InputField("time", "string", "start of the call: RFC 3339, UTC; parse it with `time.parse_rfc3339_ns(input.time)`"),
    InputField("agent.id", "string", "id of the calling agent"),
    InputField("agent.role", "string", "its role"),
    InputField("agent.type", "string", "its type, such as `autonomous`"),
    InputField(
        "agent.permissions",
        "array of strings",
        "`web:read`, `web:write`, words of your own; without an agent, these two",
    ),
    InputField("agent_id", "string", "the same as `agent.id`"),
    InputField("agent_role", "string", "the same as `agent.role`"),
    InputField("agent_type", "string", "the same as `agent.type`"),
    InputField("client", "string", "address of the client, without port"),
    InputField(
        "provider",
        "string",
        "the name of the provider in the setting `providers`, such as `openai`, or that of a custom provider",
    ),
    InputField(
        "operation",
        "string",
        "`chat.completions`, `generateContent`, `converse`, …; `tunnel` if the client opens a tunnel to a host that is "
        "not a provider's; `rollup.summary` if Wirekey summarises a conversation of the agent; `companion.settings`, "
        "`companion.telemetry`, … for requests of coding agents that are no model calls; `other` for a path that the "
        "provider does not document",
    ),
    InputField(
        "kind",
        "string",
        "what the operation does: `inference`, `listing` (of models), `login` (of a program "
        "with its own account), `storage` (what the account stores), "
        "`administration`, `companion` or `other`; absent for a tunnel",
    ),
    InputField("method", "string", "HTTP method; `CONNECT` for a tunnel"),
    InputField("path", "string", "path without the query; `HOST:PORT` for a tunnel"),
    InputField("mcp_server", "string", "the name of the provider and `-proxy`: `openai-proxy`, `gemini-proxy`, …"),
    InputField("tool_name", "string", "the name of the provider and `-api`: `openai-api`, `gemini-api`, …"),
    InputField("action", "string", "the same as `method`"),
    InputField(
        "target",
        "string",
        "where the gateway has the path, below `/api/v1`, whichever way the program calls: "
        "`/openai/v1/chat/completions`; `HOST:PORT` for a tunnel",
    ),
    InputField("upstream", "string", "host of a tunnel; absent for other calls, whose upstream is not decided yet"),
    InputField(
        "backend",
        "string",
        "the provider or backend in front of the model's name, such as `gemini-cli-acp`, if it is not `provider`: the "
        "call is translated or sent to a backend",
    ),
    InputField("requested_model", "string", "the requested model, without a backend and parameters"),
    InputField("model", "string", "the same as `requested_model`: routing comes after the policy"),
    InputField(
        "other_models",
        "array of strings",
        "other models in the request: fallbacks, for tools, moderation or ranking; `default` if the provider chooses "
        f"the fallbacks. At most {MOST_OTHER_MODELS}. Always present, possibly empty",
    ),
    InputField("stream", "boolean", "whether a streamed response is requested"),
    InputField("message_count", "number", "messages in the request"),
    InputField("has_system", "boolean", "whether there is a system prompt"),
    InputField("has_tools", "boolean", "whether the request has tools"),
    InputField("tool_count", "number", "number of tools, including those inside namespaces and toolsets"),
    InputField(
        "tools",
        "array of strings",
        "names of the tools, and of namespaces and MCP servers; no other text of them. Always present, possibly empty",
    ),
    InputField("max_tokens", "number", "the requested limit of output tokens"),
    InputField(
        "service_tier",
        "string",
        "the requested tier of service and other modifiers of the price, joined by `+`: `priority`, `flex`, `fast`, "
        "`fast+us`. OpenAI's `fast` is `priority`. Absent if the request names none",
    ),
    InputField(
        "price_modifiers",
        "array of strings",
        "the same one by one, for decisions that another one cannot hide: `service_tier=priority`, `speed=fast`, "
        "`inference_geo=us`, `latency=optimized`, `cache_ttl=1h`. Always present, possibly empty",
    ),
    InputField(
        "spend",
        "object",
        "what is spent of each quota that applies to the call, in US dollars: "
        '`input.spend.company.usd_per_month`; write `input.spend["per-agent"]` for a name with a hyphen. Absent if '
        "no quota applies",
    ),
    InputField(
        "remaining",
        "object",
        "what is left of each quota that applies, by the name of the limit: `input.remaining.company.usd_per_month`, "
        "and `usd_per_day`, `requests_per_minute`, `tokens_per_minute`, `concurrent`. Absent if no quota applies",
    ),
    InputField("headers", "object of strings", "the request headers below, by lower-case names. Always present"),
)

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
