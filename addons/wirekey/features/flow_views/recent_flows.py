"""Bounds the memory of mitmweb, which would keep every flow of a process that runs for weeks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.addons.base import Addon

if TYPE_CHECKING:
    from mitmproxy import http
    from mitmproxy.addons.view import View

    from wirekey.core.calls.services import Services

FLOWS_KEPT = 2000
FLOWS_AT_ONCE = 100


class RecentFlows(Addon):
    """Removes flows that have ended from mitmweb's page, oldest first.

    It keeps `kept` flows, and removes others as soon as there are `at_once` of them.
    """

    def __init__(self, services: Services, view: View, kept: int = FLOWS_KEPT, at_once: int = FLOWS_AT_ONCE) -> None:
        super().__init__(services)
        self.view = view
        self.kept = kept
        self.at_once = at_once

    def response(self, flow: http.HTTPFlow) -> None:
        """Remove old flows."""
        self.trim()

    def error(self, flow: http.HTTPFlow) -> None:
        """Remove old flows."""
        self.trim()

    def trim(self) -> None:
        """Remove the oldest flows that are over the limit and have ended."""
        over = self.view.store_count() - self.kept
        if over >= self.at_once:
            for flow in self.view.resolve("@all")[:over]:
                if not flow.live:
                    self.view.remove([flow])  # one by one, because the view logs the removal of several
