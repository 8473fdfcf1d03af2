"""Quotas in a running proxy: what SDKs raise and when they retry, what calls spend, and what they give back."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import sqlite3
import ssl
import threading
import time
from itertools import count

import anthropic
import botocore.config
import botocore.exceptions
import httpx
import openai
import pytest
from google.genai import errors

from tests.deliveries.paths import DELIVERIES
from tests.end_to_end.conftest import fresh  # noqa: F401  # a fixture
from tests.support.running import KEY_ENVIRONMENT, PATIENCE, PROVIDER_KEYS, Wirekey, behind, wait_for
from tests.support.sdk_calls import CALLS, Way, anthropic_client, bedrock_client, openai_client
from tests.support.serving import wirekey
from wirekey.features.quotas.ledger import totals_in

POLICY = """
package wirekey.authz

deny contains sprintf("Spent: %v, left: %v", [spent, left]) if {
	spent := input.spend.watched.usd_per_day
	spent > 0
	left := input.remaining.watched.usd_per_day
}
"""
QUOTAS = [
    {"name": "minutely", "per": "agent", "match": {"role": "minutely"}, "requests_per_minute": 1},
    {"name": "often", "per": "agent", "match": {"role": "often"}, "requests_per_minute": 60},
    {"name": "spent", "per": "agent", "match": {"role": "spent"}, "usd_per_day": 0.000001},
    {"name": "single", "per": "agent", "match": {"role": "single"}, "concurrent": 1, "usd_per_month": 1000},
    {
        "name": "roomy",
        "per": "agent",
        "match": {"role": "roomy"},
        "usd_per_day": 1000,
        "requests_per_minute": 6000,
        "tokens_per_minute": 6_000_000,
    },
    {"name": "dollar", "per": "role", "match": {"role": "crowd"}, "usd_per_day": 1},
    {"name": "watched", "per": "agent", "match": {"role": "watched"}, "usd_per_day": 5},
    {"name": "kept", "per": "agent", "match": {"role": "kept"}, "usd_per_month": 5},
]
ROUTES = [
    {"match": "gpt-4.1", "fallback": ["gpt-4o-mini"]},
    {"match": "gpt-4.1-mini", "fallback": ["gpt-4o-mini"], "timeouts": {"first_byte": 0.5}},
]
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello."}], "max_tokens": 50}
URL = "https://api.openai.com/v1/chat/completions"
numbers = count(1)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory, simulator):
    folder = tmp_path_factory.mktemp("wirekey")
    (folder / "policies").mkdir()
    (folder / "policies" / "authz.rego").write_text(POLICY)
    configuration = behind(simulator, quotas=QUOTAS, routes=ROUTES)
    configuration["policy"] = {"path": "policies"}
    running = Wirekey(folder, configuration, environ=KEY_ENVIRONMENT)
    yield running
    running.stop()


class Program:
    """A program with an agent of its own, in a role for which there is a quota."""

    def __init__(self, proxy: Wirekey, role: str) -> None:
        self.proxy, self.agent = proxy, f"{role}-{next(numbers)}"
        self.token = proxy.add_agent(self.agent, role=role)
        self.way = Way(proxy.certs / "bundle.pem", dict.fromkeys(PROVIDER_KEYS, "none"))

    @contextlib.contextmanager
    def client(self):
        with httpx.Client(
            proxy=self.proxy.proxy_url(self.agent, self.token),
            verify=ssl.create_default_context(cafile=self.proxy.root),
            timeout=PATIENCE,
            trust_env=False,
        ) as client:
            yield client

    def post(self, behaviour: str = "", **body) -> httpx.Response:
        with self.client() as client:
            return client.post(URL, json=CHAT | body, headers={"x-simulator": behaviour})

    def use(self, monkeypatch) -> None:
        """Let the SDKs of this process call as this program."""
        monkeypatch.setenv("HTTPS_PROXY", self.proxy.proxy_url(self.agent, self.token))

    def events(self, number: int) -> list[dict]:
        """The events of its calls, once so many have ended and none is in progress."""

        def ended():
            events = [event for event in self.proxy.events() if event["agent_id"] == self.agent]
            return events if len(events) >= number and all(event["outcome"] for event in events) else None

        return wait_for(ended, "the calls to end")

    def spent(self) -> float:
        """What the ledger has, in dollars, once the calls have ended."""
        keys = [key for key in totals_in(self.proxy.state / "quotas.db") if key.endswith(f":{self.agent}")]
        totals = totals_in(self.proxy.state / "quotas.db")
        return sum(totals[key].amount for key in keys) / 1e9


PLAIN = {
    "openai": "openai-chat",
    "gemini": "gemini-generate",
    "anthropic": "anthropic-messages",
    "bedrock": "bedrock-converse",
}
STREAMED = {
    "openai": "openai-chat-stream",
    "gemini": "gemini-stream",
    "anthropic": "anthropic-stream",
    "bedrock": "bedrock-converse-stream",
}
RAISED = {
    "openai": openai.RateLimitError,
    "gemini": errors.ClientError,
    "anthropic": anthropic.RateLimitError,
    "bedrock": botocore.exceptions.ClientError,
}
both = pytest.mark.parametrize("calls", [PLAIN, STREAMED], ids=["plain", "streamed"])


def code_of(error: Exception) -> object:
    """What a program looks at to tell the errors apart."""
    if isinstance(error, botocore.exceptions.ClientError):
        return error.response["Error"]["Code"]
    return error.code if isinstance(error, openai.APIStatusError | errors.ClientError) else error.status_code


@both
@pytest.mark.parametrize("provider", RAISED)
def test_an_exhausted_rate_raises_the_sdks_exception_for_rate_limits(provider, calls, proxy, monkeypatch):
    program = Program(proxy, "minutely")
    program.use(monkeypatch)
    CALLS[calls[provider]][0](program.way, monkeypatch)
    with pytest.raises(RAISED[provider], match="The quota minutely allows 1 requests a minute for the agent") as caught:
        CALLS[calls[provider]][0](program.way, monkeypatch)
    expected = {"openai": "rate_limit_exceeded", "gemini": 429, "anthropic": 429, "bedrock": "ThrottlingException"}
    assert code_of(caught.value) == expected[provider]
    _, refused = program.events(2)
    assert (refused["status"], refused["outcome"], refused["attempts"]) == (429, "denied", 0)
    assert refused["policy_reason"].startswith("rate_limit_exceeded: The quota minutely allows")


@both
@pytest.mark.parametrize("provider", RAISED)
def test_a_spent_budget_raises_the_sdks_exception_for_spent_budgets(provider, calls, proxy, monkeypatch):
    program = Program(proxy, "spent")
    program.use(monkeypatch)
    CALLS[calls[provider]][0](program.way, monkeypatch)
    with pytest.raises(RAISED[provider], match=r"The quota spent is used up: .* a day for the agent") as caught:
        CALLS[calls[provider]][0](program.way, monkeypatch)
    expected = {
        "openai": "insufficient_quota",
        "gemini": 429,
        "anthropic": 429,
        "bedrock": "ServiceQuotaExceededException",
    }
    assert code_of(caught.value) == expected[provider]
    assert program.events(2)[1]["policy_reason"].startswith("insufficient_quota: The quota spent is used up")


def test_sdks_wait_as_long_as_a_rate_limit_says_and_go_on(proxy, monkeypatch):
    program = Program(proxy, "often")
    program.use(monkeypatch)
    for _ in range(2):
        openai_client(program.way).with_options(max_retries=3).chat.completions.create(**CHAT)
    anthropic_client(program.way).with_options(max_retries=3).messages.create(
        model="claude-haiku-4-5", max_tokens=50, messages=CHAT["messages"]
    )
    events = program.events(4)
    assert [event["status"] for event in events].count(200) == 3
    assert 429 in [event["status"] for event in events]


def test_sdks_do_not_retry_a_spent_budget_or_soon_give_up(proxy, monkeypatch):
    program = Program(proxy, "spent")
    program.use(monkeypatch)
    client = openai_client(program.way).with_options(max_retries=5)
    client.chat.completions.create(**CHAT)
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(**CHAT)
    with pytest.raises(anthropic.RateLimitError):
        anthropic_client(program.way).with_options(max_retries=5).messages.create(
            model="claude-haiku-4-5", max_tokens=50, messages=CHAT["messages"]
        )
    assert len(program.events(3)) == 3
    bedrock = bedrock_client(program.way, monkeypatch)
    bedrock.meta.config.retries.update(botocore.config.Config(retries={"total_max_attempts": 3}).retries)
    with pytest.raises(botocore.exceptions.ClientError):
        bedrock.converse(modelId="us.amazon.nova-lite-v1:0", messages=[{"role": "user", "content": [{"text": "Hi."}]}])
    assert 4 <= len(program.events(4)) <= 6


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("delivery", DELIVERIES)
def test_a_call_spends_what_it_cost_however_its_response_arrives(delivery, stream, proxy):
    program = Program(proxy, "roomy")
    response = program.post(DELIVERIES[delivery], stream=stream)
    assert response.status_code == 200
    assert response.headers["x-ratelimit-limit-tokens"] == "6000000"
    assert int(response.headers["x-ratelimit-remaining-tokens"]) < 120_000
    assert response.headers["x-ratelimit-reset-tokens"].endswith("ms")
    (event,) = program.events(1)
    assert event["cost_usd"] > 0
    wait_for(lambda: program.spent() == pytest.approx(event["cost_usd"], abs=2e-9), "the ledger")


def test_headers_have_the_names_of_anthropics_clients(proxy):
    program = Program(proxy, "roomy")
    with program.client() as client:
        response = client.post(
            "https://api.anthropic.com/v1/messages",
            json={"model": "claude-haiku-4-5", "max_tokens": 50, "messages": CHAT["messages"]},
            headers={"anthropic-version": "2023-06-01"},
        )
    assert response.status_code == 200
    assert response.headers["anthropic-ratelimit-tokens-limit"] == "6000000"
    assert response.headers["anthropic-ratelimit-tokens-reset"].endswith("Z")


# What a call gives back.


def test_a_client_that_disconnects_in_a_stream_frees_its_place(proxy, simulator):
    program = Program(proxy, "single")
    with (
        program.client() as client,
        client.stream("POST", URL, json=CHAT | {"stream": True}, headers={"x-simulator": "gate, events=9"}) as stream,
    ):
        chunks = stream.iter_raw()  # httpx closes the stream with its iterator
        next(chunks)
        refused = program.post()
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert "The quota single allows 1 calls at the same time" in refused.json()["error"]["message"]
    wait_for(lambda: program.post().status_code == 200, "the place to be free")
    simulator.simulator.script.clear()
    cancelled = next(event for event in program.events(3) if event["outcome"] == "client_cancelled")
    assert cancelled["cost_usd"] is None
    reserved = (83 // 3 + 1) * 0.15e-6 + 50 * 0.6e-6
    assert program.spent() >= reserved, "unknown use counts as it was reserved"


@pytest.mark.parametrize("behaviour", ["reset-after=0", "reset-after=3", "stall-after=0", "fail=400", "rubbish"])
def test_a_call_that_fails_frees_its_place(behaviour, proxy):
    program = Program(proxy, "single")
    with contextlib.suppress(httpx.HTTPError), program.client() as client:
        client.post(URL, json=CHAT | {"stream": True}, headers={"x-simulator": behaviour}, timeout=2)
    wait_for(lambda: program.post().status_code == 200, "the place to be free")


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_an_attempt_that_the_provider_refused_costs_nothing_and_the_next_one_does(stream, proxy, simulator):
    """There is only one place, which the second attempt takes over from the first."""
    program = Program(proxy, "single")
    simulator.simulator.script.add("fail=500")
    response = program.post(model="gpt-4.1", stream=stream)
    assert response.status_code == 200, response.text
    (event,) = program.events(1)
    assert (event["attempts"], event["model"]) == (2, "gpt-4o-mini")
    wait_for(lambda: program.spent() == pytest.approx(event["cost_usd"], abs=2e-9), "the ledger")
    assert program.post().status_code == 200


def test_an_attempt_without_a_response_counts_as_it_was_reserved(proxy, simulator):
    program = Program(proxy, "single")
    simulator.simulator.script.add("headers-delay=3")
    response = program.post(model="gpt-4.1-mini")
    assert response.status_code == 200, response.text
    (event,) = program.events(1)
    reserved = (int(event["request_bytes"]) // 3 + 1) * 0.4e-6 + 50 * 1.6e-6
    wait_for(lambda: program.spent() == pytest.approx(event["cost_usd"] + reserved, rel=0.05), "the ledger")


def test_a_refused_call_gives_everything_back(proxy):
    program = Program(proxy, "single")
    for _ in range(5):
        assert program.post(model="gpt-4o-mini", n="many").status_code == 400
    assert program.post().status_code == 200


def test_a_model_without_a_price_is_refused_where_a_quota_limits_dollars(proxy):
    assert Program(proxy, "often").post(model="my-own-model").status_code == 200
    refused = Program(proxy, "spent").post(model="my-own-model")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "unknown_price")


def test_a_policy_sees_what_is_spent_and_what_is_left(proxy):
    program = Program(proxy, "watched")
    assert program.post("tokens=1000").status_code == 200
    refused = program.post()
    assert refused.status_code == 403
    assert refused.json()["error"]["message"].startswith("Spent: 0.000600")


def test_a_suspended_agent_is_refused_at_once_until_it_is_resumed(proxy):
    program = Program(proxy, "roomy")
    proxy.agents.change(program.agent, suspended=True)
    wait_for(lambda: refused_without_agent(program), "a refusal")
    proxy.agents.change(program.agent, suspended=False)
    wait_for(lambda: not refused_without_agent(program), "the agent to be resumed")


def refused_without_agent(program: Program) -> bool:
    try:
        return program.post().status_code == 401
    except httpx.ProxyError:
        return True


# One budget and many clients.


def test_64_clients_spend_no_more_than_a_dollar_and_one_reservation_each(proxy):
    """Each call costs about a cent. The reservation is as large, because every response has `max_tokens` tokens."""
    program = Program(proxy, "crowd")
    request = CHAT | {"model": "gpt-4o", "max_tokens": 1000}
    reserved = 1001 * 10e-6 + 100 * 2.5e-6
    codes: set[str] = set()

    def spend() -> None:
        with program.client() as client:
            while True:
                response = client.post(URL, json=request, headers={"x-simulator": "tokens=1000, headers-delay=0.05"})
                if response.status_code == 200:
                    continue
                code = response.json()["error"]["code"]
                codes.add(code)
                if code == "insufficient_quota":
                    return
                time.sleep(0.01)

    clients = [threading.Thread(target=spend) for _ in range(64)]
    for client in clients:
        client.start()
    for client in clients:
        client.join(PATIENCE)
    assert not any(client.is_alive() for client in clients)
    cost = sum(event["cost_usd"] for event in program.events(100) if event["status"] == 200)
    assert 1 <= cost <= 1 + 64 * reserved
    assert cost <= 1 + reserved, "in one process no more than one reservation is over"
    assert codes == {"rate_limit_exceeded", "insufficient_quota"}


# After a restart.


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_what_is_spent_survives_the_end_of_the_process(how, tmp_path, simulator):
    configuration = behind(simulator, quotas=QUOTAS)
    running = Wirekey(tmp_path, configuration, environ=KEY_ENVIRONMENT)
    program = Program(running, "kept")
    for _ in range(3):
        assert program.post("tokens=1000").status_code == 200
    wait_for(lambda: program.spent() > 0.0017, "the ledger")
    before = program.spent()
    running.stop(how)
    running.start()
    try:
        assert program.post("tokens=1000").status_code == 200
        wait_for(lambda: program.spent() > before, "the ledger")
        assert program.spent() == pytest.approx(before * 4 / 3, rel=1e-6)
    finally:
        running.stop()


def test_the_file_of_the_ledger_has_no_token_and_no_content(proxy):
    program = Program(proxy, "roomy")
    program.post()
    wait_for(lambda: program.spent() > 0, "the ledger")
    with contextlib.closing(sqlite3.connect(proxy.state / "quotas.db")) as database:
        text = json.dumps(database.execute("SELECT * FROM spent").fetchall())
    assert program.agent in text
    assert not any(secret in text for secret in (program.token, "Hello.", *PROVIDER_KEYS.values()))


# What the operator sees.


def test_the_operator_sees_what_is_left(tmp_path, simulator):
    listen = {"forward": "127.0.0.1:0", "gateway": None, "console": "127.0.0.1:0"}
    quotas = [{"name": "half", "per": "role", "usd_per_day": 0.0012, "warn_at": 0.5}, QUOTAS[0]]
    settings = behind(simulator, quotas=quotas, listen=listen, console={"sign_in": "loopback"})
    running = Wirekey(tmp_path, settings, environ=KEY_ENVIRONMENT)
    try:
        program = Program(running, "kept")
        assert program.post("tokens=1000").status_code == 200
        program.events(1)
        metrics = httpx.get(f"http://{running.running.console}/metrics", trust_env=False).text
        found = re.search(r'^wirekey_quota_remaining_ratio\{quota="half"\} (\S+)$', metrics, re.MULTILINE)
        assert found
        assert 0.45 < float(found[1]) < 0.5
        assert 'wirekey_quota_remaining_ratio{quota="minutely"} 1.0' in metrics
        wait_for(lambda: "of the quota half is spent" in running.output.read_text(), "the warning")
        state = httpx.get(f"http://{running.running.console}/console/state", trust_env=False)
        row = state.json()["quotas"][0]
        assert (row["quota"], row["subject"], row["limit"], row["allowed"]) == ("half", "kept", "usd_per_day", 0.0012)
        assert row["used"] == pytest.approx(0.0006, rel=0.05)
        usage = wirekey(running.folder, "usage", "--config", "wirekey.yaml", "--json", environ=running.environ)
        assert json.loads(usage.stdout)["spend"][0]["name"] == program.agent
        budget = json.loads(usage.stdout)["budgets"][0]
        assert (budget["quota"], budget["spent_usd"]) == ("half", pytest.approx(row["used"]))
    finally:
        running.stop()


def test_a_changed_quota_is_in_effect_without_a_restart_and_keeps_what_was_used(tmp_path, simulator):
    running = Wirekey(tmp_path, behind(simulator), environ=KEY_ENVIRONMENT)
    try:
        program = Program(running, "kept")
        assert program.post().status_code == 200

        def use(**limits) -> None:
            quotas = [{"name": "changed", "per": "agent", **limits}]
            settings = json.loads((tmp_path / "wirekey.yaml").read_text()) | {"quotas": quotas}
            (tmp_path / "wirekey.yaml").write_text(json.dumps(settings))

        use(usd_per_day=0.000001)
        wait_for(lambda: program.post().status_code == 429, "the budget to be in effect and used up")
        use(usd_per_day=1000)
        wait_for(lambda: program.post().status_code == 200, "the larger budget to be in effect")
        use(usd_per_day=0.000001)
        wait_for(lambda: program.post().status_code == 429, "the smaller budget to be in effect")
    finally:
        running.stop()
