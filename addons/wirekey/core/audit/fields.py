"""The fields of a call, in one table: those that are recorded, and those that a policy sees.

The table is the contract. The columns of the audit log, the keys of an export, the check of policies and both reference
pages derive from it. `event.py` and `policy/input.py` have the values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from wirekey.providers.other_models import MOST_OTHER_MODELS

type FieldType = Literal["text", "integer", "number", "boolean", "list", "object", "texts"]
"""Type of a value. `list`: of texts. `texts`: an object of texts. Both are recorded as JSON in a text."""


@dataclass(frozen=True, slots=True)
class CallField:
    """One field of a call.

    `event`: its description on the reference page of the audit event; None if it is not recorded. `input`: that on the
    page of the policy's input; True: the same; None if policies do not see it. A name with a dot is a member of an
    object.
    """

    name: str
    type: FieldType
    event: str | None = None
    input: str | Literal[True] | None = None

    @property
    def column_type(self) -> FieldType:
        """The type of its column: that of its value, or of the JSON that is stored in its place."""
        return "text" if self.type in ("list", "texts") else self.type


# The order is that of the columns. A new field that is recorded becomes the last one.
CALL_FIELDS = (
    CallField("id", "text", "UUIDv7; ids sort by the start of their calls", True),
    CallField(
        "time",
        "text",
        "start of the call: RFC 3339, UTC, milliseconds",
        "start of the call: RFC 3339, UTC; parse it with `time.parse_rfc3339_ns(input.time)`",
    ),
    CallField("agent.id", "text", input="id of the agent"),
    CallField("agent.role", "text", input="role of the agent"),
    CallField("agent.type", "text", input="type of the agent, such as `autonomous`"),
    CallField(
        "agent.permissions",
        "list",
        input="`web:read`, `web:write`, words of your own; without an agent, these two",
    ),
    CallField("agent_id", "text", "id of the agent", "the same as `agent.id`"),
    CallField("agent_role", "text", "role of the agent", "the same as `agent.role`"),
    CallField("agent_type", "text", "type of the agent", "the same as `agent.type`"),
    CallField("client", "text", "address of the client, without port", True),
    CallField(
        "provider",
        "text",
        "name of the provider in the setting `providers`, such as `openai`, or that of a custom provider; null for a "
        "tunnel",
        "name of the provider in the setting `providers`, such as `openai`, or that of a custom provider",
    ),
    CallField(
        "operation",
        "text",
        "the API operation: `chat.completions`, `generateContent`, `converse`, …; `rollup.summary` for a call that "
        "Wirekey makes to summarise a conversation of the agent; `tunnel` for a tunnel to any other host, which is not "
        "decrypted; `configuration` for a reload that sends calls to another host than before, `quota.raise` and "
        "`quota.lower` for the commands that raise a quota and end that, which are no calls; `batch.settlement` for "
        "the cost of a batch, when its results are read",
        "`chat.completions`, `generateContent`, `converse`, …; `tunnel` if the client opens a tunnel to a host that is "
        "not a provider's; `rollup.summary` if Wirekey summarises a conversation of the agent; `companion.settings`, "
        "`companion.telemetry`, … for requests of coding agents that are no model calls; `other` for a path that the "
        "provider does not document",
    ),
    CallField(
        "kind",
        "text",
        input="what the operation does: `inference`, `listing` (of models), `login` (of a program "
        "with its own account), `storage` (what the account stores), "
        "`administration`, `companion` or `other`; absent for a tunnel",
    ),
    CallField(
        "method",
        "text",
        "HTTP method; `CONNECT` for a tunnel, `RELOAD` for `configuration`, `RAISE` and `LOWER` for quotas, "
        "`SETTLE` for batches, `ACCEPT` for a connection that was refused before its request was read",
        "HTTP method; `CONNECT` for a tunnel",
    ),
    CallField("path", "text", "path, without the query; `HOST:PORT` for a tunnel", True),
    CallField("mcp_server", "text", "the name of the provider and `-proxy`: `openai-proxy`, `gemini-proxy`, …", True),
    CallField("tool_name", "text", "the name of the provider and `-api`: `openai-api`, `gemini-api`, …", True),
    CallField("action", "text", "the same as `method`", True),
    CallField(
        "target",
        "text",
        "where the gateway has the path, below `/api/v1`, whichever way the program calls: "
        "`/openai/v1/chat/completions`; `HOST:PORT` for a tunnel",
        True,
    ),
    # Of a tunnel. `upstream` of the event is that of every call.
    CallField("upstream", "text", input="host of a tunnel; absent for other calls, whose upstream is not decided yet"),
    CallField(
        "backend",
        "text",
        input="the provider or backend in front of the model's name, such as `gemini-cli-acp`, if it is not "
        "`provider`: the call is translated or sent to a backend",
    ),
    CallField(
        "requested_model",
        "text",
        "model that the client requested",
        "the requested model, without a backend and parameters",
    ),
    CallField(
        "model",
        "text",
        "model that was sent to the provider",
        "the same as `requested_model`: routing comes after the policy",
    ),
    CallField(
        "other_models",
        "list",
        input="other models in the request: fallbacks, for tools, moderation or ranking; `default` if the provider "
        f"chooses the fallbacks. At most {MOST_OTHER_MODELS}. Always present, possibly empty",
    ),
    CallField("stream", "boolean", "whether a streamed response was requested", True),
    CallField("message_count", "integer", "messages in the request", True),
    CallField("has_system", "boolean", "whether the request has a system prompt", True),
    CallField("has_tools", "boolean", "whether the request offers tools to the model", True),
    CallField("tool_count", "integer", "number of tools, including those inside namespaces and toolsets", True),
    CallField(
        "tools",
        "list",
        input="names of the tools, and of namespaces and MCP servers; no other text of them. Always present, possibly "
        "empty",
    ),
    CallField("max_tokens", "integer", "requested limit of output tokens", True),
    # The requested one. `service_tier` of the event is that of the response.
    CallField(
        "service_tier",
        "text",
        input="the requested tier of service and other modifiers of the price, joined by `+`: `priority`, `flex`, "
        "`fast`, `fast+us`. OpenAI's `fast` is `priority`. Absent if the request names none",
    ),
    CallField(
        "price_modifiers",
        "list",
        input="each modifier of the price, so that none can hide another: `service_tier=priority`, `speed=fast`, "
        "`inference_geo=us`, `latency=optimized`, `cache_ttl=1h`. Always present, possibly empty",
    ),
    CallField(
        "spend",
        "object",
        input="what is spent of each quota that applies to the call, by the name of the limit of a total: "
        '`input.spend.company.usd_per_month` in US dollars; write `input.spend["per-agent"]` for a name with a hyphen. '
        "In a run, `input.spend.run` has `usd`, `calls` and `tokens`. Absent if no quota applies",
    ),
    CallField(
        "remaining",
        "object",
        input="what is left of each quota that applies, by the name of the limit: "
        "`input.remaining.company.usd_per_month`, and `usd_per_day`, `tokens_per_week`, `requests_lifetime`, "
        "`requests_per_minute`, `tokens_per_minute`, `concurrent`, …. In a run, `input.remaining.run` has its limits "
        "of `usd`, `calls`, `tokens`. Absent if no quota applies",
    ),
    CallField("headers", "texts", input="the request headers below, by lower-case names. Always present"),
    CallField("policy_result", "text", "`allow` or `deny`"),
    CallField(
        "policy_reason",
        "text",
        "why the call was denied, or why Wirekey itself responded; of `configuration`, what has moved",
    ),
    CallField("policy_revision", "text", "revision of the policy that decided"),
    CallField("route", "text", "route of the call"),
    CallField("credential", "text", "label of the key that was used, such as `openai/1`; never the key itself"),
    CallField("upstream", "text", "host that Wirekey connected to"),
    CallField("attempts", "integer", "number of times the call was sent upstream"),
    CallField("status", "integer", "HTTP status that the client received"),
    CallField(
        "outcome",
        "text",
        "`completed`, `denied`, `declined` (a companion request of a coding agent), "
        "`upstream_error`, `client_cancelled`, `upstream_reset`, `truncated`, `timeout` or `interrupted`; null while "
        "the call is in progress",
    ),
    CallField("finish_reason", "text", "why the model stopped, in the provider's term"),
    CallField(
        "input_tokens",
        "integer",
        "tokens of the input, for every provider including those read from its cache and written to it",
    ),
    CallField("output_tokens", "integer", "tokens generated"),
    CallField("cached_input_tokens", "integer", "those of `input_tokens` that came from the provider's cache"),
    CallField("cache_write_tokens", "integer", "those of `input_tokens` that were written to the provider's cache"),
    CallField("reasoning_tokens", "integer", "tokens spent on reasoning"),
    CallField("cost_usd", "number", "list price of the call in US dollars"),
    CallField("request_bytes", "integer", "bytes of the request body; for a tunnel, bytes sent by the client"),
    CallField("response_bytes", "integer", "bytes of the response body; for a tunnel, bytes sent by the host"),
    CallField("ttfb_ms", "number", "milliseconds until the first byte of the response body"),
    CallField("duration_ms", "number", "milliseconds from the head of the request to the end of the response"),
    CallField("translation", "text", "formats of the client and the upstream, if they differ: `openai.chat>anthropic`"),
    CallField("adjusted", "text", "members of the request that the translation changed, by name"),
    CallField("dropped", "text", "members of the request that the translation left out, by name"),
    CallField("simulated", "boolean", "whether the simulator answered instead of the provider"),
    CallField("audio_input_tokens", "integer", "those of `input_tokens` that were audio"),
    CallField("audio_output_tokens", "integer", "those of `output_tokens` that were audio"),
    CallField(
        "parent_id",
        "text",
        "of a response within a connection of several responses: `id` of the connection's event; of a "
        "`batch.settlement`, that of the call which made the batch",
    ),
    CallField(
        "rolled_up_messages",
        "integer",
        "messages of the request that a stored text has replaced (`rollup`); null if none was",
    ),
    CallField(
        "replica",
        "text",
        "process that handled the call: the setting `replica`, or `HOST:PID`, its machine's name and its process id",
    ),
    CallField(
        "service_tier",
        "text",
        "tier of service that the response reports, or else the requested one: `default`, `priority`, `flex`, …. Other "
        "modifiers of the price are joined to it by `+`: `fast` (speed), `optimized` (latency), `us` (place)",
    ),
    CallField(
        "labels",
        "texts",
        'verified labels, as JSON in a text: `{"team":"search"}`. Null without any',
        "verified labels by name, of the agent's entry or of claims of its JWT: `input.labels.team`. Absent without "
        "any",
    ),
    CallField(
        "labels_unverified",
        "texts",
        "labels that the client sent in headers, in the same form. None has the name of a verified one",
        "labels that the client sent in headers, by name. None has the name of a verified one. Absent without any",
    ),
    CallField(
        "labels_invalid",
        "list",
        "names of the labels whose value was not accepted, as a JSON list in a text. Null without any",
        "names of the labels whose value was not accepted. Such a label is in neither object. Absent without any: deny "
        "with `count(input.labels_invalid) > 0`",
    ),
)

ATTEMPT_FIELDS = (
    CallField("call_id", "text", "`id` of the call's event"),
    CallField("number", "integer", "1 for the first"),
    CallField("upstream", "text", "host that Wirekey connected to"),
    CallField("credential", "text", "label of the key that was used"),
    CallField("route", "text", "route of the call"),
    CallField("model", "text", "model that was sent to the provider"),
    CallField(
        "failure",
        "text",
        "`connect` (no verified connection in time), `first_byte` (no response in time), `reset` (the "
        "connection closed before a response), `status`, `stale` (the reused connection was already closed) or "
        "`unprocessed` (the provider reported that it did not process it). For the last attempt, the `outcome` "
        "of the call. Null if that is `completed`, and while the attempt is in progress",
    ),
    CallField("status", "integer", "HTTP status of the provider's response"),
    CallField(
        "duration_ms",
        "number",
        "milliseconds from the start of the attempt to its failure, or for the last one to the end of the call; null "
        "while it is in progress",
    ),
    CallField("translation", "text", "formats of the client and of this upstream, if they differ"),
    CallField("adjusted", "text", "members of the request that the translation for this upstream changed, by name"),
    CallField("dropped", "text", "members of the request that the translation for this upstream left out, by name"),
)
"""The fields of each attempt of a call that was sent more than once."""
