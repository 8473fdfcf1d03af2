"""Builds the live page of the console."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from wirekey.console import operator_token
from wirekey.console.feed import Feed
from wirekey.console.live import LivePage
from wirekey.console.recorded import Recorded
from wirekey.console.sessions import SignInSessions
from wirekey.server.status import Status
from wirekey.server.worker_pages import WorkerPages

if TYPE_CHECKING:
    from pathlib import Path

    from wirekey.calls.services import Services
    from wirekey.server.lifecycle import Lifecycle
    from wirekey.server.readiness import Readiness

logger = logging.getLogger(__name__)


def live_page(services: Services, lifecycle: Lifecycle, state: Path, readiness: Readiness) -> LivePage:
    """Build the page, which observes calls from here on.

    If there is no operator token, nobody can sign in, which is logged.
    """
    try:
        operator_token.ensure(state)
    except operator_token.OperatorTokenError as error:
        logger.error("Nobody can sign in to the console: %s", error)  # noqa: TRY400  # the message is enough
    feed = Feed()
    services.events.observers.append(feed)
    sessions = SignInSessions(operator_token.ReloadedToken(state))
    if lifecycle.worker:
        services.events.observers.append(WorkerPages(lifecycle.worker, feed, sessions, services.open_sessions))
    return LivePage(Status(services, lifecycle, feed, readiness), feed, sessions, Recorded(services.store.address))
