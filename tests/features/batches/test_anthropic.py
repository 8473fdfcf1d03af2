"""Anthropic's message batches: their results are read from the batch itself, and its status has no token counts."""

from __future__ import annotations

import anthropic
import httpx2
import pytest
from anthropic.types.messages import MessageBatchIndividualResponse

from tests.deliveries.paths import DELIVERIES
from tests.features.batches.programs import QUOTAS, SECRET, Program, settlements, start
from tests.support.running import wait_for
from wirekey.core.metering.cost import cost_usd, use_price_lists
from wirekey.core.operation import Usage
from wirekey.providers.anthropic import ANTHROPIC

MODEL = "claude-haiku-4-5"
use_price_lists({"anthropic": "these tests"})


@pytest.fixture(scope="module")
def proxy(tmp_path_factory, simulator):
    running = start(tmp_path_factory.mktemp("wirekey"), simulator, QUOTAS)
    yield running
    running.stop()


def make(client: anthropic.Anthropic, *names: str) -> str:
    params = {"model": MODEL, "max_tokens": 60, "messages": [{"role": "user", "content": SECRET}]}
    return client.messages.batches.create(requests=[{"custom_id": name, "params": params} for name in names]).id


def read_results(client: anthropic.Anthropic, batch: str) -> list[MessageBatchIndividualResponse]:
    """Read results at their path. `results()` of the SDK follows a URL, which names the host of the simulator."""
    url = client.messages.batches.retrieve(batch).results_url
    response = client.get(httpx2.URL(url).path, cast_to=httpx2.Response)
    return [MessageBatchIndividualResponse.model_validate_json(line) for line in response.text.splitlines()]


def assert_settled(program: Program, results: list) -> dict:
    (event,) = program.settlements()
    usages = [result.result.message.usage for result in results if result.result.type == "succeeded"]
    cached = [usage.cache_read_input_tokens or 0 for usage in usages]
    each = [
        Usage(usage.input_tokens + read, usage.output_tokens, read) for usage, read in zip(usages, cached, strict=True)
    ]
    assert event["input_tokens"] == sum(usage.input_tokens for usage in each) > 0
    assert event["output_tokens"] == sum(usage.output_tokens for usage in each) > 0
    assert event["cached_input_tokens"] == sum(cached)
    assert event["cost_usd"] == pytest.approx(sum(cost_usd(ANTHROPIC, MODEL, usage) / 2 for usage in each))
    assert event["service_tier"] == "batch"
    wait_for(lambda: program.spent() == pytest.approx(event["cost_usd"], abs=2e-9), "the charge")
    return event


@pytest.mark.parametrize("gateway", [False, True], ids=["proxy", "gateway"])
@pytest.mark.parametrize("delivery", DELIVERIES)
def test_results_are_charged_once_to_the_agent_that_made_the_batch(delivery, gateway, proxy):
    maker, reader = Program(proxy, gateway=gateway), Program(proxy, "reader", gateway=gateway)
    batch = make(maker.anthropic("cached-tokens=4"), "a", "b")
    assert reader.anthropic().messages.batches.retrieve(batch).processing_status == "ended"
    assert settlements(proxy, maker.agent) == []
    client = reader.anthropic(DELIVERIES[delivery])
    results = read_results(client, batch)
    assert [result.custom_id for result in results] == ["a", "b"]
    event = assert_settled(maker, results)
    assert event["path"] == f"/v1/messages/batches/{batch}"
    assert event["policy_reason"] == f"batch_settled: 2 requests of {batch}, read by {reader.agent}"
    assert len(read_results(maker.anthropic(), batch)) == 2
    assert len(settlements(proxy, maker.agent)) == 1
    assert settlements(proxy, reader.agent) == []
    assert reader.spent() == 0


def test_only_requests_that_succeeded_are_charged(proxy):
    program = Program(proxy)
    batch = make(program.anthropic(), "errored", "canceled", "expired", "good")
    results = read_results(program.anthropic(), batch)
    assert [result.result.type for result in results] == ["errored", "canceled", "expired", "succeeded"]
    assert assert_settled(program, results)["policy_reason"] == f"batch_settled: 1 requests of {batch}, read"


def test_a_batch_without_a_success_costs_nothing(proxy):
    program = Program(proxy)
    batch = make(program.anthropic(), "errored", "expired")
    assert len(read_results(program.anthropic(), batch)) == 2
    other = make(program.anthropic(), "good")
    results = read_results(program.anthropic(), other)
    assert assert_settled(program, results)["path"].endswith(other)


def test_a_budget_that_is_used_up_refuses_a_batch(proxy):
    program = Program(proxy, role="poor")
    client = program.anthropic()
    batch = make(client, "a")
    read_results(client, batch)
    program.settlements()
    with pytest.raises(anthropic.RateLimitError, match="quota poor"):
        make(client, "b")


def test_a_model_without_a_price_is_refused_if_there_is_a_budget(proxy):
    params = {"model": "claude-of-tomorrow", "max_tokens": 60, "messages": [{"role": "user", "content": "?"}]}
    client = Program(proxy).anthropic()
    with pytest.raises(anthropic.PermissionDeniedError, match="price"):
        client.messages.batches.create(requests=[{"custom_id": "a", "params": params}])


def test_a_reading_that_breaks_off_is_settled_by_the_next_whole_one(proxy):
    program = Program(proxy)
    batch = make(program.anthropic(), "a", "b")
    with pytest.raises(anthropic.APIConnectionError):
        program.anthropic("truncate-after=1").get(f"/v1/messages/batches/{batch}/results", cast_to=httpx2.Response)
    assert settlements(proxy, program.agent) == []
    assert_settled(program, read_results(program.anthropic(), batch))
