"""Call: what is known and recorded of one call."""

from __future__ import annotations

import os
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from wirekey.core.labels import NOTHING, LabelPairs, combined

if TYPE_CHECKING:
    from wirekey.core.labels import FoundLabels, Labels
    from wirekey.core.operation import Facts, Operation, Usage


current_call_id: ContextVar[str | None] = ContextVar("current_call_id", default=None)
"""The id of the call that the current task works for, for log lines."""


class Outcome(StrEnum):
    """How a call ended."""

    COMPLETED = "completed"
    DENIED = "denied"
    DECLINED = "declined"  # a companion operation that the policy does not allow
    UPSTREAM_ERROR = "upstream_error"
    CLIENT_CANCELLED = "client_cancelled"
    UPSTREAM_RESET = "upstream_reset"
    TRUNCATED = "truncated"
    TIMEOUT = "timeout"
    INTERRUPTED = "interrupted"


class FailureKind(StrEnum):
    """How an attempt failed."""

    CONNECT = "connect"  # no verified connection in time
    FIRST_BYTE = "first_byte"  # sent, and no response in time
    RESET = "reset"  # sent, and the connection ended before a response
    STATUS = "status"  # a response with this status
    STALE = "stale"  # sent on a used connection that had ended; goes out once on a new one
    UNPROCESSED = "unprocessed"  # sent, and the provider said that it did not process it; is sent again


def legacy_values(provider: str | None, path: str) -> tuple[str | None, str | None, str]:
    """Return `mcp_server`, `tool_name` and `target`, which the events and policies of earlier systems have.

    `target` is where the gateway has the path, below `/api/v1`. A call by the forward proxy has the same one.
    """
    if provider is None:
        return None, None, path.removeprefix("/api/v1")
    return f"{provider}-proxy", f"{provider}-api", f"/{provider}{path}" if path.startswith("/") else path


_last_byte: int | None = None


def end_call_ids_with(tag: str | None) -> None:
    """Make all ids of this process end with two hexadecimal digits, by which its calls are found after its death."""
    global _last_byte  # noqa: PLW0603  # of the process
    _last_byte = None if tag is None else int(tag, 16)


_latest = 0
"""Milliseconds and number of the last id of this process."""
NUMBERS = 12
"""Bits for the number of an id within its millisecond."""


def new_call_id() -> str:
    """Return a UUIDv7 (RFC 9562 section 5.7). The ids of one process sort in the order in which they were made.

    The bits after the milliseconds count the ids of that millisecond (section 6.2, method 1). If more are made than can
    be counted, or the clock is set back, the count continues from the last id.
    """
    global _latest  # noqa: PLW0603  # of the process
    _latest = max(_latest + 1, time.time_ns() // 1_000_000 << NUMBERS)
    moment, number = _latest >> NUMBERS, _latest & (1 << NUMBERS) - 1
    last = int.from_bytes(os.urandom(8))
    if _last_byte is not None:
        last = last & ~0xFF | _last_byte
    last = last & ~(0x3 << 62) | (2 << 62)
    text = f"{moment << 80 | 7 << 76 | number << 64 | last:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


@dataclass(frozen=True, slots=True)
class Agent:
    """The program or person that makes a call."""

    id: str
    role: str | None = None
    type: str | None = None
    permissions: tuple[str, ...] = ("web:read", "web:write")
    strict: bool = False
    """Whether `egress.other_hosts` is `deny` for this agent, whatever the configuration says."""
    labels: LabelPairs = ()
    """Its verified labels, sorted by name."""
    run: str | None = None
    """The name of its run to which the token belongs."""
    invalid_labels: tuple[str, ...] = ()
    """The names of labels for which its token has a value that is not accepted."""


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One attempt at a call: what was sent, or was to be sent, and how it ended."""

    upstream: str | None
    credential: str | None
    route: str | None
    model: str | None
    failure: str | None
    """A FailureKind; of the last attempt, how the call ended. None after a success, and while it is in progress."""
    status: int | None = None
    """The status of the provider's response."""
    duration_ms: float | None = None
    """None while it is in progress."""
    translation: str | None = None
    adjusted: str | None = None
    dropped: str | None = None
    """As of a call: what the translation of this attempt is, and what it changed and left out."""


@dataclass(slots=True)
class Call:
    """One call. Addons fill it from top to bottom. `Calls` keeps it by flow id, never on the flow."""

    id: str = field(default_factory=new_call_id)
    started_at: float = field(default_factory=time.time)
    started: float = field(default_factory=time.perf_counter)
    client: str | None = None
    """The peer address of the client, without port."""
    agent: Agent | None = None
    header_labels: FoundLabels = NOTHING
    """The labels that the client sent in headers."""
    provider: str | None = None
    backend: str | None = None
    """The provider or backend in front of the model's name, if it differs from `provider`."""
    model_prefix: str = ""
    """The text that the client wrote before the model's name, if that is a backend: `gemini-cli-acp:google/`."""
    method: str = ""
    path: str = ""
    """The path without the query; `HOST:PORT` for a tunnel."""
    operation: Operation | None = None
    reads_body: bool = False
    """Whether the whole request body is read before the verdict."""
    facts: Facts | None = None
    model: str | None = None
    """The model that is sent. It may differ from the requested one, `facts.model`."""
    route: str | None = None
    credential: str | None = None
    """Label of the key that is sent: openai/1."""
    upstream: str | None = None
    upstream_provider: str | None = None
    """The provider that the attempt is sent to; it differs from `provider` if a route leads elsewhere."""
    translation: str | None = None
    """The formats of the client and the upstream, if they differ: `openai.chat>anthropic`."""
    adjusted: str | None = None
    """Members of the request that the translation changed, by the client's names."""
    dropped: str | None = None
    """Members of the request that the translation left out, by the client's names."""
    losses: tuple[tuple[str, str], ...] = ()
    """Each of these members after `adjusted` or `dropped`. Members that Wirekey does not know have the name ""."""
    attempts: int = 0
    attempts_announced: int = 0
    """The number of attempts that the audit store has recorded, or was asked to record."""
    attempt_began: float = 0.0
    """When the current attempt began, by time.perf_counter."""
    failed_attempts: tuple[AttemptRecord, ...] = ()
    """The attempts that another attempt followed."""
    policy_result: str | None = None
    policy_reason: str | None = None
    policy_revision: str | None = None
    refusal_code: str | None = None
    """The code of the error response that Wirekey made."""
    status: int | None = None
    outcome: Outcome | None = None
    usage: Usage | None = None
    cost_usd: float | None = None
    service_tier: str | None = None
    """The tier of service, and what else changes the price: as requested, then as the response reports it."""
    is_billed: bool = True
    """Whether the provider bills the current attempt by its tokens."""
    request_bytes: int | None = None
    response_bytes: int | None = None
    ttfb_ms: float | None = None
    duration_ms: float | None = None
    rolled_up: int | None = None
    """The number of messages of the request that a stored text has replaced."""
    purpose: str | None = None
    """Why Wirekey itself makes the call: `rollup.summary`. Recorded as its operation; None for other calls."""
    simulated: bool = False
    parent_id: str | None = None
    """Of a response within a connection: the id of the connection's call."""
    replica: str | None = None
    """The name of the process that records the call. The audit store sets it."""
    intent_recorded: bool = False
    trace_parent: str | None = field(default=None, repr=False)
    """The client's `traceparent` header, unchanged, if traces are exported."""

    @property
    def labels(self) -> Labels:
        """The labels of the call: those of its agent are verified, those of headers are not."""
        agent = self.agent
        return (
            combined(agent.labels, self.header_labels, agent.invalid_labels)
            if agent
            else combined((), self.header_labels)
        )


def elapsed_ms(call: Call) -> float:
    """Return the milliseconds since a call began."""
    return round((time.perf_counter() - call.started) * 1000, 3)
