"""Call metrics for Prometheus: counts and distributions, updated on the event loop as calls start and end.

The number of series never depends on what clients send. A model has its own label once a provider has served it, and an
agent once it has identified itself, each up to a maximum. All others are counted as `_OTHER`. Reasons are codes of our
own refusals and HTTP statuses. Nothing else of a request or response becomes a label.
"""

from __future__ import annotations

from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING

from wirekey.core.audit.event import count, number, safe
from wirekey.core.call import Outcome
from wirekey.core.observing.conventions import (
    NO_ERROR,
    OPERATION_NAMES,
    OTHER,
    error_type,
    otel_name,
)
from wirekey.core.operation import Kind
from wirekey.features.metrics.tallies import CounterFamily, HistogramFamily

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from wirekey.core.call import Call
    from wirekey.core.operation import Operation, Usage
    from wirekey.features.metrics.tallies import Count, Distribution

NOBODY = "_NONE"
"""For calls without an agent."""
MAX_MODELS = 100
"""Distinct (provider, operation, model sent, model in the response) with labels of their own."""
MAX_AGENTS = 100
MAX_FAILURES = 200
"""Distinct (provider, operation, model sent, error) with labels of their own."""
MAX_LOSSES = 500
"""Distinct (formats, kind, member) of losses of a translation with labels of their own."""
MAX_TIERS = 30
"""Distinct tiers of service with labels of their own."""
MAX_NAME = 100

TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
DURATIONS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
FIRST_TOKENS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
PER_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
# The four above are the boundaries that the conventions recommend.
INTENTS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5)
LAGS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

MODEL_LABELS = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "gen_ai_response_model")

type Labels = tuple[str, str, str, str]
type SeriesKey = tuple[str | None, str, str | None, str | None]


class Series:
    """The child metrics for one set of `MODEL_LABELS`, created when first needed."""

    def __init__(self, metrics: CallMetrics, labels: Labels, named: tuple[str, str]) -> None:
        self._metrics = metrics
        self._labels = labels
        self._named = named
        """Our own name of the provider, and the model."""

    @cached_property
    def input_tokens(self) -> Distribution:
        """The histogram of input tokens."""
        return self._metrics.tokens.labels(*self._labels, "input")

    @cached_property
    def output_tokens(self) -> Distribution:
        """The histogram of output tokens."""
        return self._metrics.tokens.labels(*self._labels, "output")

    @cached_property
    def duration(self) -> Distribution:
        """The histogram of durations of successful calls."""
        return self._metrics.duration.labels(*self._labels, "")

    @cached_property
    def first_token(self) -> Distribution:
        """The histogram of times to the first token."""
        return self._metrics.first_token.labels(*self._labels)

    @cached_property
    def per_token(self) -> Distribution:
        """The histogram of times per output token."""
        return self._metrics.per_token.labels(*self._labels)

    @cached_property
    def cost(self) -> Count:
        """The counter of costs."""
        return self._metrics.cost.labels(*self._named)


class AgentSeries:
    """The child metrics for one agent."""

    def __init__(self, metrics: CallMetrics, agent: str) -> None:
        self._metrics = metrics
        self._agent = agent
        self.calls: dict[str, Count] = {}

    def called(self, outcome: str) -> None:
        """Count a call with this outcome."""
        if outcome not in self.calls:
            self.calls[outcome] = self._metrics.agent_calls.labels(self._agent, outcome)
        self.calls[outcome].value += 1

    @cached_property
    def input_tokens(self) -> Count:
        """The counter of input tokens."""
        return self._metrics.agent_tokens.labels(self._agent, "input")

    @cached_property
    def output_tokens(self) -> Count:
        """The counter of output tokens."""
        return self._metrics.agent_tokens.labels(self._agent, "output")

    @cached_property
    def cost(self) -> Count:
        """The counter of costs."""
        return self._metrics.agent_cost.labels(self._agent)


class CallMetrics:
    """A call observer that counts. For one event loop; the registry may be read from any thread."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def histogram(
            name: str, help_text: str, labels: tuple[str, ...], buckets: tuple[float, ...]
        ) -> HistogramFamily:
            return HistogramFamily(name, help_text, labels, buckets, registry)

        def counter(name: str, help_text: str, *labels: str) -> CounterFamily:
            return CounterFamily(name, help_text, labels, registry)

        self.tokens = histogram(
            "gen_ai_client_token_usage",
            "Tokens of a call as counted by the provider. Input includes cached tokens.",
            (*MODEL_LABELS, "gen_ai_token_type"),
            TOKENS,
        )
        self.duration = histogram(
            "gen_ai_server_request_duration_seconds",
            "Time from the request head to the end of the response, for calls that were sent.",
            (*MODEL_LABELS, "error_type"),
            DURATIONS,
        )
        self.first_token = histogram(
            "gen_ai_server_time_to_first_token_seconds",
            "Time from the request head to the first byte of a streamed response.",
            MODEL_LABELS,
            FIRST_TOKENS,
        )
        self.per_token = histogram(
            "gen_ai_server_time_per_output_token_seconds",
            "Time of a streamed response after its first byte, per output token after the first.",
            MODEL_LABELS,
            PER_TOKEN,
        )
        self.calls = counter("wirekey_calls_total", "Calls that ended, by outcome.", "provider", "outcome")
        self.decisions = counter("wirekey_decisions_total", "Calls that were allowed or denied.", "result")
        self.denials = counter(
            "wirekey_denials_total", "Denied calls, by the code of the refusal.", "provider", "reason"
        )
        self.attempts = counter("wirekey_attempts_total", "Requests that were sent upstream.", "provider")
        self.cost = counter(
            "wirekey_cost_usd_total", "List price of the calls in US dollars, by the model sent.", "provider", "model"
        )
        self.unpriced = counter(
            "wirekey_unpriced_calls_total",
            "Calls with tokens but unknown cost, because their model has no list price.",
            "provider",
        )
        self.tiers = counter(
            "wirekey_service_tier_calls_total",
            "Calls that name a tier of service, or whose response does; other: any after the first "
            f"{MAX_TIERS} of them.",
            "provider",
            "service_tier",
        )
        self.agent_calls = counter("wirekey_agent_calls_total", "Calls that ended, by agent.", "agent", "outcome")
        self.agent_tokens = counter("wirekey_agent_tokens_total", "Tokens, by agent.", "agent", "gen_ai_token_type")
        self.agent_cost = counter("wirekey_agent_cost_usd_total", "List price of the calls in US dollars.", "agent")
        self.losses = counter(
            "wirekey_translation_losses_total",
            "Members of requests that a translation changed (`adjusted`) or left out (`dropped`).",
            "from",
            "to",
            "kind",
            "field",
        )
        self.intents = histogram(
            "wirekey_audit_intent_seconds",
            "Time until a call was recorded in the audit store, before it was sent.",
            (),
            INTENTS,
        ).labels()
        self.lag = histogram(
            "wirekey_event_loop_lag_seconds",
            "Delay of the event loop, measured twice a second.",
            (),
            LAGS,
        ).labels()
        self._allowed, self._denied = self.decisions.labels("allow"), self.decisions.labels("deny")
        self._children: dict[tuple[CounterFamily, str, str], Count] = {}
        self._series: dict[SeriesKey, Series] = {}
        self._other: dict[tuple[str | None, str], Series] = {}
        self._models: set[str | None] = {None}
        self._tiers: set[str] = set()
        self._failed: dict[tuple[str, str, str, str], Distribution] = {}
        self._lost: dict[tuple[str, str, str], Count] = {}
        self._agents: dict[str, AgentSeries] = {}
        self._other_agents = AgentSeries(self, OTHER)
        self._nobody = AgentSeries(self, NOBODY)

    def began(self, call: Call) -> None:
        """Count an allowed call."""
        self._allowed.value += 1

    def ended(self, call: Call) -> None:
        """Count a call that ended, with its tokens, times and cost."""
        provider = call.provider or ""
        outcome = call.outcome.value if call.outcome else OTHER
        self._child(self.calls, provider, outcome).value += 1
        agent = self._agent(call)
        agent.called(outcome)
        if call.attempts:
            self._child(self.attempts, provider, "").value += call.attempts
            for kind, field in call.losses:
                self._loss(call.translation or "", kind, field).value += 1
            if call.service_tier:
                self._child(self.tiers, provider, self._tier(call.service_tier)).value += 1
            if call.operation and call.operation.kind is Kind.INFERENCE:
                self._inferred(call, call.operation, agent)
        elif call.outcome is not Outcome.DECLINED and call.policy_result == "deny" and not call.intent_recorded:
            self._denied.value += 1
            self._child(self.denials, provider, call.refusal_code or OTHER).value += 1

    def _child(self, counter: CounterFamily, provider: str, word: str) -> Count:
        key = (counter, provider, word)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = counter.labels(*((provider, word) if word else (provider,)))
        return child

    def _tier(self, tier: str) -> str:
        """Return a tier as a label. Clients can invent them, so that only some are counted by name."""
        if tier not in self._tiers:
            if len(self._tiers) >= MAX_TIERS:
                return OTHER
            self._tiers.add(tier)
        return safe(tier, MAX_NAME) or OTHER

    def _loss(self, formats: str, kind: str, field: str) -> Count:
        found = self._lost.get((formats, kind, field))
        if found is None:
            if len(self._lost) >= MAX_LOSSES:
                formats, field = OTHER, ""
            client, _, upstream = formats.partition(">")
            name = safe(field, MAX_NAME) or OTHER
            found = self._lost[formats, kind, field] = self.losses.labels(client, upstream, kind, name)
        return found

    def _agent(self, call: Call) -> AgentSeries:
        if call.agent is None:
            return self._nobody
        name = call.agent.id
        found = self._agents.get(name)
        if found is None:
            if len(self._agents) >= MAX_AGENTS:
                return self._other_agents
            found = self._agents[name] = AgentSeries(self, safe(name, MAX_NAME) or OTHER)
        return found

    def _inferred(self, call: Call, operation: Operation, agent: AgentSeries) -> None:
        usage = call.usage
        series = self._series_of(call, operation)
        seconds = (call.duration_ms or 0.0) / 1000
        if call.outcome in NO_ERROR:
            series.duration.observe(seconds)
        else:
            self._failure(call, operation).observe(seconds)
        if usage is None:
            return
        read, written = count(usage.input_tokens), count(usage.output_tokens)
        if read is not None:
            series.input_tokens.observe(read)
            agent.input_tokens.value += read
        if written is not None:
            series.output_tokens.observe(written)
            agent.output_tokens.value += written
        self._priced(call, usage, series, agent)
        if call.ttfb_ms is not None and streams(call, operation) and served(call):
            first = call.ttfb_ms / 1000
            series.first_token.observe(first)
            if written is not None and written > 1:
                series.per_token.observe(max(0.0, seconds - first) / (written - 1))

    def _priced(self, call: Call, usage: Usage, series: Series, agent: AgentSeries) -> None:
        cost = number(call.cost_usd)
        if cost is not None and cost >= 0:
            series.cost.value += cost
            agent.cost.value += cost
        elif usage.input_tokens is not None:
            self._child(self.unpriced, call.provider or "", "").value += 1

    def _series_of(self, call: Call, operation: Operation) -> Series:
        key = (call.provider, operation.name, call.model, call.usage.model if call.usage else None)
        found = self._series.get(key)
        if found is not None:
            return found
        if served(call) and len(self._series) < MAX_MODELS:
            self._models.add(call.model)
            made = self._series[key] = self._made(*key)
            return made
        other = (call.provider, operation.name)
        if other not in self._other:
            self._other[other] = self._made(call.provider, operation.name, OTHER, OTHER)
        return self._other[other]

    def _made(self, provider: str | None, operation: str, model: str | None, answered: str | None) -> Series:
        model, answered = (safe(name, MAX_NAME) or "" for name in (model, answered))
        named = (OPERATION_NAMES.get(operation, operation), otel_name(provider or ""))
        return Series(self, (*named, model, answered), (provider or "", model))

    def _failure(self, call: Call, operation: Operation) -> Distribution:
        provider = otel_name(call.provider or "")
        model = (safe(call.model, MAX_NAME) or "") if call.model in self._models else OTHER
        key = (OPERATION_NAMES.get(operation.name, operation.name), provider, model, error_type(call) or OTHER)
        if key not in self._failed and len(self._failed) >= MAX_FAILURES:
            key = (OTHER, provider, OTHER, key[3])
        found = self._failed.get(key)
        if found is None:
            found = self._failed[key] = self.duration.labels(*key[:3], "", key[3])
        return found


def served(call: Call) -> bool:
    """Return whether the provider accepted the call, which means that its model exists."""
    return call.status is not None and call.status < HTTPStatus.BAD_REQUEST and call.refusal_code is None


def streams(call: Call, operation: Operation) -> bool:
    """Return whether the call asked for a stream."""
    return operation.stream or (call.facts is not None and call.facts.stream)
