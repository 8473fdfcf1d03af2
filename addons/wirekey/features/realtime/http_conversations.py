"""Conversations that are to use HTTP, because a request that they sent over a WebSocket cannot go there.

Only the conversation itself is refused its next connection, which it names in a header. A program that names none, and
all other programs of the agent, may open connections as before.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.core.call import Call

SECONDS = 60.0
"""Time for which connections of a conversation are refused. Its program then uses HTTP for the rest of its run."""
MOST = 10_000
NAMES = ("session-id", "session_id")
"""Headers in which Codex names its conversation, by version."""
LONGEST = 128
"""Characters of a name. Longer ones are not remembered."""


class HttpConversations:
    """Remembers for a minute which model of a conversation has no WebSocket."""

    def __init__(self) -> None:
        self._found: OrderedDict[tuple[str, str], tuple[float, str]] = OrderedDict()

    def note(self, call: Call, headers: Mapping[str, str], model: str | None) -> None:
        """Note the model of a request that must be sent by HTTP. `headers`: of the connection, by lower-case name."""
        if (name := name_of(call, headers)) is None:
            return
        self._found[name] = time.monotonic() + SECONDS, model or ""
        self._found.move_to_end(name)
        if len(self._found) > MOST:
            self._found.popitem(last=False)

    def model_of(self, call: Call, headers: Mapping[str, str]) -> str | None:
        """Return the model that was noted a short time ago for this conversation, or None if none was."""
        name = name_of(call, headers)
        until, model = self._found.get(name, (0.0, None)) if name else (0.0, None)
        return model if time.monotonic() < until else None


def name_of(call: Call, headers: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the agent, or else the client, and the conversation that a connection names. None if it names none."""
    for header in NAMES:
        if (conversation := headers.get(header)) and len(conversation) <= LONGEST:
            return (f"agent {call.agent.id}" if call.agent else f"client {call.client}", conversation)
    return None
