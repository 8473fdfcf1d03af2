"""A backend that the operator has not enabled: every program gets 403 in its own format, and nothing is sent."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.end_to_end.test_translation import CLIENTS
from tests.support.conversation import installed
from tests.support.own_simulator import simulator
from tests.support.running import wirekey_behind
from tests.threats.conftest import beginning
from wirekey.providers.registry import BACKENDS

__all__ = ["simulator"]

LISTEN = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}


@pytest.fixture(scope="module")
def wirekey(tmp_path_factory, simulator):
    routes = [{"match": f"off-{name}", "provider": name, "model": "gemini-2.5-pro"} for name in BACKENDS]
    with wirekey_behind(tmp_path_factory.mktemp("wirekey"), simulator, listen=LISTEN, routes=routes) as proxy:
        proxy.base, proxy.token = f"http://{proxy.running.gateway}", proxy.add_agent("alice")
        yield proxy


@pytest.fixture(autouse=True)
def fresh(simulator):
    simulator.forget()


def status_of(error):
    """The status in an exception of any SDK."""
    if response := getattr(error, "response", None):
        if isinstance(response, dict):
            return response["ResponseMetadata"]["HTTPStatusCode"]
        return response.status_code
    return error.code


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_each_sdk_raises_its_exception_with_the_setting(wirekey, simulator, backend, client, stream):
    since = beginning()
    program = CLIENTS[client](wirekey.base, wirekey.token, wirekey.agents.pair("alice"))
    # Bedrock's SDK checks the names of models, so only a route leads to a backend there.
    names = [f"off-{backend}"] if client == "converse" else [f"off-{backend}", f"{backend}:gemini-2.5-pro"]
    for model in names:
        with pytest.raises(program.error, match=f"backends.{backend}.enabled") as refused:
            (program.streamed if stream else program.plain)(model)
        assert status_of(refused.value) == 403
    assert simulator.seen == []
    events = wirekey.finished_events(len(names), since)
    assert {(event["outcome"], event["status"]) for event in events} == {("denied", 403)}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("path", ["/v1beta/models/{}%3Agemini-2.5-pro:generateContent", "/v1/chat/completions"])
def test_curl_gets_the_error_of_the_format_that_it_calls(wirekey, simulator, backend, path):
    body = {"contents": [{"parts": [{"text": "Hi"}]}]}
    if "chat" in path:
        body = {"model": f"{backend}:gemini-2.5-pro", "messages": [{"role": "user", "content": "Hi"}]}
    command = [installed("curl"), "-sS", "-w", "\n%{http_code}", "-H", f"Authorization: Bearer {wirekey.token}"]
    command += ["-H", "Content-Type: application/json", "-d", json.dumps(body), wirekey.base + path.format(backend)]
    done = subprocess.run(command, env={}, capture_output=True, text=True, timeout=60, check=True)
    document, _, status = done.stdout.rpartition("\n")
    error = json.loads(document)["error"]
    assert status == "403"
    assert f"backends.{backend}.enabled" in error["message"]
    assert error["code"] == ("backend_not_enabled" if "chat" in path else 403)
    assert simulator.seen == []
