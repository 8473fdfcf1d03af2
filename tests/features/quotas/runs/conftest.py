"""A running proxy with a gateway, and programs that call with the token of a run."""

from __future__ import annotations

import ssl
from itertools import count

import httpx
import pytest

from tests.support.running import KEY_ENVIRONMENT, PATIENCE, SimulatorThread, Wirekey, behind
from wirekey.core.identity.stored_runs import NewRun, StoredRuns

LISTEN = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello."}], "max_tokens": 1000}
URL = "https://api.openai.com/v1/chat/completions"
CENT = 10**7
COST = "tokens=1000"
"""Makes a call cost one cent and some more, which is what it reserves."""
numbers = count(1)


@pytest.fixture(scope="package")
def simulator(tmp_path_factory):
    running = SimulatorThread(tmp_path_factory.mktemp("simulator"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def proxy(tmp_path_factory, simulator):
    running = Wirekey(tmp_path_factory.mktemp("wirekey"), behind(simulator, listen=LISTEN), environ=KEY_ENVIRONMENT)
    yield running
    running.stop()


class Run:
    """A run of an agent of its own. Its program calls through the proxy, or at the gateway."""

    def __init__(self, proxy: Wirekey, *, mode: str = "HTTPS_PROXY", **limits) -> None:
        number = next(numbers)
        self.proxy, self.agent, self.name, self.mode = proxy, f"agent-{number}", f"run-{number}", mode
        self.agent_token = proxy.add_agent(self.agent)
        self.runs = StoredRuns(proxy.agents)
        self.token = self.runs.start(self.agent, NewRun(self.name, **limits), lifetime=3600)

    def client(self, token: str | None = None) -> httpx.Client:
        token = token or self.token
        by_proxy = self.mode == "HTTPS_PROXY"
        return httpx.Client(
            proxy=self.proxy.proxy_url(self.agent, token) if by_proxy else None,
            headers={"authorization": "Bearer none" if by_proxy else f"Bearer {token}"},
            verify=ssl.create_default_context(cafile=self.proxy.root),
            timeout=PATIENCE,
            trust_env=False,
        )

    @property
    def url(self) -> str:
        return URL if self.mode == "HTTPS_PROXY" else f"http://{self.proxy.running.gateway}/v1/chat/completions"

    def post(self, behaviour: str = COST, **body) -> httpx.Response:
        with self.client() as client:
            return client.post(self.url, json=CHAT | body, headers={"x-simulator": behaviour})

    def events(self) -> list[dict]:
        return [event for event in self.proxy.events() if event["agent_id"] == self.agent]
