"""mitmweb's page in front of a Wirekey, as its operator, or a thief of its token, uses it."""

from __future__ import annotations

import httpx

from tests.support.raw_client import post
from tests.support.running import wait_for


class Page:
    """mitmweb's API, as its page in a browser uses it."""

    def __init__(self, url: str, token: str) -> None:
        self.client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, trust_env=False)
        self.client.cookies["_mitmproxy_xsrf"] = self.client.headers["X-XSRFToken"] = "c0ffee"

    def __call__(self, method: str, path: str, **content) -> httpx.Response:
        return self.client.request(method, path, **content)

    def flows(self) -> list[dict]:
        return self("GET", "/flows").json()

    def option(self, name: str):
        return self("GET", "/options").json()[name]["value"]


def answered_flow(web) -> dict:
    """Make a call that gets a response, and return its flow."""
    assert web.ask(post()).status == 200
    wait_for(lambda: web.page.flows() and web.page.flows()[-1]["response"]["timestamp_end"], "the flow")
    return web.page.flows()[-1]
