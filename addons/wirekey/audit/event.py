"""The audit event: flat, one per call, names and counts only. Pure.

The table `FIELDS` is the contract: the columns of the store, the keys of an export and the reference page come from it.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from wirekey.call import AttemptRecord, Outcome
from wirekey.credentials.agent_tokens import text_without_tokens

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wirekey.call import Call

type EventValue = str | int | float | bool | None
type FieldType = Literal["text", "integer", "number", "boolean"]

LONGEST = 256
LONGEST_PATH = 1024
LONGEST_REASON = 500
LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class EventField:
    name: str
    type: FieldType
    description: str


FIELDS = (
    EventField("id", "text", "UUIDv7: ids sort by the time at which their calls began"),
    EventField("time", "text", "when the call began: RFC 3339, UTC, milliseconds"),
    EventField("agent_id", "text", "the agent that called"),
    EventField("agent_role", "text", "its role"),
    EventField("agent_type", "text", "its type"),
    EventField("client", "text", "address of the client, without port"),
    EventField("provider", "text", "`openai`, `gemini`, `anthropic` or `bedrock`; null of a tunnel"),
    EventField(
        "operation",
        "text",
        "what was called: `chat.completions`, `generateContent`, `converse`, …; `tunnel`: a tunnel to a host that is "
        "no provider's, passed on undecrypted",
    ),
    EventField("method", "text", "HTTP method; `CONNECT` for a tunnel"),
    EventField("path", "text", "path, without the query; `HOST:PORT` for a tunnel"),
    EventField("mcp_server", "text", "`openai-proxy`, `gemini-proxy`, `anthropic-proxy` or `bedrock-proxy`"),
    EventField("tool_name", "text", "`openai-api`, `gemini-api`, `anthropic-api` or `bedrock-api`"),
    EventField("action", "text", "the same as `method`"),
    EventField("target", "text", "the same as `path`"),
    EventField("requested_model", "text", "the model that the client asked for"),
    EventField("model", "text", "the model that was sent"),
    EventField("stream", "boolean", "whether a streamed answer was asked for"),
    EventField("message_count", "integer", "messages in the request"),
    EventField("has_system", "boolean", "whether there is a system prompt"),
    EventField("has_tools", "boolean", "whether tools are offered to the model"),
    EventField("tool_count", "integer", "how many"),
    EventField("max_tokens", "integer", "the limit of output tokens that was asked for"),
    EventField("policy_result", "text", "`allow` or `deny`"),
    EventField("policy_reason", "text", "why it was denied, or why Wirekey itself answered"),
    EventField("policy_revision", "text", "which policy decided"),
    EventField("route", "text", "the route that was taken"),
    EventField("credential", "text", "label of the key that was put on, such as `openai/1`; never the key"),
    EventField("upstream", "text", "the host that was dialled"),
    EventField("attempts", "integer", "how often the call was sent upstream"),
    EventField("status", "integer", "HTTP status that the client got"),
    EventField(
        "outcome",
        "text",
        "`completed`, `denied`, `upstream_error`, `client_cancelled`, `upstream_reset`, `truncated`, `timeout` or "
        "`interrupted`; null while the call is under way",
    ),
    EventField("finish_reason", "text", "why the model stopped, in the provider's word"),
    EventField("input_tokens", "integer", "tokens read, as the provider counts them"),
    EventField("output_tokens", "integer", "tokens written"),
    EventField("cached_input_tokens", "integer", "input tokens that came from the provider's cache"),
    EventField("reasoning_tokens", "integer", "tokens spent on reasoning"),
    EventField("cost_usd", "number", "list price of the call in US dollars"),
    EventField("request_bytes", "integer", "bytes of the request body; what the client sent through a tunnel"),
    EventField("response_bytes", "integer", "bytes of the answer's body; what the host sent through a tunnel"),
    EventField("ttfb_ms", "number", "milliseconds until the first byte of the answer's body"),
    EventField("duration_ms", "number", "milliseconds from the head of the request to the end of the answer"),
    EventField("simulated", "boolean", "whether the simulator stood in for the provider"),
)
NAMES = tuple(field.name for field in FIELDS)

# A row is written in two goes. What the request says never changes after the intent; the rest is set by the outcome.
REQUEST_NAMES = NAMES[: NAMES.index("policy_result")]
OUTCOME_NAMES = NAMES[NAMES.index("policy_result") :]


ATTEMPT_FIELDS = (
    EventField("call_id", "text", "`id` of the call's event"),
    EventField("number", "integer", "1 for the first"),
    EventField("upstream", "text", "the host that was dialled"),
    EventField("credential", "text", "label of the key that was put on"),
    EventField("route", "text", "the route that was taken"),
    EventField("model", "text", "the model that was sent"),
    EventField(
        "failure",
        "text",
        "`connect` (no verified connection in time), `first_byte` (no answer in time), `reset` (the connection ended "
        "before an answer), `status`, `stale` (the used connection had ended before) or `unprocessed` (the provider "
        "said that it had not begun with it); of the last attempt, the `outcome` of the call; null where that is "
        "`completed`, and while it is under way",
    ),
    EventField("status", "integer", "HTTP status that the provider answered with"),
    EventField(
        "duration_ms",
        "number",
        "milliseconds from its beginning to its failure, of the last one to the call's end; null while it is under way",
    ),
)
ATTEMPT_NAMES = tuple(field.name for field in ATTEMPT_FIELDS)


def event_of(call: Call) -> dict[str, EventValue]:
    """Give the event by the names and in the order of `FIELDS`. None is unknown."""
    return dict(zip(NAMES, request_values(call) + outcome_values(call), strict=True))


def request_values(call: Call) -> tuple[EventValue, ...]:
    """Give the values of `REQUEST_NAMES`."""
    agent, facts, operation, provider = call.agent, call.facts, call.operation, call.provider
    asked = (facts.model if facts else None) or (operation.model if operation else None)
    method, path = safe(call.method), safe(call.path.partition("?")[0], LONGEST_PATH)
    stream = None
    if facts or operation:
        stream = bool((facts and facts.stream) or (operation and operation.stream))
    return (
        call.id,
        rfc3339(call.started_at),
        safe(agent.id) if agent else None,
        safe(agent.role) if agent else None,
        safe(agent.type) if agent else None,
        safe(call.client),
        provider,
        operation.name if operation else None,
        method,
        path,
        f"{provider}-proxy" if provider else None,
        f"{provider}-api" if provider else None,
        method,
        path,
        safe(asked),
        safe(call.model),
        stream,
        count(facts.message_count) if facts else None,
        facts.has_system if facts else None,
        facts.has_tools if facts else None,
        count(facts.tool_count) if facts else None,
        count(facts.max_tokens) if facts else None,
    )


def outcome_values(call: Call) -> tuple[EventValue, ...]:
    """Give the values of `ANSWER_NAMES`, as far as they are known."""
    usage = call.usage
    return (
        call.policy_result,
        safe(call.policy_reason, LONGEST_REASON),
        safe(call.policy_revision),
        safe(call.route),
        safe(call.credential),
        safe(call.upstream),
        call.attempts,
        call.status,
        call.outcome.value if call.outcome else None,
        safe(usage.finish_reason) if usage else None,
        count(usage.input_tokens) if usage else None,
        count(usage.output_tokens) if usage else None,
        count(usage.cached_input_tokens) if usage else None,
        count(usage.reasoning_tokens) if usage else None,
        number(call.cost_usd),
        count(call.request_bytes),
        count(call.response_bytes),
        number(call.ttfb_ms),
        number(call.duration_ms),
        call.simulated,
    )


def attempt_values(call: Call) -> list[tuple[EventValue, ...]]:
    """Give the rows of `ATTEMPT_NAMES` of a call that has ended; none where there was one attempt only."""
    count_made = max(call.attempts, call.attempts_announced)
    if count_made < 2:
        return []
    made = call.failed_attempts
    if count_made > len(made):
        made = (*made, last_attempt(call))
    return rows_of_attempts(call, made)


def next_attempt_values(call: Call) -> list[tuple[EventValue, ...]]:
    """Return the rows of the failed attempts and of the attempt that is about to be sent."""
    coming = AttemptRecord(call.upstream, call.credential, call.route, call.model, None)
    return rows_of_attempts(call, (*call.failed_attempts, coming))


def rows_of_attempts(call: Call, made: Iterable[AttemptRecord]) -> list[tuple[EventValue, ...]]:
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
        )
        for place, attempt in enumerate(made, 1)
    ]


def last_attempt(call: Call) -> AttemptRecord:
    failure = None if call.outcome in (None, Outcome.COMPLETED) else call.outcome.value
    status = None if call.refusal_code else call.status
    duration_ms = round((time.perf_counter() - call.attempt_began) * 1000, 3)
    return AttemptRecord(call.upstream, call.credential, call.route, call.model, failure, status, duration_ms)


def safe(text: str | None, longest: int = LONGEST) -> str | None:
    r"""Make what a stranger sent fit for terminals, logs and spreadsheets: printable ASCII, and not too long.

    Tokens are masked.
    Everything else is escaped as Python does (`\n`, `\x1b`, `\u202e`), the backslash too, so that nothing can pass for
    an escape. What is cut ends in three dots.
    """
    if text is None:
        return None
    text = text_without_tokens(text[: longest + LONGEST_PATH])
    if len(text) <= longest and text.isascii() and text.isprintable() and "\\" not in text:
        return text
    escaped = text[: longest + 1].replace("…", "...").encode("unicode_escape").decode("ascii")
    return escaped if len(escaped) <= longest else escaped[: longest - 3] + "..."


def count(value: int | None) -> int | None:
    """Keep what a stranger counted within what a database holds; what is no count is unknown."""
    if value is None or (type(value) is int and 0 <= value <= LARGEST):
        return value
    return LARGEST if type(value) is int and value > LARGEST else None


def number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def rfc3339(moment: float) -> str:
    """Give seconds since 1970 as 2026-01-31T23:59:59.123Z."""
    milliseconds = int(moment * 1000)
    year, month, day, hour, minute, second, *_ = time.gmtime(milliseconds // 1000)
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milliseconds % 1000:03}Z"
