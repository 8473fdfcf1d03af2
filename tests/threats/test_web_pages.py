"""THREATS 2.9, R17: web pages, and a gateway that requires no identity."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from tests.support.raw_client import RawClient, RawResponse, post
from tests.support.raw_upstream import RawUpstream, saying
from tests.support.running import KEY_ENVIRONMENT, SimulatorThread, Wirekey, behind, wait_for
from tests.threats.conftest import beginning

LISTEN = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
PAGE = "https://app.corp.example"
PERMISSIVE = b"\r\n".join(
    [
        b"HTTP/1.1 200 OK",
        b"Content-Type: application/json",
        b"Access-Control-Allow-Origin: *",
        b"access-control-allow-credentials: true",
        b"Access-Control-Expose-Headers: x-secret",
        b"Content-Length: 2",
        b"",
        b"{}",
    ]
)
"""The headers of a provider that allows every web page."""


@dataclass
class Doors:
    """Two Wirekeys before one simulator: `open` asks for no identity. Their Anthropic lets every page in."""

    simulator: SimulatorThread
    open: Wirekey
    closed: Wirekey
    token: str
    began: str = ""

    def ask(
        self, proxy: Wirekey, method="GET", path="/v1/models/gpt-4o-mini", host="localhost", **headers
    ) -> RawResponse:
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        with RawClient(proxy.running.gateway) as client:
            if method == "POST":
                client.send(post(*lines, path=path, host=host))
            else:
                client.send(post(*lines, path=path, host=host, method=method, body=b"", content_type=None))
            return client.read_response()

    def refused(self, status: int, code: str, method="GET", **more) -> None:
        answer = self.ask(self.open, method, **more)
        assert (answer.status, answer.json()["error"]["code"]) == (status, code)
        assert "access-control-allow-origin" not in answer.headers
        assert not self.simulator.seen
        event = self.open.finished_event(self.began)
        assert (event["outcome"], event["policy_reason"].partition(":")[0]) == ("denied", code)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    simulator = SimulatorThread(tmp_path_factory.mktemp("simulator"))
    with RawUpstream(simulator.simulator.certificate_folder, saying(PERMISSIVE)) as permissive:
        made = []
        for required in (False, True):
            more = {"listen": LISTEN, "identity": {"required": required}}
            more["gateway"] = {"cors": [PAGE], "names": ["wirekey.corp.example"]}
            configuration = behind(simulator, **more)
            configuration["providers"]["anthropic"]["upstream_url"] = permissive.url
            made.append(Wirekey(tmp_path_factory.mktemp("wirekey"), configuration, environ=KEY_ENVIRONMENT))
        yield Doors(simulator, *made, made[1].add_agent("alice"))
        for proxy in made:
            proxy.stop()
    simulator.stop()


@pytest.fixture
def doors(both) -> Doors:
    both.simulator.forget()
    both.began = beginning()
    return both


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_R17_a_web_page_cannot_call_with_the_provider_key(doors, method, site):
    path = "/v1/chat/completions" if method == "POST" else "/v1/models/gpt-4o-mini"
    doors.refused(403, "origin_refused", method, path=path, Sec_Fetch_Site=site)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:3000", f"{PAGE}.evil.example"])
def test_R17_nor_does_a_page_of_an_origin_that_is_not_listed(doors, origin):
    doors.refused(403, "origin_refused", "POST", path="/v1/chat/completions", Origin=origin)


def test_R17_nor_does_a_page_through_the_forward_proxy(doors):
    with RawClient(doors.open.running.forward) as client:
        assert client.connect("api.openai.com:443").status == 200
        client.start_tls(doors.open.root, "api.openai.com")
        client.send(post("Origin: https://evil.example"))
        answer = client.read_response()
    assert (answer.status, answer.json()["error"]["code"]) == (403, "origin_refused")
    assert not doors.simulator.seen


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "evil.example:80"]
)
def test_R17_another_name_that_resolves_to_this_address_is_refused(doors, host):
    doors.refused(421, "misdirected", host=host)


OWN = [
    "localhost",
    "LOCALHOST:8000",
    "api.localhost",
    "127.0.0.1:8000",
    "[::1]:8000",
    "192.0.2.7",
    "wirekey.corp.example",
]


@pytest.mark.parametrize("host", [*OWN, "wirekey.corp.example", "api.openai.com"])
@pytest.mark.parametrize("headers", [{}, {"Sec_Fetch_Site": "none"}, {"Sec_Fetch_Mode": "cors"}], ids=str)
def test_R17_programs_call_as_before(doors, host, headers):
    answer = doors.ask(doors.open, "POST", "/v1/chat/completions", host, **headers)
    assert answer.status == 200
    assert len(doors.simulator.seen) == 1


@pytest.mark.parametrize("which", ["open", "closed"])
def test_R17_cors_headers_of_a_provider_are_dropped(doors, which):
    more = {"Authorization": f"Bearer {doors.token}"} if which == "closed" else {}
    answer = doors.ask(getattr(doors, which), "GET", "/api/v1/anthropic/v1/models", **more)
    assert (answer.status, answer.body) == (200, b"{}")
    assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("which", ["open", "closed"])
def test_R17_a_listed_origin_may_call_and_read(doors, which):
    proxy = getattr(doors, which)
    more = {"Authorization": f"Bearer {doors.token}"} if which == "closed" else {}
    wait_for(lambda: doors.ask(proxy, path="/api/v1/anthropic/v1/models", **more).status == 200, "alice to be known")
    for path in ("/api/v1/anthropic/v1/models", "/api/v1/openai/v1/models"):
        answer = doors.ask(proxy, path=path, Origin=PAGE, Sec_Fetch_Site="cross-site", **more)
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, PAGE)
        assert "access-control-allow-credentials" not in answer.headers
    refused = doors.ask(proxy, path="/v1/nothing", Origin=PAGE, **more)
    assert (refused.status, refused.headers["access-control-allow-origin"]) == (404, PAGE)


@pytest.mark.parametrize("which", ["open", "closed"])
def test_R17_wirekey_responds_to_a_preflight_itself(doors, which):
    proxy = getattr(doors, which)
    asked = {
        "Access_Control_Request_Method": "POST",
        "Access_Control_Request_Headers": "authorization,content-type,x-stainless-os",
        "Access_Control_Request_Private_Network": "true",
    }
    answer = doors.ask(proxy, "OPTIONS", "/v1/chat/completions", Origin=PAGE, Sec_Fetch_Site="cross-site", **asked)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"] == asked["Access_Control_Request_Headers"]
    assert answer.headers["access-control-allow-private-network"] == "true"
    assert "content-length" not in answer.headers
    other = doors.ask(proxy, "OPTIONS", "/v1/chat/completions", Origin="https://evil.example", **asked)
    assert (other.status, json.loads(other.body)["error"]["code"]) == (403, "origin_refused")
    assert not [name for name in other.headers if name.startswith("access-control-")]
    assert not doors.simulator.seen
    assert proxy.finished_event(doors.began)["outcome"] == "denied"


def test_R17_a_page_that_sends_a_token_may_call_but_not_read_the_response(doors):
    answer = doors.ask(
        doors.closed,
        "POST",
        "/v1/chat/completions",
        Origin="https://other.example",
        Sec_Fetch_Site="cross-site",
        Authorization=f"Bearer {doors.token}",
    )
    assert answer.status == 200
    assert "access-control-allow-origin" not in answer.headers
