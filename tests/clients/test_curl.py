"""curl, as people use it to try an API."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.support.conversation import direct_environment, installed, run_behind_exec
from tests.support.running import PATIENCE, PROVIDER_KEYS, wait_for

URL = "https://api.openai.com/v1/chat/completions"
BODY = (
    '{"model": "gpt-4o-mini",  "messages": [{"role": "user", "content": "Gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n"}]}'
)
STREAM = BODY[:-1] + ', "stream": true}'
ASKING = ["-sS", "-H", "Content-Type: application/json", "-H", "X-Own-HEADER: 1"]


def curl(stage, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run curl behind Wirekey, which sets HTTPS_PROXY and CURL_CA_BUNDLE."""
    return run_behind_exec(stage.proxy, installed("curl"), *ASKING, *arguments)


def run(command, environment) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=4 * PATIENCE, check=False)


def headers(seen):
    kept = [header for header in seen.headers if header[0].lower() not in (b"authorization", b"host")]
    return sorted(kept)


@pytest.mark.parametrize(("option", "protocol"), [("--http1.1", "h1"), ("--http2", "h2")])
def test_a_request_of_curl_arrives_unchanged_over_either_protocol(stage, option, protocol):
    response = curl(stage, option, "-d", BODY, URL)
    assert response.returncode == 0, response.stderr
    (through,) = stage.simulator.seen
    stage.simulator.forget()
    key = f"Authorization: Bearer {PROVIDER_KEYS['openai']}"
    direct = f"{stage.simulator.url}/v1/chat/completions"
    run(
        [installed("curl"), *ASKING, option, "-H", key, "-d", BODY, direct],
        direct_environment(stage.simulator),
    )
    (sent,) = stage.simulator.seen
    assert (through.protocol, sent.protocol) == (protocol, protocol)
    assert headers(through) == headers(sent)
    assert through.body == sent.body == BODY.encode()
    assert json.loads(response.stdout)["object"] == "chat.completion"


def test_the_proxy_may_be_named_by_the_option_x(stage):
    where = stage.proxy.proxy_url("alice", stage.token)
    command = [installed("curl"), *ASKING, "-x", where, "--cacert", str(stage.proxy.root), "-d", BODY, URL]
    response = run(command, {})
    assert response.returncode == 0, response.stderr
    assert json.loads(response.stdout)["object"] == "chat.completion"


def test_an_agents_token_can_replace_the_key(stage):
    where = f"http://{stage.proxy.running.forward}"
    key = f"Authorization: Bearer {stage.token}"
    command = [installed("curl"), *ASKING, "-x", where, "--cacert", str(stage.proxy.root), "-H", key, "-d", BODY, URL]
    assert json.loads(run(command, {}).stdout)["object"] == "chat.completion"
    assert stage.proxy.finished_event(stage.began)["agent_id"] == "alice"


def test_without_an_agent_curl_prints_wirekeys_message(stage):
    where = f"http://{stage.proxy.running.forward}"
    response = run([installed("curl"), *ASKING, "-x", where, "--cacert", str(stage.proxy.root), "-d", BODY, URL], {})
    assert "wirekey agents add NAME" in json.loads(response.stdout)["error"]["message"]


def test_curls_own_error_reports_a_wrong_token_for_the_proxy(stage):
    where = f"http://alice:wk_wrong@{stage.proxy.running.forward}"
    response = run([installed("curl"), *ASKING, "-v", "-x", where, "-d", BODY, URL], {})
    assert response.returncode == 56
    assert "407 Proxy Authentication Required: unknown agent, see wirekey agents add" in response.stderr


class Streaming:
    """curl -N in the middle of a stream that the provider holds after its first event."""

    def __init__(self, stage, *arguments: str) -> None:
        self.stage = stage
        where = stage.proxy.proxy_url("alice", stage.token)
        trust = ["--cacert", str(stage.proxy.root)]
        self.process = subprocess.Popen(
            [installed("curl"), "-N", *ASKING, "-x", where, *trust, *arguments, "-d", STREAM, URL],
            env={},
            stdout=subprocess.PIPE,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(PATIENCE)
        self.process.stdout.close()

    @property
    def seen(self):
        return wait_for(lambda: self.stage.simulator.seen, "the request to arrive")[0]


def test_with_option_n_the_first_event_arrives_before_the_provider_sends_the_second(stage):
    stage.script("gate")
    with Streaming(stage) as streaming:
        assert streaming.process.stdout.readline().startswith(b'data: {"id"')
        assert streaming.seen.events == 1
        stage.simulator.do(opened(stage))
        assert streaming.process.stdout.read().endswith(b"data: [DONE]\n\n")


async def opened(stage):
    stage.simulator.simulator.gate.open()


@pytest.mark.parametrize("option", ["--http1.1", "--http2"])
def test_the_provider_is_disconnected_if_curl_is_killed_in_a_stream(stage, option):
    stage.script("gate")
    with Streaming(stage, option) as streaming:
        assert streaming.process.stdout.readline()
        streaming.process.kill()
        wait_for(lambda: streaming.seen.outcome == "client_gone", "the provider to notice")


@pytest.mark.parametrize("option", ["--http1.1", "--http2"])
def test_the_provider_is_disconnected_if_curl_is_killed_before_the_response(stage, option):
    stage.script("headers-delay=3600")
    with Streaming(stage, option) as streaming:
        assert streaming.seen.outcome is None
        streaming.process.kill()
        wait_for(lambda: streaming.seen.outcome == "client_gone", "the provider to notice")
