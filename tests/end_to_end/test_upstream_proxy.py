"""Calls through a company's own proxy: the tunnel, TLS inside it, and what holds for addresses."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import openai
import pytest

from tests.support.company_proxy import company_proxy
from tests.support.raw_client import RawClient
from tests.support.running import KEY_ENVIRONMENT, PROVIDER_KEYS, Wirekey, behind
from wirekey.core.call import new_call_id

LISTEN = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
MESSAGES = [{"role": "user", "content": "x"}]
PASSWORD = "password-of-the-proxy-3c1f"


@pytest.fixture
def proxy(simulator):
    address = urlsplit(simulator.url)
    with company_proxy((address.hostname, address.port), credentials=f"corp:{PASSWORD}") as running:
        yield running


@pytest.fixture
def served(tmp_path, simulator, proxy):
    """Start a Wirekey whose providers have their own names, which only the company's proxy knows."""
    started = []

    def start(environ=None, **more) -> Wirekey:
        configuration = behind(simulator, listen=LISTEN, **more)
        for settings in configuration["providers"].values():
            del settings["upstream_url"]
        configuration = configuration | more
        running = Wirekey(tmp_path, configuration, environ=KEY_ENVIRONMENT | (environ or {}))
        running.token = running.add_agent("alice")
        started.append(running)
        return running

    yield start
    for running in started:
        running.stop()


def setting(proxy, **more):
    return {"url": f"http://corp@127.0.0.1:{proxy.port}", "password": "env:PROXY_PASSWORD", **more}


def chat(served, **options):
    client = openai.OpenAI(api_key=served.token, base_url=f"http://{served.running.gateway}/v1", max_retries=0)
    return client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, **options)


@pytest.mark.parametrize("reuse", [True, False], ids=["pooled", "one by one"])
def test_calls_go_through_the_proxy_with_tls_inside(served, proxy, simulator, reuse):
    running = served({"PROXY_PASSWORD": PASSWORD}, upstream_proxy=setting(proxy), upstream_connections={"reuse": reuse})
    began = new_call_id()
    assert chat(running).choices[0].message.content
    pieces = [chunk.choices[0].delta.content for chunk in chat(running, stream=True) if chunk.choices]
    assert "".join(filter(None, pieces))
    assert set(proxy.asked) == {"CONNECT api.openai.com:443 HTTP/1.1"}
    assert {seen.sni for seen in simulator.seen} == {"api.openai.com"}
    assert [event["outcome"] for event in running.finished_events(2, began)] == ["completed"] * 2
    for secret in (PROVIDER_KEYS["openai"], running.token, "gpt-4o-mini"):
        assert secret.encode() not in proxy.passed
    assert "on the way out (upstream_proxy)" in running.output.read_text()
    for written in (running.output.read_text(), str(running.events())):
        assert PASSWORD not in written


def test_the_list_of_models_is_fetched_through_it(served, proxy):
    running = served({"PROXY_PASSWORD": PASSWORD}, upstream_proxy=setting(proxy))
    client = openai.OpenAI(api_key=running.token, base_url=f"http://{running.running.gateway}/v1", max_retries=0)
    assert any(model.id == "gpt-4o-mini" for model in client.models.list())
    assert "CONNECT api.openai.com:443 HTTP/1.1" in proxy.asked


def test_the_proxy_of_the_environment_is_used_and_said_at_start(served, proxy):
    running = served({"HTTPS_PROXY": f"http://corp:{PASSWORD}@127.0.0.1:{proxy.port}", "NO_PROXY": "example.com"})
    assert chat(running).choices
    assert proxy.asked == ["CONNECT api.openai.com:443 HTTP/1.1"]
    assert re.search(rf"proxy +127\.0\.0\.1:{proxy.port} on the way out \(HTTPS_PROXY\)", running.output.read_text())
    assert PASSWORD not in running.output.read_text()


def test_wrong_credentials_of_the_proxy_are_a_502_that_says_so(served, proxy, simulator):
    running = served({"PROXY_PASSWORD": "wrong"}, upstream_proxy=setting(proxy))
    with pytest.raises(openai.APIStatusError, match=r"407.*check upstream_proxy") as refused:
        chat(running)
    assert refused.value.status_code == 502
    assert simulator.seen == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "refused the tunnel .403"),
        (b"HTTP/1.1 200 OK\r\n\r\nsmuggled", "more than its response"),
        (b"rubbish\r\n\r\n", "no HTTP status"),
    ],
)
def test_a_proxy_that_opens_no_tunnel_gets_nothing(served, proxy, simulator, answer, words):
    proxy.answer = answer
    running = served({"PROXY_PASSWORD": PASSWORD}, upstream_proxy=setting(proxy), failover={"max_attempts": 1})
    with pytest.raises(openai.APIStatusError, match=words):
        chat(running)
    assert simulator.seen == []


def test_another_server_behind_the_proxy_gets_no_key(tmp_path, served, proxy, simulator):
    """The tunnel leads to a server whose certificate is not trusted, as one of an inspecting proxy would be."""
    running = served({"PROXY_PASSWORD": PASSWORD}, upstream_proxy=setting(proxy), upstream_ca_file=None)
    with pytest.raises(openai.APIStatusError, match="could not be verified, so no key was sent"):
        chat(running)
    assert simulator.seen == []
    assert PROVIDER_KEYS["openai"].encode() not in proxy.passed


def test_what_no_proxy_names_is_reached_directly(served, proxy):
    running = served(
        {"PROXY_PASSWORD": PASSWORD},
        upstream_proxy=setting(proxy, no_proxy=["api.openai.com"]),
        failover={"max_attempts": 1},
    )
    with pytest.raises(openai.APIStatusError):
        chat(running)
    assert proxy.asked == []


@pytest.mark.parametrize("host", ["10.0.0.5", "169.254.169.254", "127.0.0.1", "localhost"])
def test_D2_a_tunnel_to_a_private_address_is_refused_before_the_proxy(served, proxy, host):
    running = served({"PROXY_PASSWORD": PASSWORD}, upstream_proxy=setting(proxy))
    with RawClient(running.running.forward) as client:
        client.connect(f"{host}:443", "alice", running.token)
    assert proxy.asked == []


def test_D3_a_name_that_only_the_proxy_knows_needs_a_line_in_egress_allow(served, proxy):
    running = served({"PROXY_PASSWORD": PASSWORD}, upstream_proxy=setting(proxy), egress={"allow": ["known.invalid"]})
    for host in ("inside.invalid", "known.invalid"):
        with RawClient(running.running.forward) as client:
            assert client.connect(f"{host}:443", "alice", running.token).status == 200
            with pytest.raises(OSError):  # what is behind the stand-in has another name
                client.start_tls(running.root, host)
    assert proxy.asked == ["CONNECT known.invalid:443 HTTP/1.1"]
