"""Shows all workers on the live page of each: their calls, their open sessions, and sign-ins."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from wirekey.core.audit.event import outcome_values, request_values

if TYPE_CHECKING:
    from wirekey.core.call import Call
    from wirekey.core.observing.open_sessions import OpenSessions
    from wirekey.features.console.feed import Feed
    from wirekey.features.console.sessions import SignInSessions
    from wirekey.server.worker import Worker

ROWS_PER_SECOND = 100
"""Calls of one worker that are sent to the pages of others."""


class WorkerPages:
    """A call observer that sends calls to the workers whose page is open, and shows theirs on the page here."""

    def __init__(self, worker: Worker, feed: Feed, sessions: SignInSessions, open_sessions: OpenSessions) -> None:
        self._worker = worker
        self._feed = feed
        self._following: set[str] = set()
        """The tags of other workers whose page is open."""
        self._second = 0
        self._sent = 0
        feed.on_followed = self._report_following
        sessions.on_change = lambda session: worker.tell("session", session, f"session {session[0]}")
        worker.receivers["session"] = lambda session: sessions.learn(*session)
        worker.receivers["following"] = self._note_following
        worker.receivers["call"] = self._show
        worker.collectors["page"] = lambda: [feed.in_progress, dict(feed.used), open_sessions.report()]

    def began(self, call: Call) -> None:
        """Send the start of a call, unless too many arrive."""
        if self._following:
            self._send(call)

    ended = began

    def _send(self, call: Call) -> None:
        second = int(asyncio.get_running_loop().time())
        if second != self._second:
            self._second, self._sent = second, 0
        self._sent += 1
        if self._sent <= ROWS_PER_SECOND:
            self._worker.tell("call", [call.id, request_values(call) + outcome_values(call)])

    def _show(self, message: Any) -> None:
        call_id, values = message
        self._feed.show_values(call_id, values)

    def _report_following(self, follows: bool) -> None:
        tag = self._worker.tag
        self._worker.tell("following", [tag, follows], f"following {tag}")

    def _note_following(self, message: Any) -> None:
        tag, follows = message
        if follows:
            self._following.add(tag)
        else:
            self._following.discard(tag)
