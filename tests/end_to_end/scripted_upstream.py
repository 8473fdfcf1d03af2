"""Wirekey before an upstream that says exactly what a test wants, with routes from each client to each provider."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

from tests.features.translation.streams import upstream_bytes
from tests.support.running import KEY_ENVIRONMENT, Wirekey, behind
from tests.threats.hostile import Hostile, Says

LISTEN = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
UPSTREAMS = {
    "openai.responses": ("openai", "gpt-5"),
    "openai.chat": ("openai", "gpt-5"),
    "gemini": ("gemini", "gemini-2.5-flash"),
    "anthropic": ("anthropic", "claude-sonnet-4-5"),
    "converse": ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
    "invoke": ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
}
"""Provider and model of each format. A program asks for `to-FORMAT`."""
CONTENT_TYPES = {"converse": "application/vnd.amazon.eventstream", "invoke": "application/vnd.amazon.eventstream"}


@dataclass
class Scripted:
    """What a test needs: the way to Wirekey, Wirekey, and the upstream."""

    way: tuple
    wirekey: Wirekey
    upstream: Hostile

    def streams(self, form: str, data: bytes) -> None:
        """Let the upstream send these bytes as a stream of a format."""
        kind = CONTENT_TYPES.get(form, "text/event-stream")
        self.upstream.says(Says(headers=[("content-type", kind)], pieces=[data]))

    def streams_events(self, form: str, events: list) -> None:
        """Let the upstream send these events as a stream of a format."""
        self.streams(form, upstream_bytes(form, events))

    def responds(self, body: object) -> None:
        """Let the upstream send a whole response."""
        self.upstream.says(Says(pieces=[json.dumps(body).encode()]))

    def asked(self) -> dict:
        """Return the body of the only request that arrived."""
        (asked,) = self.upstream.asked
        return json.loads(asked.body)


@dataclass
class Named:
    """What `behind` asks of a simulator."""

    url: str
    ca_file: object


@contextlib.contextmanager
def scripted_upstream(folder) -> Iterator[Scripted]:
    with Hostile(folder) as upstream:
        configuration = behind(Named(upstream.url, folder / "simulator-ca.pem"))
        configuration["upstream_ca_file"] = str(next(folder.glob("*ca*.pem")))
        routes = [
            {"match": f"to-{form}", "provider": provider, "model": model, "speaks": form}
            for form, (provider, model) in UPSTREAMS.items()
        ]
        configuration |= {"listen": LISTEN, "routes": routes, "failover": {"max_attempts": 1}}
        proxy = Wirekey(folder / "wirekey", configuration, environ=KEY_ENVIRONMENT)
        try:
            token = proxy.add_agent("alice", role="engineer")
            way = (f"http://{proxy.running.gateway}", token, proxy.agents.pair("alice"))
            yield Scripted(way, proxy, upstream)
        finally:
            proxy.stop()
