"""Gemini's batches: their results are in the batch itself, or in a file."""

from __future__ import annotations

import json

import httpx
import pytest
from google import genai
from google.genai import errors

from tests.deliveries.paths import DELIVERIES
from tests.features.batches.programs import QUOTAS, SECRET, Program, settlements, start
from tests.support.running import wait_for
from wirekey.core.metering.cost import cost_usd, use_price_lists
from wirekey.core.operation import Usage
from wirekey.providers.gemini import GEMINI

MODEL = "gemini-2.5-flash"
use_price_lists({"google": "these tests"})


@pytest.fixture(scope="module")
def proxy(tmp_path_factory, simulator):
    running = start(tmp_path_factory.mktemp("wirekey"), simulator, QUOTAS)
    yield running
    running.stop()


def make(client: genai.Client, *marks: str, question: str = SECRET) -> str:
    contents = [{"parts": [{"text": question}], "role": "user"}]
    requests = [{"contents": contents, "metadata": {mark: "1"}} for mark in marks]
    return client.batches.create(model=MODEL, src=requests).name


def assert_settled(program: Program, usages: list[dict]) -> dict:
    """`usages`: with the names of the API."""
    (event,) = program.settlements()
    each = [Usage(usage["promptTokenCount"], usage["candidatesTokenCount"]) for usage in usages]
    assert event["input_tokens"] == sum(usage.input_tokens for usage in each) > 0
    assert event["output_tokens"] == sum(usage.output_tokens for usage in each) > 0
    assert event["cost_usd"] == pytest.approx(sum(cost_usd(GEMINI, MODEL, usage) / 2 for usage in each))
    assert (event["service_tier"], event["model"]) == ("batch", MODEL)
    wait_for(lambda: program.spent() == pytest.approx(event["cost_usd"], abs=2e-9), "the charge")
    return event


def usages_of(batch) -> list[dict]:
    found = [each.response.usage_metadata for each in batch.dest.inlined_responses if each.response]
    return [
        {"promptTokenCount": usage.prompt_token_count, "candidatesTokenCount": usage.candidates_token_count}
        for usage in found
    ]


@pytest.mark.parametrize("gateway", [False, True], ids=["proxy", "gateway"])
@pytest.mark.parametrize("delivery", DELIVERIES)
def test_inline_results_are_charged_once_to_the_agent_that_made_the_batch(delivery, gateway, proxy):
    maker, reader = Program(proxy, gateway=gateway), Program(proxy, "reader", gateway=gateway)
    name = make(maker.gemini(), "a", "b")
    assert settlements(proxy, maker.agent) == []
    client = reader.gemini(DELIVERIES[delivery])
    batch = client.batches.get(name=name)
    assert len(batch.dest.inlined_responses) == 2
    event = assert_settled(maker, usages_of(batch))
    assert event["path"] == f"/v1beta/{name}"
    assert event["policy_reason"] == f"batch_settled: 2 requests of {name}, read by {reader.agent}"
    assert len(maker.gemini().batches.get(name=name).dest.inlined_responses) == 2
    assert len(settlements(proxy, maker.agent)) == 1
    assert settlements(proxy, reader.agent) == []


def test_results_in_a_file_are_charged_when_it_is_read(proxy, tmp_path):
    program = Program(proxy)
    client = program.gemini()
    request = {"contents": [{"parts": [{"text": SECRET}], "role": "user"}]}
    path = tmp_path / "requests.jsonl"
    path.write_text("".join(json.dumps({"key": f"n{number}", "request": request}) + "\n" for number in range(3)))
    file = client.files.upload(file=path, config={"mime_type": "application/jsonl"})
    name = client.batches.create(model=MODEL, src=file.name).name
    done = client.batches.get(name=name)
    assert settlements(proxy, program.agent) == []
    content = client.files.download(file=done.dest.file_name)
    results = [json.loads(line) for line in content.splitlines()]
    assert [result["key"] for result in results] == ["n0", "n1", "n2"]
    event = assert_settled(program, [result["response"]["usageMetadata"] for result in results])
    assert client.files.download(file=done.dest.file_name) == content
    client.batches.get(name=name)
    assert program.settlements() == [event]


def test_requests_that_failed_cost_nothing(proxy):
    program = Program(proxy)
    name = make(program.gemini(), "fails", "good")
    batch = program.gemini().batches.get(name=name)
    assert [bool(each.error) for each in batch.dest.inlined_responses] == [True, False]
    event = assert_settled(program, usages_of(batch))
    assert event["policy_reason"] == f"batch_settled: 1 requests of {name}, read"


def test_a_cancelled_batch_without_results_costs_nothing(proxy):
    program = Program(proxy)
    name = make(program.gemini(), "a")
    program.gemini().batches.cancel(name=name)
    assert program.gemini().batches.get(name=name).state.name == "JOB_STATE_CANCELLED"
    other = make(program.gemini(), "a")
    assert_settled(program, usages_of(program.gemini().batches.get(name=other)))


def test_a_budget_that_is_used_up_refuses_a_batch(proxy):
    program = Program(proxy, role="poor")
    client = program.gemini()
    client.batches.get(name=make(client, "a"))
    program.settlements()
    with pytest.raises(errors.ClientError) as refused:
        make(client, "b")
    assert refused.value.code == 429


def test_a_mask_cannot_hide_the_tokens(proxy):
    program = Program(proxy)
    name = make(program.gemini(), "a")
    with program.http_client() as client:
        url = f"https://generativelanguage.googleapis.com/v1beta/{name}?fields=metadata.output.inlinedResponses"
        found = client.get(url)
    assert found.status_code == 400
    assert "usageMetadata" in found.text
    assert settlements(proxy, program.agent) == []


def test_a_broken_reading_is_settled_by_the_next_whole_one(proxy):
    program = Program(proxy)
    name = make(program.gemini(), "a", "b")
    with pytest.raises(httpx.RemoteProtocolError):
        program.gemini("truncate-after=1").batches.get(name=name)
    assert settlements(proxy, program.agent) == []
    assert_settled(program, usages_of(program.gemini().batches.get(name=name)))
