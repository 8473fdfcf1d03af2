"""`gemini-oauth-free`: a person's free tier, whose account Google does not know yet, with real SDKs and curl."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.end_to_end.test_translation import CLIENTS
from tests.support.google import stand_ins
from tests.support.running import KEY_ENVIRONMENT, PROVIDER_KEYS, SimulatorThread, Wirekey, behind
from tests.threats.conftest import beginning
from wirekey_simulator.code_assist import MADE_PROJECT
from wirekey_simulator.text import TEXT

LISTEN = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
TOKENS = {kind: f"ya29.sim-{kind}-free-canary-5c" for kind in ("slow", "stuck", "projectless")}
"""What Google does with each account; see the simulator's code_assist."""
MODEL = "gemini-oauth-free:gemini-2.5-pro"
BODY = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
AT_ONCE = 3
"""First calls of each account, at the same time."""
REGO = """
package wirekey.authz

default allow := true

deny contains "no flash for bob" if {
    input.agent.id == "bob"
    input.model == "gemini-2.5-flash"
}
"""


@pytest.fixture(scope="module")
def simulator(tmp_path_factory):
    keys = {name: [key] for name, key in PROVIDER_KEYS.items()} | {"code_assist": [*TOKENS.values()]}
    running = SimulatorThread(tmp_path_factory.mktemp("simulator"), keys=keys)
    yield running
    running.stop()


def seen_by(simulator, kind):
    """The requests with the token of an account."""
    wanted = f"Bearer {TOKENS[kind]}".encode()
    return [seen for seen in simulator.seen if wanted in (value for _, value in seen.headers)]


def generate(wirekey, agent="alice", model=MODEL, action="generateContent", body=BODY):
    path = f"{wirekey.base}/v1beta/models/{model.replace(':', '%3A')}:{action}"
    return httpx.post(path, json=body, headers={"x-goog-api-key": wirekey.tokens[agent]}, timeout=60)


@pytest.fixture(scope="module")
def served(tmp_path_factory, simulator):
    """A Wirekey for each account, after its first calls. `first`: their responses. `lookups`: what Google was asked."""
    found = {}
    environ = KEY_ENVIRONMENT | stand_ins(code_assist=simulator.url)
    policy = tmp_path_factory.mktemp("policies")
    (policy / "policy.rego").write_text(REGO)
    for kind, token in TOKENS.items():
        folder = tmp_path_factory.mktemp(kind)
        (folder / "login.json").write_text(
            json.dumps({"access_token": token, "expiry_date": int((time.time() + 7200) * 1000)})
        )
        backend = {"enabled": True, "login_file": str(folder / "login.json")}
        settings = {"listen": LISTEN}
        settings |= {"backends": {"gemini-oauth-free": backend}, "policy": {"path": str(policy), "timeout": 30}}
        proxy = found[kind] = Wirekey(folder / "wirekey", behind(simulator, **settings), environ=environ)
        proxy.base = f"http://{proxy.running.gateway}"
        proxy.tokens = {agent: proxy.add_agent(agent) for agent in ("alice", "bob")}
    with ThreadPoolExecutor(AT_ONCE * len(found)) as threads:
        first = {kind: [threads.submit(generate, proxy) for _ in range(AT_ONCE)] for kind, proxy in found.items()}
    for kind, proxy in found.items():
        proxy.first = [each.result() for each in first[kind]]
        proxy.lookups = [seen for seen in seen_by(simulator, kind) if "ontent" not in seen.target]
        proxy.calls = [seen for seen in seen_by(simulator, kind) if "ontent" in seen.target]
    yield found
    for proxy in found.values():
        proxy.stop()


@pytest.fixture
def wirekey(served, simulator):
    simulator.simulator.script.clear()
    simulator.forget()
    return served["slow"]


def program_of(wirekey, name):
    return CLIENTS[name](wirekey.base, wirekey.tokens["alice"], None)


# Onboarding.


def test_a_new_account_is_onboarded_once_for_all_first_calls(served):
    proxy = served["slow"]
    assert [response.status_code for response in proxy.first] == [200] * AT_ONCE
    load, onboard, *operations = proxy.lookups
    assert (load.target, onboard.target) == ("/v1internal:loadCodeAssist", "/v1internal:onboardUser")
    assert [seen.method for seen in operations] == ["GET", "GET"]
    assert all(seen.target.startswith("/v1internal/operations/") for seen in operations)
    for seen in (load, onboard):
        assert "cloudaicompanionProject" not in json.loads(seen.body)
        assert "duetProject" not in json.loads(seen.body)["metadata"]
    assert json.loads(onboard.body)["tierId"] == "free-tier"
    assert {json.loads(seen.body)["project"] for seen in proxy.calls} == {MADE_PROJECT}


def test_calls_of_an_account_without_a_project_name_none(served):
    proxy = served["projectless"]
    assert [response.status_code for response in proxy.first] == [200] * AT_ONCE
    assert len(proxy.lookups) == 3
    assert [json.loads(seen.body).get("project", "none") for seen in proxy.calls] == ["none"] * AT_ONCE


def test_an_account_that_cannot_be_onboarded_is_503_with_googles_reason(served, simulator):
    proxy = served["stuck"]
    for response in proxy.first:
        assert response.status_code == 503
        assert "Terms not accepted." in response.json()["error"]["message"]
    assert len(proxy.lookups) == 3
    assert proxy.calls == []
    events = proxy.finished_events(AT_ONCE)
    assert {(event["status"], event["outcome"], event["upstream"]) for event in events} == {
        (503, "denied", "gemini-oauth-free")
    }
    assert TOKENS["stuck"] not in proxy.output.read_text()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("client", ["openai.chat", "openai.responses", "gemini", "anthropic"])
def test_a_failed_onboarding_is_the_exception_of_each_sdk_and_not_repeated_at_once(served, simulator, client, stream):
    simulator.forget()
    program = program_of(served["stuck"], client)
    with pytest.raises(program.error, match="Terms not accepted"):
        (program.streamed if stream else program.plain)(MODEL)
    assert simulator.seen == []


# Calls.


@pytest.mark.parametrize("delivery", ["", "bytewise", "close"], ids=lambda value: value or "usual")
@pytest.mark.parametrize("client", ["openai.chat", "openai.responses", "gemini", "anthropic"])
def test_each_sdk_gets_the_text_whole_and_as_a_stream(wirekey, simulator, client, delivery):
    since = beginning()
    program = program_of(wirekey, client)
    for ask in (program.plain, program.streamed):
        if delivery:
            simulator.simulator.script.add(delivery)
        assert ask(MODEL) == TEXT
    for event in wirekey.finished_events(2, since):
        assert (event["upstream"], event["credential"]) == ("gemini-oauth-free", "gemini-oauth-free/login-file")
        assert (event["outcome"], event["finish_reason"], event["cost_usd"]) == ("completed", "STOP", None)
        assert event["output_tokens"] > 0


def test_no_prompt_and_no_response_is_kept(wirekey):
    prompt, said = "canary-of-a-prompt-3f", "canary-of-a-response-7d"
    script = f'{prompt} simulated-session: [{{"text": "{said}"}}]'
    for action in ("generateContent", "streamGenerateContent?alt=sse"):
        body = {"contents": [{"role": "user", "parts": [{"text": script}]}]}
        assert said in generate(wirekey, action=action, body=body).text
    refused = generate(wirekey, body={"contents": [{"parts": [{"text": prompt}]}], "store": prompt})
    assert refused.status_code == 400
    for path in wirekey.folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert not [word for word in (prompt, said, TOKENS["slow"]) if word.encode() in content], path


# The fallback.


@pytest.mark.parametrize("action", ["generateContent", "streamGenerateContent"])
def test_the_policy_decides_on_the_fallback_too(wirekey, simulator, action):
    """Alice gets the fallback. Bob may not call that model, so he gets the limit, and it is not sent."""
    model = f"gemini-oauth-free:gemini-9-{action.lower()}"
    limit = "fail=429,retry-after=3000"

    def sent():
        found = [json.loads(seen.body)["model"] for seen in simulator.seen]
        simulator.forget()
        return found

    simulator.simulator.script.add(limit)
    refused = generate(wirekey, "bob", model, action)
    assert (refused.status_code, sent()) == (429, [model.partition(":")[2]])
    assert 2900 < int(refused.headers["retry-after"]) <= 3000
    # Now the model rests, so the fallback would be the first attempt.
    refused = generate(wirekey, "bob", model, action)
    assert (refused.status_code, sent()) == (429, [])
    served = generate(wirekey, "alice", model, action)
    assert (served.status_code, sent()) == (200, ["gemini-2.5-flash"])
    assert served.headers["x-wirekey-model"] == "gemini-2.5-flash"
