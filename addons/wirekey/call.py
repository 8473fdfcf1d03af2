"""Call: all that is known about one call on its way through the house."""

from __future__ import annotations

import os
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wirekey.providers.protocol import Facts, Operation, Usage


under_way: ContextVar[str | None] = ContextVar("under_way", default=None)
"""The id of the call that the present task works for, for the log."""


class Outcome(StrEnum):
    """How a call ended."""

    COMPLETED = "completed"
    DENIED = "denied"
    UPSTREAM_ERROR = "upstream_error"
    CLIENT_CANCELLED = "client_cancelled"
    UPSTREAM_RESET = "upstream_reset"
    TRUNCATED = "truncated"
    TIMEOUT = "timeout"
    INTERRUPTED = "interrupted"


def new_call_id() -> str:
    """Return a UUIDv7 (RFC 9562 section 5.7): sorts by the time of its making, to the millisecond."""
    value = (time.time_ns() // 1_000_000 << 80) | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | (7 << 76)
    value = value & ~(0x3 << 62) | (2 << 62)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


@dataclass(frozen=True, slots=True)
class Agent:
    """Who makes the call."""

    id: str
    role: str | None = None
    type: str | None = None
    permissions: tuple[str, ...] = ("web:read", "web:write")
    strict: bool = False
    """Whether `egress.other_hosts` is `deny` for it, whatever the configuration says."""


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One time that a call was sent, or was to be sent, and how that went."""

    upstream: str | None
    credential: str | None
    route: str | None
    model: str | None
    failure: str | None
    """A FailureKind; of the last one how the call ended; None where that was well, or while it is under way."""
    status: int | None = None
    """What the provider answered."""
    duration_ms: float | None = None
    """None while it is under way."""


@dataclass(slots=True)
class Call:
    """One call. Stations fill it from top to bottom; kept by flow id, never on the flow."""

    id: str = field(default_factory=new_call_id)
    started_at: float = field(default_factory=time.time)
    started: float = field(default_factory=time.perf_counter)
    client: str | None = None
    """The peer address of the client, without port."""
    agent: Agent | None = None
    provider: str | None = None
    method: str = ""
    path: str = ""
    """The path without the query; `HOST:PORT` for a tunnel."""
    operation: Operation | None = None
    reads_body: bool = False
    """Whether the verdict waits for the whole request body."""
    facts: Facts | None = None
    model: str | None = None
    """The model that is sent, which may differ from the one asked for."""
    route: str | None = None
    credential: str | None = None
    """Label of the key on the wire: openai/1."""
    upstream: str | None = None
    attempts: int = 0
    attempts_announced: int = 0
    """How many attempts the store has a row for, or was asked to make one."""
    attempt_began: float = 0.0
    """When the present one did, by time.perf_counter."""
    failed_attempts: tuple[AttemptRecord, ...] = ()
    """Those after which there was another one."""
    policy_result: str | None = None
    policy_reason: str | None = None
    policy_revision: str | None = None
    refusal_code: str | None = None
    """The code of the answer that Wirekey made itself."""
    status: int | None = None
    outcome: Outcome | None = None
    usage: Usage | None = None
    cost_usd: float | None = None
    request_bytes: int | None = None
    response_bytes: int | None = None
    ttfb_ms: float | None = None
    duration_ms: float | None = None
    simulated: bool = False
    intent_recorded: bool = False
    trace_parent: str | None = field(default=None, repr=False)
    """The client's `traceparent` header as it came, where traces are exported."""
