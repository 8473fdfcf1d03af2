"""Rollup of long conversations, with the SDK of each format, through the proxy and the gateway.

A conversation is stored a moment after its response, so a test asks again until it is.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.features.rollup.conversations import FORMATS, TOOL, Anthropic, Chat, Converse, Gemini
from tests.support.own_simulator import simulator
from tests.support.running import PROVIDER_KEYS, SimulatorThread, Wirekey, wait_for, wirekey_behind
from tests.support.sdk_calls import Way
from wirekey.core.call import new_call_id

__all__ = ["simulator"]

LISTEN = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": "127.0.0.1:0"}
SYSTEM = "You are terse."
SUMMARISER = "gemini-2.5-flash-lite"
ROLLUP = {"enabled": True, "entries": 200, "threshold": 900, "model": SUMMARISER}
LONG = "word " * 300
"""More than the threshold."""
SAID = "Hello from the simulator: nobody thought about this answer."


@dataclass
class Deployment:
    """A Wirekey, and what reaches the providers behind it."""

    simulator: SimulatorThread
    wirekey: Wirekey
    monkeypatch: Any
    by_proxy: bool = False
    tokens: dict[str, str] = field(default_factory=dict)
    since: str = ""

    def way(self, agent: str) -> Way:
        keys = dict.fromkeys(PROVIDER_KEYS, self.tokens[agent])
        url = None if self.by_proxy else f"https://{self.wirekey.running.gateway}"
        return Way(self.wirekey.certs / "bundle.pem", keys, url)

    def talk(self, kind=Chat, agent: str = "alice"):
        return kind(self.way(agent), self.monkeypatch)

    def bodies(self) -> list[dict]:
        """The requests that arrived, without those for a summary."""
        return [json.loads(seen.body) for seen in self.simulator.seen if SUMMARISER not in seen.target]

    def summaries(self, word: str) -> list[str]:
        """The conversations with this word that were to be summarised."""
        bodies = [json.loads(seen.body) for seen in self.simulator.seen if SUMMARISER in seen.target]
        texts = [body["contents"][0]["parts"][0]["text"] for body in bodies]
        return [text for text in texts if word in text]

    def sent(self, talk, messages, system=None, **options) -> tuple[dict, list]:
        """Ask once. Return the body that arrived, and the messages with the response."""
        self.simulator.forget()
        said = talk.ask(messages, system, **options)
        (body,) = self.bodies()
        return body, said

    def until_shortened(self, talk, messages, system=None, **options) -> tuple[dict, list]:
        """Ask until the request arrives shortened. `messages`: a list, or a function that returns one for each try."""
        tries = itertools.count()

        def ask():
            given = messages(next(tries)) if callable(messages) else messages
            body, said = self.sent(talk, given, system, **options)
            return (body, said) if len(talk.messages_of(body)) < len(given) else None

        return wait_for(ask, "the conversation to be stored")

    def events(self, **values) -> list[dict]:
        """The finished events since the test began that have these values."""
        found = self.wirekey.finished_events(1, self.since)
        return [event for event in found if all(event[name] == value for name, value in values.items())]

    def post(self, body: dict, **headers: str) -> httpx.Response:
        """Send a chat completion to the gateway."""
        sent = {"authorization": f"Bearer {self.tokens['alice']}"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        with httpx.Client(verify=ssl.create_default_context(cafile=self.wirekey.certs / "bundle.pem")) as client:
            url = f"https://{self.wirekey.running.gateway}/v1/chat/completions"
            return client.post(url, json={"model": "gpt-4o-mini", **body}, headers=sent)


@pytest.fixture(scope="module")
def running(tmp_path_factory, simulator):
    """A Wirekey with rollup, and the tokens of its agents."""
    routes = [
        {"match": "gpt-4.1*", "rollup": False},
        {"match": "far-*", "provider": "anthropic", "model": "claude-sonnet-4-5"},
    ]
    folder = tmp_path_factory.mktemp("wirekey")
    with wirekey_behind(folder, simulator, listen=LISTEN, rollup=ROLLUP, routes=routes) as wirekey:
        yield wirekey, {name: wirekey.add_agent(name) for name in ("alice", "bob")}


@pytest.fixture
def deployed(running, simulator, monkeypatch):
    """A Wirekey as programs reach it at the gateway."""
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    simulator.forget()
    time.sleep(0.002)
    wirekey, tokens = running
    return Deployment(simulator, wirekey, monkeypatch, tokens=tokens, since=new_call_id())


@pytest.fixture(params=["proxy", "gateway"])
def either(request, deployed):
    """The same, or as they reach it through HTTPS_PROXY."""
    if request.param == "proxy":
        deployed.monkeypatch.setenv("HTTPS_PROXY", f"http://{deployed.wirekey.running.forward}")
        deployed.by_proxy = True
    return deployed


@pytest.fixture
def alone(tmp_path, simulator, monkeypatch):
    """Return a function that starts a Wirekey for one test, with these settings, and those of rollup."""
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    with contextlib.ExitStack() as stack:

        def start(settings=None, **rollup):
            more = {"listen": LISTEN, "rollup": rollup, **(settings or {})}
            wirekey = stack.enter_context(wirekey_behind(tmp_path / "wirekey", simulator, **more))
            return Deployment(simulator, wirekey, monkeypatch, tokens={"alice": wirekey.add_agent("alice")})

        yield start


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("kind", FORMATS, ids=lambda kind: kind.__name__)
def test_the_beginning_of_a_conversation_becomes_a_part_of_the_system_prompt(kind, streams, either):
    talk = either.talk(kind)
    name = f"{kind.__name__} {streams} {either.since}"
    first = talk.ask([talk.user(f"I am {name}.")], SYSTEM, stream=streams)
    second = [*first, talk.user("Who am I?")]
    body, said = either.until_shortened(talk, second, SYSTEM, stream=streams)
    (left,) = talk.messages_of(body)
    assert "Who am I?" in json.dumps(left)
    stored, _, own = talk.system_of(body).rpartition("\n")
    assert own == SYSTEM
    asked, answered = json.loads(stored)
    assert asked == {"role": "user", "content": f"I am {name}."}
    assert answered == {"role": "assistant", "content": SAID}
    (event,) = wait_for(lambda: either.events(rolled_up_messages=len(first)), "its record")
    assert event["message_count"] == len(second) + (kind.format == "openai.chat"), "the policy saw all of them"

    body, _ = either.until_shortened(talk, [*said, talk.user("And who are you?")], stream=streams)
    stored = json.loads(talk.system_of(body))
    assert [message["role"] for message in stored] in (["user", "assistant"], ["user", "assistant"] * 2)


@pytest.mark.parametrize("kind", [Chat, Gemini, Anthropic, Converse], ids=lambda kind: kind.__name__)
def test_a_long_conversation_is_stored_as_a_summary_and_its_latest_messages(kind, deployed):
    talk = deployed.talk(kind)
    first = talk.ask([talk.user(f"{deployed.since} {LONG}")], SYSTEM)
    second = talk.ask([*first, talk.user("Short.")], SYSTEM)

    def whole():
        body, _ = deployed.until_shortened(talk, [*second, talk.user("Go on.")], SYSTEM)
        return talk.system_of(body) if len(talk.messages_of(body)) == 1 else None

    system = wait_for(whole, "the whole conversation to be stored")
    assert system.startswith(f"Context of the conversation so far:\n{SAID}\n")
    assert LONG not in system
    latest = json.loads(system.partition("word for word:\n")[2].rpartition("\n")[0])
    assert [message["content"][:5] for message in latest] == ["Short", "Hello"]
    assert system.endswith(f"\n{SYSTEM}")


def test_a_summary_is_a_call_of_the_agent(deployed):
    talk = deployed.talk(agent="bob")
    talk.ask([talk.user(f"{deployed.since} {LONG}")])
    (event,) = wait_for(lambda: deployed.events(operation="rollup.summary", agent_id="bob"), "the summary")
    assert (event["provider"], event["model"], event["credential"]) == ("gemini", SUMMARISER, "gemini/1")
    assert (event["policy_result"], event["outcome"], event["status"]) == ("allow", "completed", 200)
    assert event["client"] == "127.0.0.1"
    assert event["cost_usd"] > 0
    assert event["input_tokens"] > 0
    (arrived,) = [seen for seen in deployed.simulator.seen if deployed.since.encode() in seen.body][1:]
    assert dict(arrived.headers)[b"x-goog-api-key"].decode() == PROVIDER_KEYS["gemini"]
    assert deployed.tokens["bob"] not in str(arrived.headers)
    asked = json.loads(arrived.body)
    assert "conversation between a user and an assistant" in asked["systemInstruction"]["parts"][0]["text"]
    assert [content["role"] for content in asked["contents"]] == ["user"]


def test_the_next_summary_is_made_from_the_one_before_and_the_messages_since(deployed):
    talk = deployed.talk()
    first = talk.ask([talk.user(f"{deployed.since}-1 {LONG}")])
    deployed.until_shortened(talk, lambda number: [*first, talk.user(f"{deployed.since}-2-{number} {LONG}")])

    def second():
        texts = deployed.summaries(f"{deployed.since}-2")
        return [text for text in texts if text.startswith("Context of the conversation so far:\n")]

    (text,) = wait_for(second, "the second summary")
    context, _, since = text.rpartition("\n")
    assert SAID in context
    assert [message["role"] for message in json.loads(since)] == ["user", "assistant"]


def test_two_agents_with_the_same_words_share_nothing(deployed):
    alice, bob = deployed.talk(), deployed.talk(agent="bob")
    first = alice.ask([alice.user(f"The same words {deployed.since}")])
    second = [*first, alice.user("More.")]
    deployed.until_shortened(alice, second)
    body, _ = deployed.sent(bob, second)
    assert len(body["messages"]) == len(second)


def test_a_route_can_be_left_out(deployed):
    talk = deployed.talk()
    first = talk.ask([talk.user(f"Hello {deployed.since}")])
    second = [*first, talk.user("More.")]
    deployed.until_shortened(talk, second)
    body, _ = deployed.sent(talk, second, model="gpt-4.1-mini")
    assert len(body["messages"]) == len(second)


def test_a_result_of_a_tool_is_never_parted_from_its_call(deployed):
    tools = [{"type": "function", "function": {"name": "weather", "parameters": TOOL}}]
    talk = deployed.talk()

    def create(messages):
        deployed.simulator.forget()
        made = talk.client.chat.completions.create(model=talk.model, messages=messages, tools=tools)
        (body,) = deployed.bodies()
        return made.choices[0].message, body["messages"]

    first = talk.ask([talk.user(f"Hello {deployed.since}")])
    deployed.until_shortened(talk, [*first, talk.user("More.")])
    call, _ = create([*first, talk.user("Please call a tool.")])
    kept = {"role": "assistant", "tool_calls": [one.model_dump() for one in call.tool_calls]}
    result = {"role": "tool", "tool_call_id": call.tool_calls[0].id, "content": "rain"}
    third = [*first, talk.user("Please call a tool."), kept, result]
    said, arrived = create(third)
    assert [message["role"] for message in arrived] == ["system", "user", "assistant", "tool"]

    def thanks():
        _, arrived = create([*third, said.model_dump(), talk.user("Thanks.")])
        return arrived if len(arrived) == 2 else None

    stored = json.loads(wait_for(thanks, "the conversation with the tool")[0]["content"])
    assert [message["role"] for message in stored] == ["user", "assistant", "user", "assistant", "tool", "assistant"]
    assert stored[3]["content"][0]["function"]["name"] == "weather"


@pytest.mark.parametrize("behaviour", ["fail=500", "truncate=1", "error=1"])
def test_a_response_that_is_not_complete_is_not_stored(behaviour, deployed):
    """The next one is, so that there was time to store both."""
    question = {"role": "user", "content": f"Hello {deployed.since}"}
    with contextlib.suppress(httpx.RemoteProtocolError):
        deployed.post({"stream": True, "messages": [question]}, x_simulator=behaviour)
    talk = deployed.talk()
    other = talk.ask([talk.user(f"Another one {deployed.since}")])
    deployed.until_shortened(talk, [*other, talk.user("More.")])
    for text in ("Hello ", SAID):
        body, _ = deployed.sent(talk, [question, {"role": "assistant", "content": text}, talk.user("More.")])
        assert len(body["messages"]) == 3


@pytest.mark.parametrize("delivery", ["at-once", "split=7", "pauses", "gzip", "bytewise, crlf"])
def test_a_stream_is_stored_however_it_arrives(delivery, deployed):
    question = {"role": "user", "content": f"Hello {deployed.since}"}
    assert deployed.post({"stream": True, "messages": [question]}, x_simulator=delivery).status_code == 200
    talk = deployed.talk()
    deployed.until_shortened(talk, [question, {"role": "assistant", "content": SAID}, talk.user("More.")])


def test_a_translated_call_is_shortened_in_the_format_of_its_client(deployed):
    talk = deployed.talk()
    first = talk.ask([talk.user(f"Hello {deployed.since}")], SYSTEM, model="far-away")
    body, _ = deployed.until_shortened(talk, [*first, talk.user("More.")], SYSTEM, model="far-away")
    assert "max_tokens" in body, "it is one of Anthropic"
    assert [message["role"] for message in body["messages"]] == ["user"]
    assert deployed.since in json.dumps(body["system"])
    assert SAID in json.dumps(body["system"])


def test_the_least_recently_used_conversations_make_room(alone):
    deployed = alone(enabled=True, entries=2)
    talk = deployed.talk()
    asked = []
    for number in range(3):
        first = talk.ask([talk.user(f"Conversation {number}")])
        asked.append([*first, talk.user("More.")])
        deployed.until_shortened(talk, asked[-1])  # this stores a second one
    body, _ = deployed.sent(talk, asked[0])
    assert len(body["messages"]) == len(asked[0])


def resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def test_memory_stays_within_the_limit(alone):
    """20 MB of conversations are stored one after the other, with room for one megabyte."""
    deployed = alone({"log": {"level": "error"}}, enabled=True, bytes="1MiB", threshold=10**9, entries=10_000)
    talk = deployed.talk()

    def store(count: int) -> None:
        for number in range(count):
            talk.ask([talk.user(f"{new_call_id()} {number} " + "word " * 40_000)])

    store(20)
    before = resident_mib(deployed.wirekey.process.pid)
    store(100)
    assert resident_mib(deployed.wirekey.process.pid) - before < 12


def test_without_rollup_a_request_is_sent_as_it_is(alone):
    deployed = alone(enabled=False)
    talk = deployed.talk()
    first = talk.ask([talk.user("Hello.")])
    body, _ = deployed.sent(talk, [*first, talk.user("More.")])
    assert len(body["messages"]) == 3
    assert deployed.wirekey.finished_events(2)[-1]["rolled_up_messages"] is None


EVERYTHING_ALLOWED = "package wirekey.authz\nallow := true\n"
NO_SUMMARIES = """package wirekey.authz
allow := true
deny contains "no summaries" if input.operation == "rollup.summary"
"""


@pytest.mark.parametrize(
    ("model", "outcome", "status"),
    [("gemini-2.5-sim-fail-400", "upstream_error", 400), ("gemini-2.5-flash", "denied", 403)],
    ids=["its model fails", "the policy denies it"],
)
def test_a_conversation_that_cannot_be_summarised_is_stored_as_it_is(model, outcome, status, alone, tmp_path):
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "policy.rego").write_text(NO_SUMMARIES if outcome == "denied" else EVERYTHING_ALLOWED)
    deployed = alone({"policy": {"path": str(tmp_path / "policy")}}, enabled=True, threshold=900, model=model)
    talk = deployed.talk()
    first = talk.ask([talk.user(LONG)])

    def ask():
        deployed.simulator.forget()
        talk.ask([*first, talk.user("More.")])
        body = next(json.loads(seen.body) for seen in deployed.simulator.seen if "chat" in seen.target)
        return body["messages"][0]["content"] if body["messages"][0]["role"] == "system" else None

    assert json.loads(wait_for(ask, "the conversation"))[0] == {"role": "user", "content": LONG}
    event = deployed.events(operation="rollup.summary")[0]
    assert (event["outcome"], event["status"], event["agent_id"]) == (outcome, status, "alice")


@pytest.mark.parametrize("model", ["gpt-4o-mini", "anthropic:claude-sonnet-4-5", "bedrock:amazon.nova-lite-v1:0"])
def test_any_provider_can_summarise(model, alone):
    deployed = alone(enabled=True, threshold=900, model=model)
    deployed.talk(Gemini).ask([deployed.talk(Gemini).user(LONG)])
    (event,) = wait_for(lambda: deployed.events(operation="rollup.summary"), "the summary")
    assert (event["outcome"], event["status"]) == ("completed", 200)
    assert event["output_tokens"] > 0


def test_a_summary_that_takes_too_long_is_ended(alone):
    deployed = alone(enabled=True, threshold=900, model="gemini-2.5-sim-stall-0", timeout=0.5)
    talk = deployed.talk()
    talk.ask([talk.user(LONG)])
    (event,) = wait_for(lambda: deployed.events(operation="rollup.summary"), "the summary")
    assert (event["outcome"], event["attempts"]) == ("timeout", 1)


def test_a_summary_counts_in_the_quotas_of_the_agent(alone):
    quota = {"name": "summaries", "per": "agent", "match": {"model": "gemini-*"}, "requests_per_minute": 1}
    deployed = alone({"quotas": [quota]}, enabled=True, threshold=900)
    talk = deployed.talk()
    for number in range(2):
        talk.ask([talk.user(f"{number} {LONG}")])
    wait_for(lambda: len(deployed.events(operation="rollup.summary")) == 2, "both summaries")
    outcomes = {(event["outcome"], event["status"]) for event in deployed.events(operation="rollup.summary")}
    assert outcomes == {("completed", 200), ("denied", 429)}


def test_a_summary_is_not_sent_to_a_server_that_is_not_verified(alone, tmp_path):
    """Another simulator makes a certificate of its own, which no configured CA has signed."""
    stranger = SimulatorThread(tmp_path / "stranger")
    try:
        route = {"match": "gemini-*", "provider": "gemini", "upstream_url": stranger.url, "auth": "x-goog-api-key"}
        settings = {"routes": [route | {"keys": ["env:REAL_GEMINI"]}]}
        deployed = alone(settings, enabled=True, threshold=900)
        talk = deployed.talk()
        talk.ask([talk.user(LONG)])
        (event,) = wait_for(lambda: deployed.events(operation="rollup.summary"), "the summary")
        assert event["outcome"] == "upstream_error"
        assert event["policy_reason"] == "its certificate is not trusted"
        assert stranger.seen == []
    finally:
        stranger.stop()


def test_a_revoked_agent_is_refused_at_once(alone):
    deployed = alone(enabled=True)
    talk = deployed.talk()
    first = talk.ask([talk.user("Hello.")])
    deployed.until_shortened(talk, [*first, talk.user("More.")])
    deployed.wirekey.agents.revoke("alice")

    def refused():
        try:
            talk.ask([*first, talk.user("More.")])
        except openai.AuthenticationError:
            return True
        return False

    wait_for(refused, "the agent to be refused")
