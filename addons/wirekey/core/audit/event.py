"""The audit event: flat, one per call, names and counts only. Its fields are in `fields.py`. Pure."""

from __future__ import annotations

import functools
import math
import time
from typing import TYPE_CHECKING

import msgspec

from wirekey.core.audit.fields import ATTEMPT_FIELDS, CALL_FIELDS
from wirekey.core.call import AttemptRecord, Outcome, legacy_values
from wirekey.core.credentials.agent_tokens import text_without_tokens

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wirekey.core.call import Call
    from wirekey.core.operation import Usage

type EventValue = str | int | float | bool | None
type AuditEvent = dict[str, EventValue]

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


FIELDS = tuple(field for field in CALL_FIELDS if field.event)
"""The fields of the event, in their order."""
NAMES = tuple(field.name for field in FIELDS)

# A row is written in two steps. The first fields never change after the intent. The outcome sets the others, but for
# the labels, which do not change either. They are the last columns.
REQUEST_NAMES = NAMES[: NAMES.index("policy_result")]
OUTCOME_NAMES = NAMES[len(REQUEST_NAMES) :]
LABEL_NAMES = ("labels", "labels_unverified", "labels_invalid")
ATTEMPT_NAMES = tuple(field.name for field in ATTEMPT_FIELDS)


def event_of(call: Call) -> dict[str, EventValue]:
    """Return the event of a call, by the names and in the order of `FIELDS`. None means unknown."""
    return dict(zip(NAMES, request_values(call) + outcome_values(call), strict=True))


NO_AGENT = NO_COUNTS = (None, None, None)
NO_USAGE = (None,) * 7
NO_LABELS = (None, None, None)
_encode = msgspec.json.Encoder(order="sorted").encode


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
        *label_values(call),
    )


def label_values(call: Call) -> tuple[str | None, ...]:
    """Return the values of `LABEL_NAMES`. Labels are of a strict alphabet, so that they need no escape."""
    labels = call.labels
    if not labels:
        return NO_LABELS
    found = labels.verified, labels.unverified, labels.invalid
    return tuple(_encode(one).decode("ascii") if one else None for one in found)


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
