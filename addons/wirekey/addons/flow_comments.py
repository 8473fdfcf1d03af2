"""What mitmweb and dumps show of a call: a marker and a comment, and a view of its answer where answers are kept."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mitmproxy import ctx

from wirekey.addons.base import Addon
from wirekey.calls.kept_responses import KeptResponses
from wirekey.observing.flow_comment import OURS, comment_of, marker_of
from wirekey.server.options import KEEP_RESPONSES

if TYPE_CHECKING:
    from mitmproxy import http

    from wirekey.call import Call
    from wirekey.calls.services import Services

logger = logging.getLogger(__name__)

COLUMNS = "web_columns"
"""mitmweb's option: its own choice has no comment."""
SHOWING = ("view", "save")
"""mitmproxy's addons that show flows, or write them down; `wirekey serve` without --web has neither."""


class FlowComments(Addon):
    """Comes after the record of a call is complete. Where nobody sees flows, it does nothing."""

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self.seen = False
        self.kept: KeptResponses | None = None

    def running(self) -> None:
        self.seen = any(ctx.master.addons.get(name) for name in SHOWING)
        if not self.seen:
            return
        from wirekey.observing import content_views

        content_views.add()
        if COLUMNS in ctx.options and not ctx.options.has_changed(COLUMNS):
            ctx.options.update(**{COLUMNS: ["tls", "icon", "path", "comment", "status", "size", "time"]})
        self.calls.on_recorded = self.show
        if getattr(ctx.options, KEEP_RESPONSES):
            self.kept = KeptResponses()
            logger.warning(
                "THE CONTENT OF ANSWERS IS KEPT, as %s asks for: who sees mitmweb's page, or a dump or HAR file of "
                "this process, can read what models answer. Start without it for names and counts only.",
                KEEP_RESPONSES,
            )

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        state = self.calls.find(flow) if self.seen else None
        if state is None or not state.call.attempts:
            return
        if not flow.marked:
            flow.marked = marker_of(state.call)
        if self.kept:
            self.kept.begin(flow, state.call)

    def response(self, flow: http.HTTPFlow) -> None:
        if self.kept:
            self.kept.end(flow)

    def error(self, flow: http.HTTPFlow) -> None:
        if self.kept:
            self.kept.end(flow)

    def show(self, flow: http.HTTPFlow, call: Call) -> None:
        """Mark a flow whose call is recorded; what an operator wrote on it meanwhile stays."""
        if not flow.marked or flow.marked in OURS:
            flow.marked = marker_of(call)
        flow.comment = flow.comment or comment_of(call)
