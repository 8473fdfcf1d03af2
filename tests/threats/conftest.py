from __future__ import annotations

import time
from dataclasses import dataclass

import pytest

from tests.secrecy.conftest import ServeWeb
from tests.support.raw_client import RawClient, RawResponse, some_delivery
from tests.support.running import KEY_ENVIRONMENT, SimulatorThread, Wirekey, behind, wirekey_behind
from tests.threats.mitmweb_page import Page
from wirekey.core.call import new_call_id

OPENAI = "api.openai.com"


@dataclass
class Stage:
    """What is attacked: a Wirekey with the agents alice and bob, and the simulator behind it."""

    simulator: SimulatorThread
    proxy: Wirekey
    alice: str
    bob: str
    began: str = ""
    """A call id that sorts before those of this test."""

    def client(self) -> RawClient:
        return RawClient(self.proxy.running.forward)

    def tunnel(self, host: str = OPENAI, token: str | None = None, alpn=("http/1.1",)) -> RawClient:
        """Return a client inside a tunnel, after the TLS handshake, of alice by default, of no agent for ""."""
        client = self.client()
        token = self.alice if token is None else token
        answer = client.connect(f"{host}:443", "" if not token else "alice" if token == self.alice else "bob", token)
        assert answer.status == 200, answer
        client.start_tls(self.proxy.root, host, alpn)
        return client

    def ask(self, request: bytes, host: str = OPENAI, token: str | None = None) -> RawResponse:
        """Send a request in one of the deliveries, which depends on its bytes, and return the response."""
        with self.tunnel(host, token) as client:
            client.send_request(request, some_delivery(request))
            return client.read_response()

    def denied(self, request: bytes, status: int, host: str = OPENAI) -> dict:
        """Assert that a request is refused with this status, reaches no provider and is recorded. Return its event."""
        answer = self.ask(request, host)
        assert answer.status == status, (answer, some_delivery(request))
        assert self.nothing_arrived()
        event = self.event()
        assert event["outcome"] == "denied"
        assert event["policy_result"] == "deny"
        assert event["status"] == status
        return event

    def event(self) -> dict:
        """The audit event of the only call of this test."""
        return self.proxy.finished_event(self.began)

    def nothing_arrived(self) -> bool:
        return not self.simulator.seen

    def arrived(self):
        """The one request that reached the provider."""
        (seen,) = self.simulator.seen
        return seen


def beginning() -> str:
    """Return a call id after those of all calls so far. Ids of the same millisecond are not in order."""
    time.sleep(0.002)
    return new_call_id()


@pytest.fixture(scope="session")
def running_stage(tmp_path_factory):
    simulator = SimulatorThread(tmp_path_factory.mktemp("simulator"))
    with wirekey_behind(tmp_path_factory.mktemp("wirekey"), simulator, limits={"body_bytes": "1MiB"}) as proxy:
        yield Stage(simulator, proxy, proxy.add_agent("alice", role="engineer"), proxy.add_agent("bob"))
    simulator.stop()


@pytest.fixture
def stage(running_stage) -> Stage:
    running_stage.simulator.forget()
    running_stage.began = beginning()
    return running_stage


@pytest.fixture(scope="package")
def web_stage(running_stage, tmp_path_factory):
    """A Wirekey with mitmweb's page, before the same simulator."""
    proxy = ServeWeb(tmp_path_factory.mktemp("web"), behind(running_stage.simulator), environ=KEY_ENVIRONMENT)
    stage = Stage(running_stage.simulator, proxy, proxy.add_agent("alice"), proxy.add_agent("bob"))
    stage.page = Page(*proxy.web)
    yield stage
    proxy.stop()


@pytest.fixture
def web(web_stage):
    web_stage.simulator.forget()
    web_stage.began = beginning()
    yield web_stage
    web_stage.page("PUT", "/options", json={"intercept": None})
    web_stage.page("POST", "/clear")
