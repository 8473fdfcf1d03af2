"""The audit event: flat, one per call, names and counts only. Pure.

The table `FIELDS` is the contract: the columns of the store, the keys of an export and the reference page derive from
it.
"""

from __future__ import annotations

import functools
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from wirekey.core.call import AttemptRecord, Outcome, legacy_values
from wirekey.core.credentials.agent_tokens import text_without_tokens

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wirekey.core.call import Call
    from wirekey.core.operation import Usage

type EventValue = str | int | float | bool | None
type AuditEvent = dict[str, EventValue]
type FieldType = Literal["text", "integer", "number", "boolean"]

MAX_TEXT = 256
MAX_PATH = 1024
MAX_REASON = 500
MAX_INTEGER = 2**63 - 1
COUNT_TYPES = frozenset({int, type(None)})
LONGEST_NAME = 40
MOST_NAMES = 1024
safe_names: set[str | None] = {None}
"""Short texts that need no escape and are too short to hold a token, such as the names of agents and models, and None.

Most values of most calls are among them, so they are checked once. Shorter than any limit that `safe` is called with.
"""


@dataclass(frozen=True, slots=True)
class EventField:
    """One field of the event, with its type and its description for the reference page."""

    name: str
    type: FieldType
    description: str


FIELDS = (
    EventField("id", "text", "UUIDv7; ids sort by the start of their calls"),
    EventField("time", "text", "start of the call: RFC 3339, UTC, milliseconds"),
    EventField("agent_id", "text", "id of the agent"),
    EventField("agent_role", "text", "role of the agent"),
    EventField("agent_type", "text", "type of the agent"),
    EventField("client", "text", "address of the client, without port"),
    EventField(
        "provider",
        "text",
        "name of the provider in the setting `providers`, such as `openai`, or that of a custom provider; null for a "
        "tunnel",
    ),
    EventField(
        "operation",
        "text",
        "the API operation: `chat.completions`, `generateContent`, `converse`, …; `rollup.summary` for a call that "
        "Wirekey makes to summarise a conversation of the agent; `tunnel` for a tunnel to any other host, which is not "
        "decrypted; `configuration` for a reload that sends calls to another host than before, which is no call",
    ),
    EventField("method", "text", "HTTP method; `CONNECT` for a tunnel, `RELOAD` for `configuration`"),
    EventField("path", "text", "path, without the query; `HOST:PORT` for a tunnel"),
    EventField("mcp_server", "text", "the name of the provider and `-proxy`: `openai-proxy`, `gemini-proxy`, …"),
    EventField("tool_name", "text", "the name of the provider and `-api`: `openai-api`, `gemini-api`, …"),
    EventField("action", "text", "the same as `method`"),
    EventField(
        "target",
        "text",
        "where the gateway has the path, below `/api/v1`, whichever way the program calls: "
        "`/openai/v1/chat/completions`; `HOST:PORT` for a tunnel",
    ),
    EventField("requested_model", "text", "model that the client requested"),
    EventField("model", "text", "model that was sent to the provider"),
    EventField("stream", "boolean", "whether a streamed response was requested"),
    EventField("message_count", "integer", "messages in the request"),
    EventField("has_system", "boolean", "whether the request has a system prompt"),
    EventField("has_tools", "boolean", "whether the request offers tools to the model"),
    EventField("tool_count", "integer", "number of tools"),
    EventField("max_tokens", "integer", "requested limit of output tokens"),
    EventField("policy_result", "text", "`allow` or `deny`"),
    EventField(
        "policy_reason",
        "text",
        "why the call was denied, or why Wirekey itself responded; of `configuration`, what has moved",
    ),
    EventField("policy_revision", "text", "revision of the policy that decided"),
    EventField("route", "text", "route of the call"),
    EventField("credential", "text", "label of the key that was used, such as `openai/1`; never the key itself"),
    EventField("upstream", "text", "host that Wirekey connected to"),
    EventField("attempts", "integer", "number of times the call was sent upstream"),
    EventField("status", "integer", "HTTP status that the client received"),
    EventField(
        "outcome",
        "text",
        "`completed`, `denied`, `declined` (a companion request of a coding agent), "
        "`upstream_error`, `client_cancelled`, `upstream_reset`, `truncated`, `timeout` or `interrupted`; null while "
        "the call is in progress",
    ),
    EventField("finish_reason", "text", "why the model stopped, in the provider's term"),
    EventField(
        "input_tokens",
        "integer",
        "tokens of the input, for every provider including those read from its cache and written to it",
    ),
    EventField("output_tokens", "integer", "tokens generated"),
    EventField("cached_input_tokens", "integer", "those of `input_tokens` that came from the provider's cache"),
    EventField("cache_write_tokens", "integer", "those of `input_tokens` that were written to the provider's cache"),
    EventField("reasoning_tokens", "integer", "tokens spent on reasoning"),
    EventField("cost_usd", "number", "list price of the call in US dollars"),
    EventField("request_bytes", "integer", "bytes of the request body; for a tunnel, bytes sent by the client"),
    EventField("response_bytes", "integer", "bytes of the response body; for a tunnel, bytes sent by the host"),
    EventField("ttfb_ms", "number", "milliseconds until the first byte of the response body"),
    EventField("duration_ms", "number", "milliseconds from the head of the request to the end of the response"),
    EventField(
        "translation", "text", "formats of the client and the upstream, if they differ: `openai.chat>anthropic`"
    ),
    EventField("adjusted", "text", "members of the request that the translation changed, by name"),
    EventField("dropped", "text", "members of the request that the translation left out, by name"),
    EventField("simulated", "boolean", "whether the simulator answered instead of the provider"),
    EventField("audio_input_tokens", "integer", "those of `input_tokens` that were audio"),
    EventField("audio_output_tokens", "integer", "those of `output_tokens` that were audio"),
    EventField(
        "parent_id", "text", "of a response within a connection of several responses: `id` of the connection's event"
    ),
    EventField(
        "rolled_up_messages",
        "integer",
        "messages of the request that a stored text has replaced (`rollup`); null if none was",
    ),
    EventField(
        "replica",
        "text",
        "process that handled the call: the setting `replica`, or `HOST:PID`, its machine's name and its process id",
    ),
    EventField(
        "service_tier",
        "text",
        "tier of service that the response reports, or else the requested one: `default`, `priority`, `flex`, …. Other "
        "modifiers of the price are joined to it by `+`: `fast` (speed), `optimized` (latency), `us` (place)",
    ),
)
NAMES = tuple(field.name for field in FIELDS)

# A row is written in two steps. The request fields never change after the intent; the outcome sets the others.
REQUEST_NAMES = NAMES[: NAMES.index("policy_result")]
OUTCOME_NAMES = NAMES[NAMES.index("policy_result") :]


ATTEMPT_FIELDS = (
    EventField("call_id", "text", "`id` of the call's event"),
    EventField("number", "integer", "1 for the first"),
    EventField("upstream", "text", "host that Wirekey connected to"),
    EventField("credential", "text", "label of the key that was used"),
    EventField("route", "text", "route of the call"),
    EventField("model", "text", "model that was sent to the provider"),
    EventField(
        "failure",
        "text",
        "`connect` (no verified connection in time), `first_byte` (no response in time), `reset` (the "
        "connection closed before a response), `status`, `stale` (the reused connection was already closed) or "
        "`unprocessed` (the provider reported that it did not process it). For the last attempt, the `outcome` "
        "of the call. Null if that is `completed`, and while the attempt is in progress",
    ),
    EventField("status", "integer", "HTTP status of the provider's response"),
    EventField(
        "duration_ms",
        "number",
        "milliseconds from the start of the attempt to its failure, or for the last one to the end of the call; null "
        "while it is in progress",
    ),
    EventField("translation", "text", "formats of the client and of this upstream, if they differ"),
    EventField("adjusted", "text", "members of the request that the translation for this upstream changed, by name"),
    EventField("dropped", "text", "members of the request that the translation for this upstream left out, by name"),
)
ATTEMPT_NAMES = tuple(field.name for field in ATTEMPT_FIELDS)


def event_of(call: Call) -> dict[str, EventValue]:
    """Return the event of a call, by the names and in the order of `FIELDS`. None means unknown."""
    return dict(zip(NAMES, request_values(call) + outcome_values(call), strict=True))


NO_AGENT = NO_COUNTS = (None, None, None)
NO_USAGE = (None,) * 7


def request_values(call: Call) -> tuple[EventValue, ...]:
    """Return the values of `REQUEST_NAMES`."""
    agent, facts, operation, provider = call.agent, call.facts, call.operation, call.provider
    requested = (facts.model if facts else None) or (operation.model if operation else None)
    if requested and call.model_prefix:
        requested = call.model_prefix + requested
    path = call.path.partition("?")[0]
    agent_id, role, kind = (agent.id, agent.role, agent.type) if agent else NO_AGENT
    agent_id, role, kind, client, method, requested, model = all_safe(
        agent_id, role, kind, call.client, call.method, requested, call.model
    )
    mcp_server, tool_name, target = legacy_values(provider, path)
    stream = None
    if facts or operation:
        stream = bool((facts and facts.stream) or (operation and operation.stream))
    messages, tools, limit = counts(facts.message_count, facts.tool_count, facts.max_tokens) if facts else NO_COUNTS
    return (
        call.id,
        rfc3339(call.started_at),
        agent_id,
        role,
        kind,
        client,
        provider,
        call.purpose or (operation.name if operation else None),
        method,
        safe(path, MAX_PATH),
        mcp_server,
        tool_name,
        method,
        safe(target, MAX_PATH),
        requested,
        model,
        stream,
        messages,
        facts.has_system if facts else None,
        facts.has_tools if facts else None,
        tools,
        limit,
    )


def outcome_values(call: Call) -> tuple[EventValue, ...]:
    """Return the values of `OUTCOME_NAMES`, as far as they are known."""
    usage = call.usage
    revision, route, credential, upstream, finish_reason, replica, service_tier = all_safe(
        call.policy_revision,
        call.route,
        call.credential,
        call.upstream,
        usage.finish_reason if usage else None,
        call.replica,
        call.service_tier,
    )
    read, written, cached, cache_written, reasoning, audio_read, audio_written = tokens_of(usage) if usage else NO_USAGE
    request_bytes, response_bytes, rolled_up = counts(call.request_bytes, call.response_bytes, call.rolled_up)
    return (
        call.policy_result,
        safe(call.policy_reason, MAX_REASON),
        revision,
        route,
        credential,
        upstream,
        call.attempts,
        call.status,
        call.outcome.value if call.outcome else None,
        finish_reason,
        read,
        written,
        cached,
        cache_written,
        reasoning,
        number(call.cost_usd),
        request_bytes,
        response_bytes,
        number(call.ttfb_ms),
        number(call.duration_ms),
        call.translation,
        safe(call.adjusted, MAX_PATH),
        safe(call.dropped, MAX_PATH),
        call.simulated,
        audio_read,
        audio_written,
        call.parent_id,
        rolled_up,
        replica,
        service_tier,
    )


def tokens_of(usage: Usage) -> tuple[int | None, ...]:
    """Return the tokens: input, output, cached, written to the cache, reasoning, audio of the input and the output."""
    return counts(
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_input_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
        usage.audio_input_tokens,
        usage.audio_output_tokens,
    )


def attempt_values(call: Call) -> list[tuple[EventValue, ...]]:
    """Return the rows of `ATTEMPT_NAMES` for a call that has ended. Empty if it had only one attempt."""
    count_made = max(call.attempts, call.attempts_announced)
    if count_made < 2:
        return []
    made = call.failed_attempts
    if count_made > len(made):
        made = (*made, last_attempt(call))
    return rows_of_attempts(call, made)


def next_attempt_values(call: Call) -> list[tuple[EventValue, ...]]:
    """Return the rows of the failed attempts and of the attempt that is about to be sent."""
    coming = attempt_record(call, None)
    return rows_of_attempts(call, (*call.failed_attempts, coming))


def rows_of_attempts(call: Call, made: Iterable[AttemptRecord]) -> list[tuple[EventValue, ...]]:
    """Return one row of `ATTEMPT_NAMES` for each attempt, numbered from 1."""
    return [
        (
            call.id,
            place,
            safe(attempt.upstream),
            safe(attempt.credential),
            safe(attempt.route),
            safe(attempt.model),
            attempt.failure,
            attempt.status,
            number(attempt.duration_ms),
            attempt.translation,
            safe(attempt.adjusted, MAX_PATH),
            safe(attempt.dropped, MAX_PATH),
        )
        for place, attempt in enumerate(made, 1)
    ]


def last_attempt(call: Call) -> AttemptRecord:
    """Return the record of the attempt that ended with the call."""
    failure = None if call.outcome in (None, Outcome.COMPLETED) else call.outcome.value
    status = None if call.refusal_code else call.status
    duration_ms = round((time.perf_counter() - call.attempt_began) * 1000, 3)
    return attempt_record(call, failure, status, duration_ms)


def attempt_record(
    call: Call, failure: str | None, status: int | None = None, duration_ms: float | None = None
) -> AttemptRecord:
    """Return the record of the current attempt of a call."""
    return AttemptRecord(
        call.upstream,
        call.credential,
        call.route,
        call.model,
        failure,
        status,
        duration_ms,
        call.translation,
        call.adjusted,
        call.dropped,
    )


def safe(text: str | None, limit: int = MAX_TEXT) -> str | None:
    r"""Return text of a client or provider in a form that is safe for terminals, logs and spreadsheets.

    The result is printable ASCII of at most `limit` characters. Tokens are masked. Other characters are escaped as in
    Python (`\n`, `\x1b`, `\u202e`), and so is the backslash, so that nothing can be mistaken for an escape. Text that
    was cut ends in three dots.
    """
    if text is None or text in safe_names:
        return text
    text = text_without_tokens(text[: limit + MAX_PATH])
    if len(text) <= limit and text.isascii() and text.isprintable() and "\\" not in text:
        if len(text) < LONGEST_NAME and "wk" not in text and "%" not in text:
            if len(safe_names) >= MOST_NAMES:
                safe_names.clear()
                safe_names.add(None)
            safe_names.add(text)
        return text
    escaped = text[: limit + 1].replace("…", "...").encode("unicode_escape").decode("ascii")
    return escaped if len(escaped) <= limit else escaped[: limit - 3] + "..."


def all_safe(*texts: str | None) -> tuple[str | None, ...]:
    """Return what `safe` returns of each text. Those that were checked before are found together."""
    return texts if safe_names.issuperset(texts) else tuple(map(safe, texts))


def count(value: int | None) -> int | None:
    """Return a count, limited to what a database holds, or None if the value is not a count."""
    if value is None or (type(value) is int and 0 <= value <= MAX_INTEGER):
        return value
    return MAX_INTEGER if type(value) is int and value > MAX_INTEGER else None


def counts(*values: int | None) -> tuple[int | None, ...]:
    """Return what `count` returns of each value. Ordinary ones are checked together."""
    if COUNT_TYPES.issuperset(map(type, values)):
        known = tuple(filter(None, values))
        if not known or (min(known) > 0 and max(known) <= MAX_INTEGER):
            return values
    return tuple(map(count, values))


def number(value: float | None) -> float | None:
    """Return a finite number as a float, or None. Never -0.0, so that a database returns exactly this value."""
    return value + 0.0 if value is not None and math.isfinite(value) else None


def rfc3339(timestamp: float) -> str:
    """Return Unix seconds in the form 2026-01-31T23:59:59.123Z."""
    seconds, milliseconds = divmod(int(timestamp * 1000), 1000)
    return f"{_whole_second(seconds)}.{milliseconds:03}Z"


@functools.lru_cache(maxsize=16)
def _whole_second(seconds: int) -> str:
    """Return a second without its fraction. Calls of the same second share it."""
    year, month, day, hour, minute, second, *_ = time.gmtime(seconds)
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
