"""Shows a call in mitmweb and dumps: a marker, a comment, and its response if responses are kept."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mitmproxy import ctx

from wirekey.core.addons.base import Addon
from wirekey.core.calls.kept_responses import KEEP_RESPONSES, KeptResponses
from wirekey.features.flow_views.comment import OURS, comment_of, marker_of

if TYPE_CHECKING:
    from mitmproxy import http

    from wirekey.core.call import Call
    from wirekey.core.calls.services import Services

logger = logging.getLogger(__name__)

COLUMNS = "web_columns"
"""mitmweb's option. Its default has no column for the comment."""
SHOWING = ("view", "save")
"""mitmproxy's addons that show or save flows. `wirekey serve` without --web has neither."""


class FlowComments(Addon):
    """Marks and comments flows, after the event of their call is complete.

    It does nothing in a process that neither shows nor saves flows. With --keep-responses it also leaves the responses
    of models on their flows.
    """

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self.seen = False
        self.kept: KeptResponses | None = None

    def running(self) -> None:
        """Find out whether this process shows flows, and prepare the page if it does."""
        self.seen = any(ctx.master.addons.get(name) for name in SHOWING)
        if not self.seen:
            return
        from wirekey.features.flow_views import content_views

        content_views.add()
        if COLUMNS in ctx.options and not ctx.options.has_changed(COLUMNS):
            ctx.options.update(**{COLUMNS: ["tls", "icon", "path", "comment", "status", "size", "time"]})
        self.calls.on_recorded = self.show
        if getattr(ctx.options, KEEP_RESPONSES):
            self.kept = KeptResponses()
            logger.warning(
                "THE CONTENT OF RESPONSES IS KEPT, because %s is set. Everyone who sees mitmweb's page, or a dump or "
                "HAR file of this process, can read what models respond. Start without it for names and counts only.",
                KEEP_RESPONSES,
            )

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Mark a flow whose response begins, and begin to keep the response."""
        state = self.calls.find(flow) if self.seen else None
        if state is None or not state.call.attempts:
            return
        if not flow.marked:
            flow.marked = marker_of(state.call)
        if self.kept:
            self.kept.begin(flow, state.call)

    def response(self, flow: http.HTTPFlow) -> None:
        """Attach a kept response to its flow."""
        if self.kept:
            self.kept.end(flow)

    def error(self, flow: http.HTTPFlow) -> None:
        """Attach the part of a kept response that arrived before the error."""
        if self.kept:
            self.kept.end(flow)

    def show(self, flow: http.HTTPFlow, call: Call) -> None:
        """Mark a flow whose call is recorded. A marker or comment that an operator set stays."""
        if not flow.marked or flow.marked in OURS:
            flow.marked = marker_of(call)
        flow.comment = flow.comment or comment_of(call)
