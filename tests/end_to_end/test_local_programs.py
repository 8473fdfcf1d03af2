"""Calls that a local program answers by the Agent Client Protocol, with real SDKs through the gateway and the proxy."""

from __future__ import annotations

import json
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anthropic
import httpx
import openai
import pytest
from google import genai
from google.genai import errors as genai_errors

import wirekey_simulator
from tests.end_to_end.test_translation import CLIENTS, Anthropic, Chat, Gemini
from tests.support.running import KEY_ENVIRONMENT, PATIENCE, SimulatorThread, Wirekey, behind, wait_for
from tests.threats.conftest import beginning
from wirekey_simulator.acp_program import FLOOD, TEXT

LISTEN = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
MODEL = "gemini-cli-acp:google/gemini-3-flash-preview"
CANARY = "canary-of-the-environment"


def program(folder: Path) -> Path:
    """A `gemini` that is the simulator's stand-in. Each process notes its id."""
    script = Path(wirekey_simulator.__file__).parent / "acp_program.py"
    path = folder / "gemini"
    path.write_text(f'#!/bin/sh\necho $$ >> "{folder}/started"\nexec "{sys.executable}" -S -E "{script}" "$@"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("programs").resolve()


@pytest.fixture(scope="module")
def wirekey(tmp_path_factory, folder):
    simulator = SimulatorThread(tmp_path_factory.mktemp("simulator"))
    for name in ("usual", "projects/one", "projects/two", "elsewhere"):
        (folder / name).mkdir(parents=True)
    acp = {
        "enabled": True,
        "gemini_cli_executable": str(program(folder)),
        "workspace": str(folder / "usual"),
        "workspaces": [str(folder / "projects")],
        "process_timeout": 2,
        "models": ["gemini-3-flash-preview", "google/gemini-2.5-pro"],
        "processes": 6,
    }
    configuration = behind(
        simulator,
        listen=LISTEN,
        backends={"gemini-cli-acp": acp},
        session_affinity={"header": "x-session-id"},
        failover={"max_attempts": 1},
        routes=[
            {"match": "by-provider", "provider": "gemini-cli-acp"},
            {"match": "by-model", "model": "gemini-cli-acp:google/gemini-3-flash-preview"},
        ],
    )
    environ = {**KEY_ENVIRONMENT, "SOME_API_KEY": CANARY, "WIREKEY_SOMETHING": CANARY}
    running = Wirekey(tmp_path_factory.mktemp("wirekey"), configuration, environ=environ)
    yield running
    running.stop()
    simulator.stop()


@pytest.fixture(scope="module")
def way(wirekey):
    token = wirekey.add_agent("alice")
    return f"http://{wirekey.running.gateway}", token, wirekey.agents.pair("alice")


@pytest.fixture(scope="module")
def chat(way):
    return Chat(*way).client


def ask(client, *texts, stream=False, model=MODEL, **more):
    """Ask with messages that alternate between user and assistant, and return the text of the response."""
    messages = [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(texts)]
    found = client.chat.completions.create(model=model, messages=messages, stream=stream, **more)
    if not stream:
        return found.choices[0].message.content
    return "".join(chunk.choices[0].delta.content or "" for chunk in found if chunk.choices)


@pytest.mark.parametrize("client", CLIENTS)
def test_every_sdk_gets_what_the_program_says(way, wirekey, client):
    since = beginning()
    found = CLIENTS[client](*way)
    assert (found.plain(MODEL), found.streamed(MODEL)) == (TEXT, TEXT)
    for event in wirekey.finished_events(2, since):
        assert (event["requested_model"], event["model"]) == (MODEL, "gemini-3-flash-preview")
        assert (event["upstream"], event["credential"]) == ("gemini-cli-acp", "gemini-cli-acp")
        assert (event["status"], event["outcome"], event["finish_reason"]) == (200, "completed", "STOP")
        assert (event["input_tokens"], event["output_tokens"], event["cost_usd"]) == (None, None, None)


def test_a_program_gets_no_secret_of_wirekey_and_the_bare_name_of_the_model(chat):
    found = json.loads(ask(chat, "[environment]"))
    assert not [name for name in found if "KEY" in name or name.startswith(("REAL", "WIREKEY"))]
    assert json.loads(ask(chat, "[arguments]")) == ["--experimental-acp", "--model", "gemini-3-flash-preview"]


def test_a_response_names_the_model_as_it_was_asked_for(chat, way):
    found = chat.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "Hi"}])
    assert (found.model, found.choices[0].finish_reason) == (MODEL, "stop")
    assert generated(way, "Hi").model_version == MODEL


def generated(way, contents):
    """Return the response to a call with Google's own SDK."""
    program = Gemini(*way)
    return program.client.models.generate_content(model=MODEL, contents=contents)


@pytest.mark.parametrize("word", ["max_tokens", "refusal"])
def test_the_reason_to_stop_is_that_of_the_clients_format(chat, way, word):
    expected = {
        "max_tokens": ("length", "MAX_TOKENS", "max_tokens"),
        "refusal": ("content_filter", "SAFETY", "refusal"),
    }
    messages = [{"role": "user", "content": f"[{word}]"}]
    found = chat.chat.completions.create(model=MODEL, messages=messages).choices[0].finish_reason
    native = generated(way, f"[{word}]").candidates[0].finish_reason
    claude = Anthropic(*way).client.messages.create(model=MODEL, messages=messages, max_tokens=50).stop_reason
    assert (found, native.value, claude) == expected[word]


def test_reasoning_is_shown_where_the_format_has_it(chat, way):
    assert ask(chat, "[thoughts]") == ask(chat, "[thoughts]", stream=True) == TEXT
    parts = generated(way, "[thoughts]").candidates[0].content.parts
    assert [(part.thought, part.text) for part in parts] == [(True, "I think of birds."), (None, TEXT)]


def test_a_conversation_of_an_sdk_goes_on_in_its_session(chat, way):
    """The program gets the new message only. A streamed response counts like a whole one."""
    headers = {"x-session-id": "conversation"}
    assert ask(chat, "Hello", stream=True, extra_headers=headers) == TEXT
    session, count, text = json.loads(ask(chat, "Hello", TEXT, "Why? [prompt]", extra_headers=headers))
    assert (count, text) == (2, "Why? [prompt]")
    other, count, text = json.loads(ask(chat, "Hello", "Changed.", "Why? [prompt]", extra_headers=headers))
    assert (count, other != session) == (1, True)
    assert text.startswith("User: Hello")


@pytest.mark.parametrize(
    ("asked", "sent"), [("by-provider", "gemini-2.5-flash"), ("by-model", "gemini-3-flash-preview")]
)
def test_a_route_may_lead_to_the_program(chat, wirekey, asked, sent):
    """A model that is not one of Gemini's becomes that of the setting."""
    since = beginning()
    assert json.loads(ask(chat, "[arguments]", model=asked)) == ["--experimental-acp", "--model", sent]
    event = wirekey.finished_event(since)
    assert (event["requested_model"], event["model"], event["upstream"]) == (asked, sent, "gemini-cli-acp")


def test_two_agents_never_share_a_program(chat, wirekey, way, folder):
    other = Chat(way[0], wirekey.add_agent("bob"), None).client
    before = len((folder / "started").read_text().split())
    assert ask(chat, "Hi") == ask(other, "Hi") == TEXT
    _, count, _ = json.loads(ask(other, "Hi", TEXT, "Why? [prompt]"))
    assert count == 2
    assert len((folder / "started").read_text().split()) > before


def test_its_models_are_listed_with_their_backend(chat, way):
    """The policy decides on each, as for a call."""
    listed = [model.id for model in chat.models.list()]
    assert listed.count(MODEL) == listed.count("gemini-cli-acp:google/gemini-2.5-pro") == 1
    assert {model.owned_by for model in chat.models.list() if model.id.startswith("gemini-cli-acp:")} == {"google"}


def test_a_flood_arrives_whole(chat):
    assert ask(chat, "[flood]", stream=True) == "x" * 1024 * FLOOD


@pytest.mark.parametrize("given", ["project_dir", "workspace_path", "cwd", "project", "header", "extra_body"])
def test_a_request_may_choose_a_folder_below_an_allowed_one(chat, folder, given):
    for name in ("one", "two"):
        wanted = str(folder / "projects" / name)
        more = {"extra_body": {given: wanted}}
        if given == "header":
            more = {"extra_headers": {"x-wirekey-workspace": wanted}}
        elif given == "extra_body":
            more = {"extra_body": {"extra_body": {"project_dir": wanted, "cwd": "."}}}
        assert json.loads(ask(chat, "[folder]", **more)) == wanted


def test_no_other_folder_may_be_chosen(chat, folder, wirekey):
    for wanted, error in (
        (folder / "elsewhere", openai.PermissionDeniedError),
        ("/", openai.PermissionDeniedError),
        (folder / "projects/../elsewhere", openai.PermissionDeniedError),
        (folder / "projects/none", openai.BadRequestError),
        ("relative", openai.BadRequestError),
    ):
        for stream in (False, True):
            with pytest.raises(error, match="folder"):
                ask(chat, "[folder]", stream=stream, extra_body={"project_dir": str(wanted)})
    assert json.loads(ask(chat, "[folder]", extra_body={"project_dir": ".."})) == str(folder / "usual")


def test_tools_and_images_are_refused_by_name(chat, way):
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    with pytest.raises(openai.BadRequestError, match="gemini-cli-acp lacks tools"):
        ask(chat, "Hi", tools=[tool])
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
    with pytest.raises(anthropic.BadRequestError, match="gemini-cli-acp lacks images"):
        Anthropic(*way).client.messages.create(
            model=MODEL, max_tokens=9, messages=[{"role": "user", "content": [image]}]
        )
    native = Gemini(*way)
    with pytest.raises(genai_errors.ClientError, match="answers conversations only"):
        native.client.models.count_tokens(model=MODEL, contents="Hi")
    with pytest.raises(openai.OpenAIError):
        chat.embeddings.create(model=MODEL, input="Hi")


@pytest.mark.parametrize("name", ["--yolo", "-y", "a b", "a/b", "gemini;id", "../x"])
def test_the_name_of_a_model_is_never_an_option_of_the_program(chat, folder, name):
    before = (folder / "started").read_text()
    with pytest.raises(openai.APIStatusError) as refused:
        ask(chat, "Hi", model=f"gemini-cli-acp:{name}")
    assert (refused.value.status_code, refused.value.code) == (400, "malformed_body")
    assert (folder / "started").read_text() == before


@pytest.mark.parametrize(
    ("model", "asked", "status", "words"),
    [
        ("sim-login", "Hi", 503, "Log in with the program"),
        ("sim-version", "Hi", 500, "version 2"),
        ("m", "[die]", 500, "has ended"),
        ("m", "[error]", 500, "error -32603"),
        ("m", "[silent]", 504, "has said nothing"),
    ],
)
def test_a_program_that_fails_is_an_error_of_the_clients_sdk(way, wirekey, model, asked, status, words):  # noqa: PLR0917
    since = beginning()
    for stream in (False, True):
        with pytest.raises(openai.APIStatusError, match=words) as failed:
            ask(Chat(*way).client, asked, model=f"gemini-cli-acp:google/{model}", stream=stream)
        assert failed.value.status_code == status
    for event in wirekey.finished_events(2, since):
        assert (event["status"], event["outcome"]) == (status, "upstream_error")


@pytest.mark.parametrize("client", CLIENTS)
def test_a_program_that_dies_in_the_middle_of_a_stream_is_no_success(way, wirekey, client):
    since = beginning()
    program = CLIENTS[client](*way)
    program_says(program, "[die-midway]")
    with pytest.raises(program.error):
        program.streamed(MODEL)
    assert wirekey.finished_event(since)["outcome"] in {"upstream_error", "truncated", "upstream_reset"}


def program_says(program, words):
    """Have one of the clients of the translation's tests ask for something else than `Hi`."""
    ask = json.loads(json.dumps(getattr(program, "ask", {})).replace('"Hi"', json.dumps(words)))
    if hasattr(program, "ask"):
        program.ask = ask
    elif isinstance(program, Gemini):
        program.streamed = lambda model: list(
            program.client.models.generate_content_stream(model=model, contents=words)
        )
    else:
        program.streamed = lambda model: streamed_response(program.client, model, words)


def streamed_response(client, model, words):
    with client.responses.stream(model=model, input=words) as stream:
        return stream.get_final_response().output_text


@pytest.mark.parametrize("delivery", ["whole", "byte by byte"])
def test_a_client_that_leaves_cancels_the_turn(way, wirekey, folder, delivery):
    """The next turn of the same program is answered, so the former one has ended."""
    since = beginning()
    headers = {"authorization": f"Bearer {way[1]}", "x-session-id": f"leaves {delivery}"}
    asked = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "[endless]"}]}
    with (
        httpx.Client(timeout=PATIENCE, trust_env=False) as client,
        client.stream("POST", f"{way[0]}/v1/chat/completions", json=asked, headers=headers) as response,
    ):
        pieces = response.iter_raw(None if delivery == "whole" else 1)
        assert b"data" in b"".join(next(pieces) for _ in range(1 if delivery == "whole" else 40))
    assert wirekey.finished_event(since)["outcome"] == "client_cancelled"
    before = (folder / "started").read_text()
    assert ask(Chat(*way).client, "Hi", extra_headers={"x-session-id": f"leaves {delivery}"}) == TEXT
    assert (folder / "started").read_text() == before


def test_clients_in_one_folder_at_the_same_time_are_all_answered(way):
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda number: ask(Chat(*way).client, f"{number}", stream=number % 2 == 0), range(8)))
    assert found == [TEXT] * 8


def test_programs_answer_through_the_proxy(wirekey, way, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", wirekey.proxy_url("alice", way[1]))
    monkeypatch.setenv("SSL_CERT_FILE", str(wirekey.certs / "bundle.pem"))
    assert genai.Client(api_key="placeholder").models.generate_content(model=MODEL, contents="Hi").text == TEXT
    client = openai.OpenAI(api_key="placeholder", max_retries=0)
    assert ask(client, "Hi", stream=True) == TEXT


def test_the_listener_of_the_programs_answers_nobody_else(wirekey, way):
    """Its port is found in the system's table of the process that listens."""
    listening = json.loads(ask(Chat(*way).client, "Hi") and "[]")
    for port in listening_ports(wirekey.process.pid):
        for headers in ({}, {"x-goog-api-key": way[1]}, {"authorization": f"Bearer {way[1]}"}):
            url = f"http://127.0.0.1:{port}/v1beta/models/m:generateContent"
            with httpx.Client(trust_env=False) as client:
                status = client.post(url, json={"contents": [{"parts": [{"text": "Hi"}]}]}, headers=headers).status_code
            listening.append((port, status))
    assert len(listening) >= 9
    assert not [found for found in listening if found[1] == 200 and str(found[0]) not in wirekey.running.gateway]


def listening_ports(number):
    """Return the TCP ports that a process listens on at 127.0.0.1."""
    inodes = set()
    for entry in Path(f"/proc/{number}/fd").iterdir():
        try:
            inodes.add(str(entry.readlink()))
        except OSError:
            continue
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [int(row[1].partition(":")[2], 16) for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in inodes]


def test_nothing_of_a_program_is_in_the_log_or_the_record(wirekey, way):
    with pytest.raises(openai.APIStatusError):
        ask(Chat(*way).client, "canary-of-the-prompt [error]")
    assert ask(Chat(*way).client, "[stderr]") == TEXT
    wirekey.finished_events(2)
    found = wirekey.output.read_bytes() + b"".join(file.read_bytes() for file in wirekey.state.rglob("audit.db*"))
    for canary in (CANARY, "canary-of-the-prompt", "canary on stderr", "canary in an error", "miners listened"):
        assert canary.encode() not in found


def test_an_enabled_backend_is_named_with_whose_account_it_uses(wirekey):
    assert "The terms of that account apply, and you answer for the use" in wirekey.output.read_text()


def test_the_end_of_wirekey_ends_its_programs(wirekey, way, folder):
    """The last test of this file: it ends the server."""
    assert ask(Chat(*way).client, "Hi", extra_headers={"x-session-id": "last"}) == TEXT
    wirekey.stop()
    for number in (folder / "started").read_text().split():
        wait_for(lambda number=number: not Path(f"/proc/{number}").exists(), "a program to end")
