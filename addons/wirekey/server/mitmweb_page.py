"""Keeps mitmweb's page from loading flows from a file, and from sending one again.

mitmproxy would run the hooks of each flow of a file, as if it were a call now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mitmproxy.master import Master

LOADING = "Wirekey loads no flows: a flow from a file was not sent by Wirekey."
REPLAYING = "Wirekey replays no flows: a flow contains no key and no content. Send the request again from the program."


def refuse_flows_of_files(master: Master) -> None:
    """Make mitmweb's page refuse to load and to replay flows. Other masters have no page."""
    application = getattr(master, "app", None)
    if application is None:
        return
    from mitmproxy.tools.web.app import APIError, DumpFlows, RequestHandler

    class SavedFlows(DumpFlows):
        """Returns the flows that the page shows, for a file."""

        async def post(self) -> None:
            """Refuse to load flows."""
            raise APIError(403, LOADING)

    class ReplayFlow(RequestHandler):
        """Replays no flow."""

        def post(self, flow_id: str) -> None:
            """Refuse to replay a flow."""
            raise APIError(403, REPLAYING)

    # Before the page's own handlers of these paths.
    application.add_handlers(
        ".*", [(r"/flows/dump", SavedFlows), (r"/flows/(?P<flow_id>[0-9a-f\-]+)/replay", ReplayFlow)]
    )
