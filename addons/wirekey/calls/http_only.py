"""The agents whose programs are to use HTTP, because a call that they sent over a WebSocket cannot go there."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wirekey.call import Call

SECONDS = 60.0
"""Time for which an agent's connections are refused. Its program then uses HTTP for the rest of its run."""
MOST_AGENTS = 10_000


class HttpOnlyAgents:
    """Remembers agents for a minute, each by its id, or by its client's address if identities are not required."""

    def __init__(self) -> None:
        self._until: OrderedDict[str, float] = OrderedDict()

    def note(self, call: Call) -> None:
        """Note the agent of a call that must be sent by HTTP."""
        name = name_of(call)
        self._until[name] = time.monotonic() + SECONDS
        self._until.move_to_end(name)
        if len(self._until) > MOST_AGENTS:
            self._until.popitem(last=False)

    def has(self, call: Call) -> bool:
        """Return whether the agent of a call was noted a short time ago."""
        until = self._until.get(name_of(call))
        return until is not None and time.monotonic() < until


def name_of(call: Call) -> str:
    """Return what an agent is remembered by."""
    return f"agent {call.agent.id}" if call.agent else f"client {call.client}"
