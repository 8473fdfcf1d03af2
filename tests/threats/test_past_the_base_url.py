"""THREATS 2.9, R27: programs that do not read their base-URL variable, run by `exec --gateway`."""

from __future__ import annotations

import json
import os
import sys

import pytest

from tests.support.conversation import HERE, install_node_packages, installed, run_behind_exec
from tests.support.running import PROVIDER_KEYS, SimulatorThread, wirekey_behind
from tests.support.serving import wirekey
from tests.threats.conftest import Stage, beginning

PYTHON_OPENAI = """
from openai import OpenAI
print(OpenAI(base_url="https://api.openai.com/v1").chat.completions.create(
    model="gpt-4o-mini", messages=[{"role": "user", "content": "hello"}]).object)
"""
PYTHON_GEMINI = """
from google import genai
client = genai.Client(http_options={"base_url": "https://generativelanguage.googleapis.com"})
print(client.models.generate_content(model="gemini-2.5-flash", contents="hello").candidates[0].finish_reason)
"""
PYTHON_ANTHROPIC = """
from anthropic import Anthropic
print(Anthropic(base_url="https://api.anthropic.com").messages.create(
    model="claude-sonnet-4-5", max_tokens=9, messages=[{"role": "user", "content": "hello"}]).type)
"""
NODE_FETCH = """
const answer = await fetch('https://api.openai.com/v1/models',
  {headers: {authorization: `Bearer ${process.env.OPENAI_API_KEY}`}});
console.log(answer.status);
"""
NODE_OPENAI = """
import OpenAI from 'openai';
const client = new OpenAI({baseURL: 'https://api.openai.com/v1'});
const answer = await client.chat.completions.create(
  {model: 'gpt-4o-mini', messages: [{role: 'user', content: 'hello'}]});
console.log(answer.object);
"""
CURL = 'curl -sSf -H "x-goog-api-key: $GEMINI_API_KEY" https://generativelanguage.googleapis.com/v1beta/models'
PROGRAMS = {
    "python openai": ([sys.executable, "-c", PYTHON_OPENAI], "openai"),
    "python google-genai": ([sys.executable, "-c", PYTHON_GEMINI], "gemini"),
    "python anthropic": ([sys.executable, "-c", PYTHON_ANTHROPIC], "anthropic"),
    "node fetch": (["node", "--input-type=module", "-e", NODE_FETCH], "openai"),
    "node openai": (["node", "--input-type=module", "-e", NODE_OPENAI], "openai"),
    "curl": (["sh", "-c", CURL], "gemini"),
}


@pytest.fixture(scope="module")
def running_stage(tmp_path_factory):
    simulator = SimulatorThread(tmp_path_factory.mktemp("simulator"))
    listen = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
    with wirekey_behind(tmp_path_factory.mktemp("wirekey"), simulator, listen=listen) as proxy:
        yield Stage(simulator, proxy, proxy.add_agent("alice"), proxy.add_agent("bob"))
    simulator.stop()


@pytest.fixture
def stage(running_stage):
    running_stage.simulator.forget()
    running_stage.began = beginning()
    return running_stage


def run(stage, *command, **environ):
    return run_behind_exec(stage.proxy, *command, gateway=True, folder=HERE / "node", environ=environ)


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("no_proxy", ["", "corp.example,*,.openai.com,googleapis.com,api.anthropic.com:443"])
def test_R27_requests_that_bypass_the_base_url_reach_the_proxy(stage, name, no_proxy):
    (program, *arguments), provider = PROGRAMS[name]
    if program == "node":
        install_node_packages()
    said = run(stage, installed(program), *arguments, NO_PROXY=no_proxy, no_proxy=no_proxy)
    assert said.returncode == 0, said.stderr
    event = stage.event()
    assert (event["agent_id"], event["provider"], event["outcome"]) == ("alice", provider, "completed")
    seen = stage.arrived()
    assert "wk_" not in repr(seen.headers) + seen.target
    assert PROVIDER_KEYS[provider] in repr(seen.headers)


def test_R27_requests_to_the_base_url_still_reach_the_gateway(stage):
    script = 'curl -sSf -H "Authorization: Bearer $OPENAI_API_KEY" "$OPENAI_BASE_URL/models/gpt-4o-mini"'
    said = run(stage, installed("sh"), "-c", script, NO_PROXY="corp.example", HTTP_PROXY="http://127.0.0.1:9")
    assert json.loads(said.stdout)["id"] == "gpt-4o-mini", said.stderr
    assert stage.event()["path"] == "/v1/models/gpt-4o-mini"
    names = run(stage, installed("sh"), "-c", "echo $NO_PROXY", NO_PROXY="corp.example, *.openai.com").stdout
    assert names.strip() == "corp.example,localhost,127.0.0.1,::1"


@pytest.mark.parametrize("gateway", [True, False])
def test_R27_a_strict_program_reaches_no_other_host(stage, gateway):
    ways = {
        "https": ("curl -sS -o /dev/null https://other.example/", "response 403"),
        "http": ("curl -sS http://other.example/", "Only https://"),
    }
    for command, words in ways.values():
        way = ["exec", *(["--gateway"] if gateway else []), "--strict", "--agent", "alice", "--", "sh", "-c", command]
        said = wirekey(stage.proxy.folder, *way, environ={"PATH": os.environ["PATH"]})
        assert words in said.stdout + said.stderr
    events = stage.proxy.finished_events(2, stage.began)
    assert {
        (event["agent_id"], event["outcome"], event["status"]) for event in events if event["target"][0] != "/"
    } == {("alice", "denied", 403)}
    assert any("--strict" in (event["policy_reason"] or "") for event in events)
    way = ["exec", "--strict", "--agent", "alice", "--", sys.executable, "-c", PYTHON_OPENAI]
    assert wirekey(stage.proxy.folder, *way).stdout == "chat.completion\n"


def test_R27_only_the_strict_token_is_confined(stage):
    """`other_hosts: tunnel` is in force: the same agent's other token passes the check of the host's name."""
    strict = stage.proxy.agents.issue_token("alice", label="exec", lifetime=60, strict=True)
    for token in (strict, stage.alice):
        began = beginning()
        with stage.client() as client:
            answer = client.connect("other.example:443", "alice", token)
            assert (answer.status == 403) is (token == strict)
            client.send(b"\x16\x03\x01")
        event = stage.proxy.finished_event(began)
        assert event["agent_id"] == "alice"
        assert ("--strict" in (event["policy_reason"] or "")) is (token == strict)
