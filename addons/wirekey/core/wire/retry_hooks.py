"""The hooks that ask the addons whether a further attempt follows a failed one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mitmproxy.proxy.commands import StartHook

if TYPE_CHECKING:
    from collections.abc import Callable

    from mitmproxy import http

    from wirekey.core.call import FailureKind


@dataclass(slots=True)
class FailedAttempt:
    """An attempt that ended before any byte of a response went to the client."""

    flow: http.HTTPFlow
    kind: FailureKind
    response: http.Response | None = None
    """The head of the provider's error response, if the kind is STATUS."""
    retry: bool = False
    """Set by an addon that has prepared the flow for another attempt."""
    client_left: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by the layer as soon as the client has disconnected."""
    read_body: Callable[[bytes], None] | None = None
    """Set by an addon that wants the body of the response, which no client gets. It is fed b"" at the end."""


@dataclass
class AttemptFailedHook(StartHook):
    """Ask whether the call is retried by its plan. An addon that sets `retry` has prepared the next request."""

    attempt: FailedAttempt


@dataclass
class AttemptRepeatedHook(StartHook):
    """Ask whether the same request is sent again, because the provider did not process it."""

    attempt: FailedAttempt
