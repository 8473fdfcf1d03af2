"""Provider keys: used in turn, cooling down after a refusal, never sent to a provider that cannot be trusted."""

from __future__ import annotations

import json

import pytest

from tests.support.running import (
    KEY_ENVIRONMENT,
    PROVIDER_KEYS,
    SimulatorThread,
    Wirekey,
    behind,
    wait_for,
    wirekey_behind,
)
from tests.support.stream_formats import FORMATS, RawWay
from wirekey.core.call import new_call_id
from wirekey.providers.registry import PROVIDERS

KEYS = ["sk-key-number-one", "sk-key-number-two", "sk-key-number-three"]
GEMINI_KEYS = ["AIza-key-number-one", "AIza-key-that-is-revoked", "AIza-key-number-three"]
ENVIRONMENT = {
    **KEY_ENVIRONMENT,
    **{f"OPENAI_{number}": key for number, key in enumerate(KEYS, 1)},
    **{f"GEMINI_{number}": key for number, key in enumerate(GEMINI_KEYS, 1)},
}
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture(scope="module")
def provider(tmp_path_factory):
    good = {**{name: [key] for name, key in PROVIDER_KEYS.items()}, "openai": KEYS}
    good["gemini"] = [GEMINI_KEYS[0], GEMINI_KEYS[2]]
    simulator = SimulatorThread(tmp_path_factory.mktemp("simulator"), keys=good)
    yield simulator
    simulator.stop()


class Caller:
    """A Wirekey with three keys for OpenAI and three for Gemini, one of these bad."""

    def __init__(self, folder, provider: SimulatorThread) -> None:
        self.provider = provider
        # One attempt for each call, so that the client sees what each key meets.
        self.configuration = behind(provider, failover={"max_attempts": 1})
        self.configuration["providers"]["openai"]["keys"] = ["env:OPENAI_1", "env:OPENAI_2", "env:OPENAI_3"]
        self.configuration["providers"]["gemini"]["keys"] = ["env:GEMINI_1", "env:GEMINI_2", "env:GEMINI_3"]
        self.proxy = Wirekey(folder, self.configuration, environ=ENVIRONMENT)
        self.way = RawWay(self.proxy.root, proxy=self.proxy.proxy_url("alice", self.proxy.add_agent("alice")))

    def chat(self, behaviour: str = "") -> str:
        """Call, and return the number of the key that arrived."""
        self.way.call("openai", "POST", "/v1/chat/completions", behaviour, json=CHAT)
        (key,) = [value for name, value in self.provider.seen[-1].headers if name.lower() == b"authorization"]
        return str(1 + KEYS.index(key.decode().removeprefix("Bearer ")))

    def chats(self, count: int) -> str:
        return "".join(self.chat() for _ in range(count))


@pytest.fixture
def caller(provider, tmp_path):
    provider.forget()
    caller = Caller(tmp_path / "wirekey", provider)
    yield caller
    caller.proxy.stop()


def test_several_keys_are_used_in_turn_and_recorded_in_the_audit(caller):
    began = new_call_id()
    assert caller.chats(7) == "1231231"
    labels = [event["credential"] for event in caller.proxy.finished_events(7, began)]
    assert labels == [f"openai/{number}" for number in (1, 2, 3, 1, 2, 3, 1)]
    everything = (caller.proxy.state / "audit.db").read_bytes() + caller.proxy.output.read_bytes()
    assert not any(key.encode() in everything for key in KEYS)


@pytest.mark.parametrize("refusal", ["fail=401", "fail=403", "fail=429, retry-after=600"])
def test_a_refused_key_cools_down_while_others_are_used(refusal, caller):
    began = new_call_id()
    assert caller.chat(refusal) == "1"
    assert caller.chats(4) == "2323"
    statuses = [event["status"] for event in caller.proxy.finished_events(5, began)]
    assert statuses == [int(refusal[5:8]), 200, 200, 200, 200]


def test_a_retry_after_of_zero_makes_the_key_available_immediately(caller):
    assert caller.chat("fail=429, retry-after=0") == "1"
    assert caller.chats(3) == "231"


def test_other_errors_do_not_make_a_key_cool_down(caller):
    assert caller.chat("fail=500") == "1"
    assert caller.chats(3) == "231"


def test_a_key_that_gemini_refuses_with_400_cools_down_too(caller):
    """Gemini responds with 400 to a wrong key. The next calls do not use it."""
    assert PROVIDERS["gemini"].credentials.refused_sign[0] == 400
    statuses = []
    for _ in range(6):
        response = caller.way.call(
            "gemini", "POST", "/v1beta/models/gemini-2.5-flash:generateContent", json=FORMATS["gemini-sse"].body
        )
        statuses.append(response.status_code)
    assert statuses == [200, 400, 200, 200, 200, 200]


def test_if_all_keys_cool_down_the_first_to_be_available_is_used(caller):
    assert caller.chat("fail=429, retry-after=900") == "1"
    assert caller.chat("fail=429, retry-after=300") == "2"
    assert caller.chat("fail=429, retry-after=600") == "3"
    assert caller.chat("fail=500") == "2"
    # A success ended its cool-down.
    assert caller.chats(3) == "222"


def test_a_key_stays_cooled_down_when_the_configuration_reloads(caller):
    assert caller.chat("fail=429, retry-after=900") == "1"
    changed = json.loads((caller.proxy.folder / "wirekey.yaml").read_text())
    changed["providers"]["openai"]["keys"].reverse()
    (caller.proxy.folder / "wirekey.yaml").write_text(json.dumps(changed))
    wait_for(lambda: "changed configuration is in use" in caller.proxy.output.read_text(), "the reload")
    began = new_call_id()
    assert caller.chats(4) == "3232"
    labels = [event["credential"] for event in caller.proxy.finished_events(4, began)]
    assert labels == ["openai/1", "openai/2", "openai/1", "openai/2"]


# Trust: a key goes only over verified TLS to the host that was chosen.


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """A simulator whose certificate is of a CA that nobody named."""
    simulator = SimulatorThread(tmp_path_factory.mktemp("stranger"))
    yield simulator
    simulator.stop()


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory, simulator):
    """A simulator with the known CA, at an address that its certificate does not name."""
    running = SimulatorThread(simulator.ca_file.parent, host="127.0.0.2")
    yield running
    running.stop()


@pytest.mark.parametrize("who", ["stranger", "elsewhere"])
@pytest.mark.parametrize("name", ["openai-chat", "gemini-sse", "anthropic", "bedrock-converse"])
def test_no_key_is_sent_to_an_upstream_with_a_wrong_certificate(name, who, misled):
    way, proxy, upstreams = misled[who]
    began, wanted = new_call_id(), FORMATS[name]
    received = way.stream(wanted)
    assert received.status == 502
    assert b"certificate" in received.body
    assert b"upstream_ca_file" in received.body
    assert upstreams.seen == []
    event = proxy.finished_event(began)
    assert (event["outcome"], event["status"]) == ("upstream_error", 502)
    assert event["policy_reason"] == "upstream_not_trusted"
    everything = b"".join(file.read_bytes() for file in proxy.state.rglob("*") if file.is_file())
    assert PROVIDER_KEYS[wanted.provider].encode() not in everything + proxy.output.read_bytes() + received.raw


@pytest.fixture(scope="module")
def misled(tmp_path_factory, simulator, stranger, elsewhere):
    found, running = {}, []
    for who, upstreams in {"stranger": stranger, "elsewhere": elsewhere}.items():
        context = wirekey_behind(tmp_path_factory.mktemp(who), upstreams, upstream_ca_file=str(simulator.ca_file))
        proxy = context.__enter__()
        running.append(context)
        found[who] = RawWay(proxy.root, proxy=proxy.proxy_url("a", proxy.add_agent("a"))), proxy, upstreams
    yield found
    for context in running:
        context.__exit__(None, None, None)
