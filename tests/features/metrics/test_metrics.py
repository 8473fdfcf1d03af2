"""What each call adds to the metrics, and the hostile input that must not add series."""

from __future__ import annotations

import secrets
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from wirekey.core.body import Body
from wirekey.core.call import Agent, Call, Outcome
from wirekey.core.observing import conventions
from wirekey.core.operation import Facts, Kind, Operation, Usage
from wirekey.core.routing.account_health import AccountHealth, AccountState
from wirekey.features.metrics.call_metrics import MAX_AGENTS, MAX_FAILURES, MAX_LOSSES, MAX_MODELS, CallMetrics
from wirekey.features.metrics.condition import account_counts

CHAT = Operation("chat.completions", Body.JSON, Kind.INFERENCE)
LIST = Operation("files.list", Body.NONE, Kind.STORAGE)
ALICE = Agent("alice")


class Watched:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = CallMetrics(self.registry)

    def see(self, call: Call) -> None:
        if call.intent_recorded:
            self.metrics.began(call)
        self.metrics.ended(call)

    @property
    def samples(self) -> dict:
        """Return the values by (name, labels that are not empty), without buckets and zeros."""
        text = generate_latest(self.registry).decode()
        return {
            (sample.name, frozenset((name, value) for name, value in sample.labels.items() if value)): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.value and not sample.name.endswith("_bucket")
        }

    @property
    def series(self) -> int:
        return sum(not line.startswith(b"#") for line in generate_latest(self.registry).splitlines())

    def of(self, name: str) -> dict[frozenset, float]:
        return {labels: value for (found, labels), value in self.samples.items() if found == name}


@pytest.fixture
def watched():
    return Watched()


def labels(**given: str) -> frozenset:
    return frozenset(given.items())


def sent(**facts) -> Call:
    """Return a call that was sent to the provider and got a response."""
    values = {
        "agent": ALICE,
        "provider": "openai",
        "operation": CHAT,
        "facts": Facts(model="gpt-4o"),
        "model": "gpt-4o",
        "attempts": 1,
        "policy_result": "allow",
        "intent_recorded": True,
        "status": 200,
        "outcome": Outcome.COMPLETED,
        "usage": Usage(31, 12, model="gpt-4o-2024-08-06"),
        "cost_usd": 0.25,
        "duration_ms": 1500.0,
        "ttfb_ms": 400.0,
    }
    return Call(**(values | facts))


def refused(code: str, **facts) -> Call:
    values = {"policy_result": "deny", "refusal_code": code, "status": 403, "outcome": Outcome.DENIED, "usage": None}
    return sent(**(values | {"intent_recorded": False, "attempts": 0, "cost_usd": None} | facts))


GPT = {
    "gen_ai_operation_name": "chat",
    "gen_ai_provider_name": "openai",
    "gen_ai_request_model": "gpt-4o",
    "gen_ai_response_model": "gpt-4o-2024-08-06",
}


def test_a_whole_response_counts_tokens_duration_and_cost_but_no_first_token(watched):
    watched.see(sent())
    read, written = labels(**GPT, gen_ai_token_type="input"), labels(**GPT, gen_ai_token_type="output")
    assert watched.samples == {
        ("gen_ai_client_token_usage_sum", read): 31,
        ("gen_ai_client_token_usage_count", read): 1,
        ("gen_ai_client_token_usage_sum", written): 12,
        ("gen_ai_client_token_usage_count", written): 1,
        ("gen_ai_server_request_duration_seconds_sum", labels(**GPT)): 1.5,
        ("gen_ai_server_request_duration_seconds_count", labels(**GPT)): 1,
        ("wirekey_calls_total", labels(provider="openai", outcome="completed")): 1,
        ("wirekey_decisions_total", labels(result="allow")): 1,
        ("wirekey_attempts_total", labels(provider="openai")): 1,
        ("wirekey_cost_usd_total", labels(provider="openai", model="gpt-4o")): 0.25,
        ("wirekey_agent_calls_total", labels(agent="alice", outcome="completed")): 1,
        ("wirekey_agent_tokens_total", labels(agent="alice", gen_ai_token_type="input")): 31,
        ("wirekey_agent_tokens_total", labels(agent="alice", gen_ai_token_type="output")): 12,
        ("wirekey_agent_cost_usd_total", labels(agent="alice")): 0.25,
    }


def test_a_stream_has_a_time_to_the_first_token_and_per_further_token(watched):
    watched.see(sent(facts=Facts(model="gpt-4o", stream=True)))
    assert watched.of("gen_ai_server_time_to_first_token_seconds_sum") == {labels(**GPT): 0.4}
    assert watched.of("gen_ai_server_time_per_output_token_seconds_sum") == {labels(**GPT): pytest.approx(1.1 / 11)}


@pytest.mark.parametrize("written", [None, 0, 1])
def test_a_stream_of_at_most_one_token_has_no_time_per_token(watched, written):
    watched.see(sent(facts=Facts(stream=True), usage=Usage(31, written)))
    assert watched.of("gen_ai_server_time_to_first_token_seconds_count")
    assert not watched.of("gen_ai_server_time_per_output_token_seconds_count")


@pytest.mark.parametrize(
    ("provider", "operation", "conventional"),
    [
        ("gemini", Operation("generateContent", Body.JSON, Kind.INFERENCE), ("generate_content", "gcp.gemini")),
        ("bedrock", Operation("converse", Body.JSON, Kind.INFERENCE), ("chat", "aws.bedrock")),
        ("anthropic", Operation("messages", Body.JSON, Kind.INFERENCE), ("chat", "anthropic")),
        ("openai", Operation("images.generations", Body.JSON, Kind.INFERENCE), ("images.generations", "openai")),
    ],
)
def test_providers_and_operations_have_the_names_of_the_opentelemetry_conventions(
    watched, provider, operation, conventional
):
    watched.see(sent(provider=provider, operation=operation))
    (found,) = watched.of("gen_ai_server_request_duration_seconds_count")
    assert (dict(found)["gen_ai_operation_name"], dict(found)["gen_ai_provider_name"]) == conventional
    assert watched.of("wirekey_attempts_total") == {labels(provider=provider): 1}


def test_cached_tokens_are_a_part_of_the_input(watched):
    usage = Usage(1110, 5, cached_input_tokens=100, cache_write_tokens=1000)
    watched.see(sent(provider="anthropic", model="claude", usage=usage))
    watched.see(sent(provider="openai", model="gpt", usage=Usage(10, 5, cached_input_tokens=7)))
    found = watched.of("gen_ai_client_token_usage_sum")
    assert sorted(found.values()) == [5, 5, 10, 1110]


FAILURES = [
    ({"status": 429, "outcome": Outcome.UPSTREAM_ERROR}, "429"),
    ({"status": 529, "outcome": Outcome.UPSTREAM_ERROR}, "_OTHER"),
    ({"status": 200, "outcome": Outcome.UPSTREAM_ERROR, "policy_reason": "a_word_of_the_provider"}, "upstream_error"),
    ({"status": 200, "outcome": Outcome.TRUNCATED}, "truncated"),
    ({"status": 504, "outcome": Outcome.TIMEOUT, "refusal_code": "upstream_timeout"}, "upstream_timeout"),
    ({"status": 200, "outcome": Outcome.INTERRUPTED}, "interrupted"),
]


@pytest.mark.parametrize(("facts", "error"), FAILURES)
def test_the_error_type_of_a_failure_is_independent_of_the_providers_words(watched, facts, error):
    watched.see(sent())
    watched.see(sent(usage=None, cost_usd=None, **facts))
    failed = {key: value for key, value in GPT.items() if key != "gen_ai_response_model"}
    assert watched.of("gen_ai_server_request_duration_seconds_count") == {
        labels(**GPT): 1,
        labels(**failed, error_type=error): 1,
    }


def test_a_disconnect_of_the_client_is_not_an_error(watched):
    watched.see(sent(outcome=Outcome.CLIENT_CANCELLED))
    assert watched.of("gen_ai_server_request_duration_seconds_count") == {labels(**GPT): 1}
    assert watched.of("wirekey_calls_total") == {labels(provider="openai", outcome="client_cancelled"): 1}


def test_a_denied_call_counts_by_its_code_only_and_not_as_sent(watched):
    watched.see(refused("policy_denied", policy_reason="policy_denied: a sentence that someone wrote"))
    watched.see(refused("no_agent", agent=None, provider="gemini"))
    assert watched.samples == {
        ("wirekey_calls_total", labels(provider="openai", outcome="denied")): 1,
        ("wirekey_calls_total", labels(provider="gemini", outcome="denied")): 1,
        ("wirekey_decisions_total", labels(result="deny")): 2,
        ("wirekey_denials_total", labels(provider="openai", reason="policy_denied")): 1,
        ("wirekey_denials_total", labels(provider="gemini", reason="no_agent")): 1,
        ("wirekey_agent_calls_total", labels(agent="alice", outcome="denied")): 1,
        ("wirekey_agent_calls_total", labels(agent="_NONE", outcome="denied")): 1,
    }


def test_an_operation_without_inference_counts_only_as_a_call(watched):
    watched.see(sent(operation=LIST, model=None, usage=None, cost_usd=None))
    assert not any(name.startswith("gen_ai") for name, _ in watched.samples)
    assert watched.of("wirekey_calls_total") == {labels(provider="openai", outcome="completed"): 1}


def test_an_unknown_cost_is_counted_as_unknown_and_not_as_zero(watched):
    watched.see(sent(cost_usd=None))
    watched.see(sent(cost_usd=float("nan")))
    watched.see(sent(usage=None, cost_usd=None))
    assert watched.of("wirekey_unpriced_calls_total") == {labels(provider="openai"): 2}
    assert not watched.of("wirekey_cost_usd_total")


def test_all_attempts_of_a_call_count(watched):
    watched.see(sent(attempts=3))
    assert watched.of("wirekey_attempts_total") == {labels(provider="openai"): 3}


def test_a_model_that_no_provider_served_has_no_label(watched):
    canary = secrets.token_hex(8)
    before = None
    for number in range(300):
        watched.see(
            sent(model=f"{canary}-{number}", status=404, outcome=Outcome.UPSTREAM_ERROR, usage=None, cost_usd=None)
        )
        before = before or watched.series
    assert watched.series == before
    assert canary.encode() not in generate_latest(watched.registry)
    assert {dict(found)["gen_ai_request_model"] for found in watched.of("gen_ai_server_request_duration_seconds_count")}


HOSTILE = {
    "models": lambda n: sent(model=f"m{n}", facts=Facts(stream=True)),
    "models that respond under other names": lambda n: sent(usage=Usage(1, 2, model=f"m{n}")),
    "models that the policy denies": lambda n: refused("policy_denied", model=f"m{n}"),
    "models that fail": lambda n: sent(model=f"m{n}", status=400 + n % 60, outcome=Outcome.UPSTREAM_ERROR),
    "agents": lambda n: sent(agent=Agent(f"a{n}")),
    "statuses": lambda n: sent(status=400 + n % 600, outcome=Outcome.UPSTREAM_ERROR, usage=None),
    "reasons": lambda n: refused("policy_denied", policy_reason=f"reason{n}: text"),
    "roles, types, credentials, routes and targets": lambda n: sent(
        agent=Agent("alice", f"r{n}", f"t{n}"), credential=f"c{n}", route=f"r{n}", path=f"/{n}", upstream=f"u{n}"
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_the_series_stay_bounded_however_many_values_a_client_sends(watched, what):
    for number in range(2 * max(MAX_MODELS, MAX_AGENTS, MAX_FAILURES)):
        watched.see(HOSTILE[what](number))
    settled = watched.series
    for number in range(10_000, 11_000):
        watched.see(HOSTILE[what](number))
    assert watched.series == settled
    assert settled < 100 * MAX_MODELS


def test_all_hostile_values_together_stay_below_twenty_thousand_series(watched):
    for number in range(3000):
        for hostile in HOSTILE.values():
            watched.see(hostile(number))
    assert watched.series < 20_000


def test_values_beyond_the_limit_of_names_still_count(watched):
    for number in range(MAX_MODELS + 50):
        watched.see(sent(model=f"m{number}", agent=Agent(f"a{number}"), usage=Usage(1, 1)))
    cost = watched.of("wirekey_cost_usd_total")
    assert cost[labels(provider="openai", model="_OTHER")] == 50 * 0.25
    assert sum(cost.values()) == (MAX_MODELS + 50) * 0.25
    assert watched.of("wirekey_agent_cost_usd_total")[labels(agent="_OTHER")] == (MAX_AGENTS - 100 + 50) * 0.25


@pytest.mark.parametrize("name", ['quo"te', "new\nline", "back\\slash", "\u202ereversed", "x" * 5000, "{}", "größer"])
def test_any_name_becomes_short_printable_ascii(watched, name):
    watched.see(sent(model=name, agent=Agent(name), usage=Usage(1, 2, model=name)))
    text = generate_latest(watched.registry)
    assert text.isascii()
    assert max(map(len, text.splitlines())) < 500
    names = {value for _, found in watched.samples for label, value in found if label in ("agent", "model")}
    assert len(names) == 1
    assert names.pop().isprintable()


@pytest.mark.parametrize(("facts", "error"), FAILURES)
def test_a_span_has_the_same_error_type_as_the_metric(facts, error):
    assert conventions.error_type(sent(**facts)) == error


def test_the_losses_of_a_translation_are_counted_by_member(watched):
    lost = {"translation": "openai.chat>anthropic", "losses": (("adjusted", "temperature"), ("dropped", ""))}
    watched.see(sent(**lost))
    watched.see(sent(**lost))
    watched.see(refused("cannot_translate", **lost))
    formats = {"from": "openai.chat", "to": "anthropic"}
    assert watched.of("wirekey_translation_losses_total") == {
        labels(**formats, kind="adjusted", field="temperature"): 2,
        labels(**formats, kind="dropped", field="_OTHER"): 2,
    }


def test_losses_have_a_bounded_number_of_series(watched):
    watched.see(sent(translation="a>b", losses=tuple(("dropped", f"m{n}") for n in range(MAX_LOSSES))))
    before = watched.series
    watched.see(sent(translation="a>b", losses=tuple(("dropped", f"more{n}") for n in range(MAX_LOSSES))))
    assert watched.series == before + 1
    assert (
        watched.of("wirekey_translation_losses_total")[labels(**{"from": "_OTHER"}, kind="dropped", field="_OTHER")]
        == MAX_LOSSES
    )


def test_every_state_of_accounts_is_counted_also_if_no_account_is_in_it():
    health = [AccountHealth("gemini-oauth-auto/a", AccountState.USABLE)]
    assert account_counts({"gemini-oauth-auto": SimpleNamespace(health=lambda _: health)}, 0.0) == {
        ("gemini-oauth-auto", "usable"): 1,
        ("gemini-oauth-auto", "limited"): 0,
        ("gemini-oauth-auto", "needs_login"): 0,
        ("gemini-oauth-auto", "invalid"): 0,
    }
