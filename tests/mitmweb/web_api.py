"""mitmweb's API, as its page in a browser uses it."""

from __future__ import annotations

import httpx

from tests.support.running import wait_for


class WebApi:
    def __init__(self, url: str, token: str) -> None:
        self.address = f"{url}/?token={token}"
        self.client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, trust_env=False)
        self.client.cookies["_mitmproxy_xsrf"] = self.client.headers["X-XSRFToken"] = "c0ffee"

    def flows(self) -> list[dict]:
        return self.client.get("/flows").json()

    def clear(self) -> None:
        assert self.client.post("/clear").status_code == 200

    def only_flow(self) -> dict:
        """The only flow, once its call is recorded."""
        wait_for(lambda: any(flow["comment"] for flow in self.flows()), "the comment of the flow")
        (flow,) = self.flows()
        return flow

    def view(self, flow: dict, side: str = "response", view: str = "auto") -> dict:
        """What a content view shows: `text`, and the view's name."""
        return self.client.get(f"/flows/{flow['id']}/{side}/content/{view}.json").json()

    def body(self, flow: dict, side: str = "response") -> bytes:
        """What is kept of a body; b"" where nothing is."""
        answer = self.client.get(f"/flows/{flow['id']}/{side}/content.data")
        return answer.content if answer.status_code == 200 else b""
