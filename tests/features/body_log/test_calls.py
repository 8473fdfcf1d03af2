"""`log.bodies`: requests and responses in a file of their own, without any credential, and nowhere else."""

from __future__ import annotations

import json
import stat

import anthropic
import httpx
import openai
import pytest
from google import genai

from tests.support.own_simulator import simulator
from tests.support.raw_client import CHAT
from tests.support.running import PROVIDER_KEYS, wait_for, wirekey_behind
from tests.threats.conftest import beginning

__all__ = ["simulator"]

LISTEN = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
PROMPT = "a prompt that only the log of bodies may contain"
QUESTION = [{"role": "user", "content": PROMPT}]


@pytest.fixture(scope="module")
def wirekey(tmp_path_factory, simulator):
    folder = tmp_path_factory.mktemp("wirekey")
    with wirekey_behind(folder, simulator, listen=LISTEN, log={"format": "json", "bodies": "bodies.jsonl"}) as running:
        running.token = running.add_agent("alice")
        yield running


@pytest.fixture
def began():
    return beginning()


def base(wirekey):
    return f"http://{wirekey.running.gateway}"


def lines(wirekey):
    """All lines of the log."""
    file = wirekey.folder / "bodies.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def logged(wirekey, event):
    """The two lines of a call."""

    def both():
        found = [line for line in lines(wirekey) if line["call"] == event["id"]]
        return found if len(found) == 2 else None

    request, response = wait_for(both, "the lines of a call")
    assert (request["kind"], response["kind"]) == ("request", "response")
    return request, response


def ask(wirekey, content, **headers):
    given = {"authorization": f"Bearer {wirekey.token}", "content-type": "application/json", **headers}
    return httpx.post(base(wirekey) + "/v1/chat/completions", content=content, headers=given)


def test_a_call_leaves_its_request_and_its_response(wirekey, began):
    content = json.dumps({"model": "gpt-4o-mini", "messages": QUESTION}).encode()
    answer = ask(wirekey, content, **{"x-note": "kept"})
    request, response = logged(wirekey, wirekey.finished_event(began))
    assert (request["agent_id"], request["provider"], request["operation"]) == ("alice", "openai", "chat.completions")
    assert (request["method"], request["host"], request["path"]) == ("POST", "api.openai.com", "/v1/chat/completions")
    assert request["body"].encode() == content
    assert ["x-note", "kept"] in request["headers"]
    assert (response["status"], response["body"]) == (200, answer.text)
    assert "truncated" not in request
    assert "truncated" not in response


@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini"])
def test_streams_are_logged_as_the_client_got_them(wirekey, began, provider):
    if provider == "openai":
        client = openai.OpenAI(api_key=wirekey.token, base_url=base(wirekey) + "/v1", max_retries=0)
        list(client.chat.completions.create(model="gpt-4o-mini", messages=QUESTION, stream=True))
        last = "data: [DONE]"
    elif provider == "anthropic":
        claude = anthropic.Anthropic(api_key=wirekey.token, base_url=base(wirekey), max_retries=0)
        list(claude.messages.create(model="claude-haiku-4-5", max_tokens=64, messages=QUESTION, stream=True))
        last = "message_stop"
    else:
        gemini = genai.Client(api_key=wirekey.token, http_options={"base_url": base(wirekey)})
        list(gemini.models.generate_content_stream(model="gemini-2.5-flash", contents=PROMPT))
        last = "finishReason"
    request, response = logged(wirekey, wirekey.finished_event(began))
    assert PROMPT in request["body"]
    assert last in response["body"]
    assert '"prompt_tokens"' not in response["body"], "the client did not ask for them"


def test_the_file_is_private_and_the_start_says_so(wirekey):
    file = wirekey.folder / "bodies.jsonl"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert wirekey.output.read_text().count("REQUESTS AND RESPONSES ARE LOGGED") == 2, "in the banner and in the log"


def test_no_credential_is_logged(wirekey, began):
    """Also where a program writes its token into the prompt, and where an error quotes the provider's key."""
    quoting = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": f"key: {wirekey.token}"}]})
    key = PROVIDER_KEYS["openai"]
    ask(wirekey, quoting, cookie="session=of-the-browser", **{"x-openai-key": "sk-of-the-client"})
    ask(wirekey, json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": key}]}))
    url = base(wirekey) + f"/v1/chat/completions?key={wirekey.token}"
    httpx.post(url, content=CHAT, headers={"content-type": "application/json"})
    for event in wirekey.finished_events(3, began):
        logged(wirekey, event)
    text = (wirekey.folder / "bodies.jsonl").read_text()
    for secret in (wirekey.token, wirekey.token[3:], *PROVIDER_KEYS.values(), "of-the-browser", "sk-of-the-client"):
        assert secret not in text


def test_a_refused_request_is_not_logged(wirekey, began):
    assert ask(wirekey, b'{"model":"gpt-4o-mini"').status_code == 400
    wirekey.finished_event(began)
    assert ask(wirekey, CHAT).status_code == 200
    events = wirekey.finished_events(2, began)
    logged(wirekey, events[1])
    assert events[0]["id"] not in {line["call"] for line in lines(wirekey)}


def test_the_audit_and_the_log_have_no_content(wirekey, began):
    ask(wirekey, json.dumps({"model": "gpt-4o-mini", "messages": QUESTION}))
    logged(wirekey, wirekey.finished_event(began))
    assert PROMPT not in wirekey.output.read_text()
    for file in wirekey.state.rglob("*"):
        assert not file.is_file() or PROMPT.encode() not in file.read_bytes()


def test_the_beginning_of_a_large_body_is_logged(wirekey, began):
    content = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "x" * 6_000_000}]})
    assert ask(wirekey, content).status_code == 200
    request, _ = logged(wirekey, wirekey.finished_event(began))
    assert request["truncated"] is True
    assert request["size"] == len(content)
    assert len(request["body"]) == 1024 * 1024


def test_without_the_setting_nothing_is_logged(tmp_path, simulator):
    with wirekey_behind(tmp_path, simulator, listen=LISTEN) as running:
        running.token = running.add_agent("alice")
        assert ask(running, json.dumps({"model": "gpt-4o-mini", "messages": QUESTION})).status_code == 200
        running.finished_event()
        assert "REQUESTS AND RESPONSES ARE LOGGED" not in running.output.read_text()
        assert [file for file in tmp_path.rglob("*") if file.is_file() and PROMPT.encode() in file.read_bytes()] == []
