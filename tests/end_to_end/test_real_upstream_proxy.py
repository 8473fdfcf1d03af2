"""Calls through tinyproxy, a real proxy on the way out: credentials, refusals, and a proxy that dies.

tinyproxy connects through a second proxy, a stand-in that leads every name to the simulator.
"""

from __future__ import annotations

import contextlib
from urllib.parse import urlsplit

import httpx
import openai
import pytest

from tests.support.company_proxy import company_proxy
from tests.support.running import KEY_ENVIRONMENT, Wirekey, behind, wait_for
from tests.support.tinyproxy import tinyproxy
from wirekey.core.call import new_call_id

LISTEN = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
MESSAGES = [{"role": "user", "content": "x"}]
PASSWORD = "password-of-the-proxy-8d2e"
TO_OPENAI = "CONNECT api.openai.com:443 HTTP/1.1"
AWS_PAIR = {"AWS_A": "AKIAORGANISATION0001", "AWS_B": "secret-of-the-organisation-7a41"}
ROLE = "arn:aws:iam::123456789012:role/wirekey"


@pytest.fixture
def next_proxy(simulator):
    address = urlsplit(simulator.url)
    with company_proxy((address.hostname, address.port)) as running:
        yield running.port


@pytest.fixture
def real(tmp_path, next_proxy):
    """Start a tinyproxy with more settings."""
    with contextlib.ExitStack() as stack:
        yield lambda *lines: stack.enter_context(tinyproxy(tmp_path / "tinyproxy", next_proxy, *lines))


@pytest.fixture
def served(tmp_path, simulator):
    """Start a Wirekey whose providers have their own names, and whose way out is a proxy."""
    with contextlib.ExitStack() as stack:

        def start(proxy, password: str = "", **more) -> Wirekey:
            configuration = behind(simulator, listen=LISTEN)
            for settings in configuration["providers"].values():
                del settings["upstream_url"]
            setting = {"url": f"http://{'corp@' if password else ''}127.0.0.1:{proxy.port}"}
            if password:
                setting["password"] = "env:PROXY_PASSWORD"
            configuration |= {"upstream_proxy": setting, "failover": {"max_attempts": 1}} | more
            running = Wirekey(
                tmp_path / "wirekey", configuration, environ=KEY_ENVIRONMENT | AWS_PAIR | {"PROXY_PASSWORD": password}
            )
            stack.callback(running.stop)
            running.token = running.add_agent("alice")
            return running

        yield start


def client_of(served) -> openai.OpenAI:
    return openai.OpenAI(api_key=served.token, base_url=f"http://{served.running.gateway}/v1", max_retries=0)


def chat(served, model: str = "gpt-4o-mini", **options):
    return client_of(served).chat.completions.create(model=model, messages=MESSAGES, **options)


def test_calls_and_streams_go_through_it_with_its_credentials(real, served):
    proxy = real(f"BasicAuth corp {PASSWORD}")
    running = served(proxy, PASSWORD)
    assert chat(running).choices[0].message.content
    pieces = [chunk.choices[0].delta.content for chunk in chat(running, stream=True) if chunk.choices]
    assert "".join(filter(None, pieces))
    assert proxy.asked
    assert set(proxy.asked) == {TO_OPENAI}
    assert PASSWORD not in running.output.read_text()


def test_wrong_credentials_are_a_502_that_says_so(real, served, simulator):
    running = served(real(f"BasicAuth corp {PASSWORD}"), "wrong")
    with pytest.raises(openai.APIStatusError, match="check upstream_proxy") as refused:
        chat(running)
    assert refused.value.status_code == 502
    assert simulator.seen == []


def test_a_host_that_it_refuses_is_a_502_with_its_status(real, served, simulator):
    running = served(real("ConnectPort 8443"))
    with pytest.raises(openai.APIStatusError, match=r"refused the tunnel \(403\)") as refused:
        chat(running)
    assert refused.value.status_code == 502
    assert simulator.seen == []


def test_a_dead_proxy_is_a_502_and_its_return_is_noticed_at_once(real, served):
    proxy = real()
    running = served(proxy)
    assert chat(running).choices
    proxy.stop()
    began = new_call_id()
    with pytest.raises(openai.APIStatusError) as refused:
        chat(running)
    assert refused.value.status_code == 502
    assert running.finished_event(began)["outcome"] == "upstream_error"
    proxy.start()
    assert chat(running).choices


def test_a_proxy_that_dies_ends_the_streams_inside_it(real, served, simulator):
    proxy = real()
    running = served(proxy)
    began = new_call_id()
    stream = chat(running, model="gpt-4o-mini-sim-stall-2", stream=True)
    next(stream)
    proxy.stop()
    with pytest.raises((openai.APIError, httpx.HTTPError)):
        list(stream)
    assert running.finished_event(began)["outcome"] in ("upstream_reset", "truncated")


OWN_REQUESTS = {
    "keys of an issuer": (
        "id.invalid",
        {"identity": {"jwt": {"issuers": [{"issuer": "id", "jwks_url": "https://id.invalid/keys", "audience": "x"}]}}},
    ),
    "decisions of OPA": ("opa.invalid", {"policy": {"opa_url": "https://opa.invalid", "timeout": 5}}),
    "sessions of a role": (
        "sts.us-east-1.amazonaws.com",
        {"providers": {"bedrock": {"aws": {"access_key": "env:AWS_A", "secret_key": "env:AWS_B", "role_arn": ROLE}}}},
    ),
}


@pytest.mark.parametrize(("host", "configuration"), OWN_REQUESTS.values(), ids=OWN_REQUESTS)
def test_wirekeys_own_requests_go_through_it(real, served, host, configuration):
    """The stand-in behind tinyproxy leads all names to the simulator, so none of these requests succeeds."""
    proxy = real()
    running = served(proxy, **configuration)
    headers = {"Authorization": f"Bearer {running.token}"}
    body = {"messages": [{"role": "user", "content": [{"text": "x"}]}]}

    def is_asked() -> bool:
        httpx.post(f"http://{running.running.gateway}/model/m/converse", json=body, headers=headers, timeout=60)
        return f"CONNECT {host}:443 HTTP/1.1" in proxy.asked

    wait_for(is_asked, f"the proxy to be asked for {host}")
