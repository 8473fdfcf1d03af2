from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.raw_client import RawClient
from tests.support.running import EVERYTHING, KEY_ENVIRONMENT, PROVIDER_KEYS, Wirekey
from tests.untouched.messages import Message, name_of
from tests.untouched.replaying import Upstream, call_http1, call_http2, with_line

HOSTS = {
    "openai": "api.openai.com",
    "anthropic": "api.anthropic.com",
    "gemini": "generativelanguage.googleapis.com",
    "bedrock": "bedrock-runtime.us-east-1.amazonaws.com",
    "mistral": "api.mistral.ai",
}
LISTEN = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
KEY_HEADERS = (b"authorization", b"x-api-key", b"x-goog-api-key")


@dataclass
class Replay:
    """A Wirekey whose providers are all one recording server."""

    upstream: Upstream
    proxy: Wirekey
    token: str

    def through(self, way: str, provider: str, request: Message, response: Message) -> tuple[Message, Message]:
        """Make a recorded call through Wirekey. Return the request that arrived, and the response that came back."""
        self.upstream.response = response
        self.upstream.arrived.clear()
        host = HOSTS[provider].encode()
        request = with_line(with_line(request, b"host", host), b":authority", host)
        with RawClient(self.proxy.running.forward if way == "forward" else self.proxy.running.gateway) as client:
            if way == "forward":
                assert client.connect(f"{HOSTS[provider]}:443", "alice", self.token).status == 200
                client.start_tls(self.proxy.root, HOSTS[provider], ("h2" if request.is_http2 else "http/1.1",))
            else:
                request = self.at_gateway(request, provider)
            back = call_http2(client, request) if request.is_http2 else call_http1(client, request)
        assert len(self.upstream.arrived) == 1, back
        return self.upstream.arrived[0], back

    def at_gateway(self, request: Message, provider: str) -> Message:
        """Return a request of HTTP/1.1 as a program sends it to the gateway: another path, and the agent's token."""
        method, target, version = request.start.split(b" ")
        start = b" ".join([method, f"/api/v1/{provider}".encode() + target, version])
        lines = []
        for line in request.lines:
            name = name_of(line)
            key, token = PROVIDER_KEYS[provider].encode(), self.token.encode()
            lines.append(line.replace(key, token) if name in KEY_HEADERS else line)
        return Message(start, tuple(lines), request.body, request.framed, request.trailers)


@pytest.fixture(scope="package")
def replay(tmp_path_factory) -> Iterator[Replay]:
    folder: Path = tmp_path_factory.mktemp("replay")
    upstream = Upstream(folder)
    providers = {name: {"keys": [f"env:REAL_{name.upper()}"], "upstream_url": upstream.url} for name in PROVIDER_KEYS}
    providers["bedrock"] = {"aws": {"bearer": "env:REAL_BEDROCK"}, "upstream_url": upstream.url}
    configuration = {
        "upstream_ca_file": str(upstream.ca_file),
        "policy": {"path": str(EVERYTHING)},
        "providers": providers,
        "listen": LISTEN,
    }
    proxy = Wirekey(folder / "wirekey", configuration, environ=KEY_ENVIRONMENT)
    try:
        yield Replay(upstream, proxy, proxy.add_agent("alice"))
    finally:
        proxy.stop()
        upstream.close()
