from __future__ import annotations

import json
import ssl
from collections.abc import Iterator

import httpx
import pytest
from websockets.sync.client import connect

from tests.features.metrics.exposition import Scraped
from tests.support.canaries import Canaries
from tests.support.redis_server import RedisServer
from tests.support.running import SimulatorThread, Wirekey, wait_for, wirekey_behind
from tests.support.stream_formats import FORMATS, RawWay
from wirekey.core.call import new_call_id

POLICY = """package wirekey.authz

deny contains "{secret}: models of this kind are not for agents" if startswith(input.model, "forbidden")

allow := true
"""
CHAT = "/v1/chat/completions"
ROUTES = [{"match": "translated", "provider": "anthropic", "model": "claude-sonnet-4-5"}]


class Served:
    """A `wirekey serve`, and calls of an agent and of a client without a token. `canaries` must not appear anywhere."""

    def __init__(self, proxy: Wirekey, canaries: Canaries) -> None:
        self.proxy = proxy
        self.canaries = canaries
        self.token = proxy.add_agent("alice", role="engineer")
        self.console = httpx.Client(base_url=f"http://{proxy.running.console}", timeout=60, trust_env=False)
        self.way = RawWay(proxy.root, proxy=proxy.proxy_url("alice", self.token))
        canaries.add("the agent's token", self.token)

    def chat(self, model: str = "gpt-4o-mini", behaviour: str = "", **body) -> int:
        said = self.canaries("prompt")
        content = {"model": model, "messages": [{"role": "user", "content": said}], **body}
        headers = {"content-type": "application/json", "x-canary": self.canaries("header")}
        path = f"{CHAT}?after={self.canaries('query')}"
        content = json.dumps(content).encode()
        request = self.way.request("openai", "POST", path, behaviour, content=content, headers=headers)
        return self.way.client.send(request).status_code

    def stream(self, name: str, behaviour: str = "") -> int:
        return self.way.stream(FORMATS[name], behaviour).status

    def session(self) -> None:
        """Hold a session over a WebSocket with one response."""
        proxy = self.proxy.proxy_url("alice", self.token)
        context = ssl.create_default_context(cafile=self.proxy.root)
        url = "wss://api.openai.com/v1/realtime?model=gpt-realtime"
        with connect(url, proxy=proxy, ssl=context) as socket:
            said = self.canaries("frame")
            socket.send(json.dumps({"type": "response.create", "response": {"instructions": said}}))
            while json.loads(socket.recv(60))["type"] != "response.done":
                pass

    def get(self, path: str) -> int:
        return self.way.client.send(self.way.request("openai", "GET", path)).status_code

    def stranger(self) -> int:
        """Call without a token."""
        way = RawWay(self.proxy.root, proxy=f"http://{self.proxy.running.forward}")
        return way.client.send(way.request("openai", "POST", CHAT, json={"model": "gpt-4o-mini"})).status_code

    def scrape(self) -> Scraped:
        response = self.console.get("/metrics")
        assert response.status_code == 200, response.text
        return Scraped(response.text)

    def scrape_of(self, calls: float) -> Scraped:
        """Scrape once so many calls have ended. The end of a call is counted after the client has its response."""

        def enough():
            scraped = self.scrape()
            return scraped if scraped.total("wirekey_calls_total") >= calls else None

        return wait_for(enough, f"{calls} calls in the metrics")


@pytest.fixture(scope="package")
def simulator(tmp_path_factory):
    running = SimulatorThread(tmp_path_factory.mktemp("simulator"))
    yield running
    running.stop()


@pytest.fixture(scope="package")
def redis(tmp_path_factory) -> Iterator[RedisServer]:
    """A server that several machines would share."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(scope="package")
def served(redis, tmp_path_factory, simulator) -> Served:
    canaries = Canaries()
    folder = tmp_path_factory.mktemp("served")
    (folder / "policy").mkdir()
    (folder / "policy" / "authz.rego").write_text(POLICY.format(secret=canaries("policy")))
    listen = {"forward": "127.0.0.1:0", "gateway": None, "console": "127.0.0.1:0"}
    with wirekey_behind(
        folder / "wirekey",
        simulator,
        listen=listen,
        shared_state=redis.url,
        policy={"path": str(folder / "policy")},
        timeouts={"idle": 2},
        audit={"sinks": [{"type": "syslog", "address": "udp://127.0.0.1:9"}]},
        routes=ROUTES,
        quotas=[{"name": "roomy", "per": "all", "concurrent": 1000}],
    ) as proxy:
        yield Served(proxy, canaries)


@pytest.fixture
def since() -> str:
    return new_call_id()
