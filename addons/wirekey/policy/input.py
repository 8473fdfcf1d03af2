"""What a policy sees. Pure.

The table `FIELDS` is the contract: the input is made by it, `wirekey policy check` compares policies to it, and the
reference page is printed from it. What is unknown is left out rather than null: so Rego's `not input.model` means
what it says, and a comparison with it is undefined instead of true.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from wirekey.audit.event import rfc3339
from wirekey.policy.decision import UndecidedError
from wirekey.policy.permissions import permissions_of
from wirekey.providers import mcp_server, tool_name
from wirekey.providers.other_models import MOST_OTHER_MODELS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.call import Call

type Input = dict[str, Any]

LARGEST_INPUT = 64 * 1024
MOST_TOOLS = 1024
"""More tools than any provider takes; what policies do with them may be quadratic."""


@dataclass(frozen=True, slots=True)
class InputField:
    name: str
    """As written behind `input.`."""
    type: str
    description: str


FIELDS = (
    InputField("id", "string", "the call's id, a UUIDv7"),
    InputField("time", "string", "when the call began: RFC 3339, UTC; `time.parse_rfc3339_ns(input.time)` reads it"),
    InputField("agent.id", "string", "the agent that calls"),
    InputField("agent.role", "string", "its role"),
    InputField("agent.type", "string", "its type, such as `autonomous`"),
    InputField(
        "agent.permissions", "array of strings", "`web:read`, `web:write`, words of your own; of nobody, the former two"
    ),
    InputField("agent_id", "string", "the same as `agent.id`"),
    InputField("agent_role", "string", "the same as `agent.role`"),
    InputField("agent_type", "string", "the same as `agent.type`"),
    InputField("client", "string", "address of the client, without port"),
    InputField("provider", "string", "`openai`, `gemini`, `anthropic` or `bedrock`"),
    InputField(
        "operation",
        "string",
        "what is called: `chat.completions`, `generateContent`, `converse`, …; `tunnel`: a tunnel to a host that is no "
        "provider's is to be opened",
    ),
    InputField("method", "string", "HTTP method; `CONNECT` for a tunnel"),
    InputField("path", "string", "path, without the query; `HOST:PORT` for a tunnel"),
    InputField("mcp_server", "string", "`openai-proxy`, `gemini-proxy`, `anthropic-proxy` or `bedrock-proxy`"),
    InputField("tool_name", "string", "`openai-api`, `gemini-api`, `anthropic-api` or `bedrock-api`"),
    InputField("action", "string", "the same as `method`"),
    InputField("target", "string", "the same as `path`"),
    InputField("upstream", "string", "the host of a tunnel; of other calls it is not known yet"),
    InputField("requested_model", "string", "the model that is asked for"),
    InputField("model", "string", "the same: routes are followed after the policy was asked"),
    InputField(
        "other_models",
        "array of strings",
        "further models that the request names: fallbacks, of tools, for moderation or ranking; `default` where it "
        f"leaves fallbacks to the provider. At most {MOST_OTHER_MODELS}. Always there, if only empty",
    ),
    InputField("stream", "boolean", "whether a streamed answer is asked for"),
    InputField("message_count", "number", "messages in the request"),
    InputField("has_system", "boolean", "whether there is a system prompt"),
    InputField("has_tools", "boolean", "whether tools are offered to the model"),
    InputField("tool_count", "number", "how many, those inside namespaces and toolsets included"),
    InputField(
        "tools",
        "array of strings",
        "their names, and the names of namespaces and MCP servers; none of their text. Always there, if only empty",
    ),
    InputField("max_tokens", "number", "the limit of output tokens that is asked for"),
    InputField("headers", "object of strings", "the request headers below, by lower-case names. Always there"),
)

HEADERS = (
    *("accept", "content-type", "user-agent"),
    *("anthropic-beta", "anthropic-version", "openai-beta"),
    *("x-amzn-bedrock-guardrailidentifier", "x-amzn-bedrock-guardrailversion"),
    *("x-amzn-bedrock-performanceconfig-latency", "x-amzn-bedrock-service-tier", "x-amzn-bedrock-trace"),
    *("x-goog-api-client", "x-stainless-lang", "x-stainless-package-version", "x-stainless-retry-count"),
)
"""The headers that a policy sees. None can hold a credential."""

NOT_RECORDED = ("tools", "other_models", "headers", "agent.permissions")
"""What the audit event has not, so that a replay has to do without or takes it from elsewhere."""

_encode = msgspec.json.Encoder().encode


def build_input(call: Call, headers: Mapping[str, str]) -> Input:
    """Return what a policy sees of a recognised call; `headers` are the request's, found by lower-case names."""
    agent, facts, operation, provider = call.agent, call.facts, call.operation, call.provider
    model = (facts.model if facts else None) or (operation.model if operation else None)
    path = call.path.partition("?")[0]
    given: Input = {
        "id": call.id,
        "time": rfc3339(call.started_at),
        "client": call.client,
        "provider": provider,
        "operation": operation.name if operation else None,
        "method": call.method,
        "path": path,
        "mcp_server": mcp_server(provider) if provider else None,
        "tool_name": tool_name(provider) if provider else None,
        "action": call.method,
        "target": path,
        "upstream": call.upstream,
        "requested_model": model,
        "model": model,
        "stream": bool((facts and facts.stream) or (operation and operation.stream)),
    }
    if agent:
        given |= {"agent_id": agent.id, "agent_role": agent.role, "agent_type": agent.type}
    if facts:
        given["message_count"] = facts.message_count
        given["has_system"] = facts.has_system
        given["has_tools"] = facts.has_tools
        given["tool_count"] = facts.tool_count
        given["max_tokens"] = facts.max_tokens
    given = {name: value for name, value in given.items() if value is not None}
    given["tools"] = list(facts.tools) if facts else []
    given["other_models"] = list(facts.other_models) if facts else []
    return given | {"agent": agent_group(given, permissions_of(agent)), "headers": seen_headers(headers)}


def agent_group(given: Input, permissions: list[str]) -> dict[str, Any]:
    """Make `agent` of the fields `agent_…` and of what it is permitted."""
    agent = {part: given[f"agent_{part}"] for part in ("id", "role", "type") if f"agent_{part}" in given}
    return agent | {"permissions": permissions}


def seen_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Keep what policies may see, in ASCII: other characters are escaped as in Python."""
    found = {name: headers[name] for name in HEADERS if name in headers}
    return {
        name: value if value.isascii() else value.encode("ascii", "backslashreplace").decode()
        for name, value in found.items()
    }


def encode_input(given: Input) -> bytes:
    """Return the input as JSON. Raises UndecidedError if it is larger than any honest call's."""
    if len(given.get("tools", ())) > MOST_TOOLS:
        raise UndecidedError(f"The call offers more than {MOST_TOOLS} tools: no policy is asked about that.")
    try:
        data = _encode(given)
    except (UnicodeEncodeError, ValueError, TypeError) as error:
        raise UndecidedError(f"The call cannot be shown to the policy: {error}.") from error
    if len(data) > LARGEST_INPUT:
        raise UndecidedError(f"What the policy would see of the call is larger than {LARGEST_INPUT} bytes.")
    return data
