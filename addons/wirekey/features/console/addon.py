"""Builds the live page when Wirekey listens, and closes it at the end."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from wirekey.core.addons.base import Addon
from wirekey.features.console import operator_token
from wirekey.features.console.feed import Feed
from wirekey.features.console.live import LivePage
from wirekey.features.console.recorded import Recorded
from wirekey.features.console.sessions import SignInSessions
from wirekey.features.console.status import Status
from wirekey.features.console.worker_pages import WorkerPages
from wirekey.server.endpoints import Endpoints
from wirekey.server.lifecycle import Lifecycle

if TYPE_CHECKING:
    from pathlib import Path

    from wirekey.core.addons.order import AddonOrder
    from wirekey.core.calls.services import Services

logger = logging.getLogger(__name__)


class Console(Addon):
    """Serves the live page on the console's listener, and shows it the calls. It decides nothing."""

    def __init__(self, services: Services, order: AddonOrder) -> None:
        super().__init__(services)
        self.order = order
        self.page: LivePage | None = None

    async def running(self) -> None:
        """Build the page, before the console's listener opens."""
        lifecycle = self.order.get(Lifecycle)
        if lifecycle.listening and lifecycle.started_with and lifecycle.started_with.listen.console:
            self.page = self.live_page(lifecycle, lifecycle.started_with.state)
            self.pages = self.page.routes()

    async def done(self) -> None:
        """Close the page's feed."""
        if self.page:
            self.page.feed.close()

    def live_page(self, lifecycle: Lifecycle, state: Path) -> LivePage:
        """Build the page, which observes calls from here on.

        If there is no operator token, nobody can sign in, which is logged.
        """
        try:
            operator_token.ensure(state)
        except operator_token.OperatorTokenError as error:
            logger.error("Nobody can sign in to the console: %s", error)  # noqa: TRY400  # the message is enough
        services, feed = self.services, Feed()
        services.events.observers.append(feed)
        sessions = SignInSessions(operator_token.ReloadedToken(state))
        if lifecycle.worker:
            services.events.observers.append(WorkerPages(lifecycle.worker, feed, sessions, services.open_sessions))
        status = Status(services, lifecycle, feed, self.order.get(Endpoints).readiness)
        recorded = Recorded(services.store.database, status.runs)
        return LivePage(status, feed, sessions, recorded)
