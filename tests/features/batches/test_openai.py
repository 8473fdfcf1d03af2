"""OpenAI's batches: who pays for them, when, how often, and at which price."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
import openai
import pytest

from tests.deliveries.paths import DELIVERIES
from tests.docs.pages import blocks_of
from tests.features.batches.programs import MODEL, SECRET, Program, chat, openai_batch, settlements, start
from tests.support.running import KEY_ENVIRONMENT, Wirekey, behind, wait_for
from wirekey.core.identity.stored_runs import NewRun, StoredRuns
from wirekey.core.metering.cost import cost_usd, use_price_lists
from wirekey.core.operation import Usage
from wirekey.features.quotas.ledger import totals_in
from wirekey.features.quotas.runs.quota import key_of
from wirekey.providers.openai import OPENAI

if TYPE_CHECKING:
    from wirekey.core.identity.runs import RunRecord

QUOTAS = [
    {"name": "dollars", "per": "agent", "usd_per_day": 1000},
    {"name": "poor", "per": "agent", "match": {"role": "poor"}, "usd_per_day": 0.000001},
    {"name": "teams", "per": "label:team", "match": {"labels.team": "*"}, "usd_per_day": 1000, "tokens_per_day": 10**9},
    {"name": "models", "per": "model", "match": {"model": "gpt-4o*"}, "tokens_per_month": 10**9},
]
ways = pytest.mark.parametrize("gateway", [False, True], ids=["proxy", "gateway"])


use_price_lists({"openai": "these tests"})


@pytest.fixture(scope="module")
def proxy(tmp_path_factory, simulator):
    running = start(tmp_path_factory.mktemp("wirekey"), simulator, QUOTAS)
    yield running
    running.stop()


def read_results(client: openai.OpenAI, batch: str) -> list[dict]:
    done = client.batches.retrieve(batch)
    return [json.loads(line) for line in client.files.content(done.output_file_id).text.splitlines()]


def batch_cost(results: list[dict]) -> float:
    """Half of the list price of these results."""
    usages = [result["response"]["body"]["usage"] for result in results]
    each = [Usage(usage["prompt_tokens"], usage["completion_tokens"]) for usage in usages]
    return sum(cost_usd(OPENAI, MODEL, usage) / 2 for usage in each)


def assert_settled(program: Program, results: list[dict]) -> dict:
    (event,) = program.settlements()
    usages = [result["response"]["body"]["usage"] for result in results]
    assert event["input_tokens"] == sum(usage["prompt_tokens"] for usage in usages) > 0
    assert event["output_tokens"] == sum(usage["completion_tokens"] for usage in usages) > 0
    assert event["cost_usd"] == pytest.approx(batch_cost(results))
    assert (event["service_tier"], event["outcome"], event["provider"]) == ("batch", "completed", "openai")
    assert event["model"].startswith(MODEL)
    wait_for(lambda: program.spent() == pytest.approx(event["cost_usd"], abs=2e-9), "the charge")
    return event


@ways
@pytest.mark.parametrize("delivery", DELIVERIES)
def test_results_are_charged_once_to_the_agent_that_made_the_batch(delivery, gateway, proxy):
    maker, reader = Program(proxy, gateway=gateway), Program(proxy, "reader", gateway=gateway)
    batch = openai_batch(maker.openai(), {"a": chat(), "b": chat("Another one, which is longer.")})
    client = reader.openai(DELIVERIES[delivery])
    results = read_results(client, batch)
    assert [result["custom_id"] for result in results] == ["a", "b"]
    event = assert_settled(maker, results)
    assert event["path"] == f"/v1/batches/{batch}"
    made = next(each for each in proxy.events() if each["id"] == event["parent_id"])
    assert (made["operation"], made["agent_id"]) == ("batches.create", maker.agent)
    assert event["policy_reason"] == f"batch_settled: 2 requests of {batch}, read by {reader.agent}"
    assert read_results(client, batch) == read_results(maker.openai(), batch) == results
    assert len(settlements(proxy, maker.agent)) == 1
    assert settlements(proxy, reader.agent) == []
    assert reader.spent() == 0


@ways
def test_a_status_with_usage_settles_and_the_results_add_nothing(gateway, proxy):
    program = Program(proxy, gateway=gateway)
    batch = openai_batch(program.openai(), {"a": chat(), "b": chat("Short.")}, usage=True)
    assert program.openai().batches.retrieve(batch).usage.input_tokens > 0
    before = program.settlements()
    results = read_results(program.openai(), batch)
    assert_settled(program, results)
    assert settlements(proxy, program.agent) == before


@pytest.mark.parametrize("gateway", [False, True])
def test_a_response_that_shows_a_batch_does_not_end_with_its_last_byte(gateway, proxy):
    client = Program(proxy, gateway=gateway).openai()
    file = client.batches.retrieve(openai_batch(client, {"a": chat()})).input_file_id
    batches = client.batches.with_raw_response
    made = batches.create(input_file_id=file, endpoint="/v1/chat/completions", completion_window="24h")
    shown = batches.retrieve(made.parse().id)
    for response in (made, shown):
        assert "content-length" not in response.headers
        assert response.headers["transfer-encoding"] == "chunked"


def test_a_list_of_batches_settles_those_with_usage(proxy):
    program = Program(proxy)
    client = program.openai()
    batches = [openai_batch(client, {"a": chat()}, usage=True) for _ in range(2)]
    for batch in batches:  # the simulator completes a batch when somebody asks for it
        with httpx.Client(verify=False) as direct:  # past Wirekey
            key = {"authorization": f"Bearer {KEY_ENVIRONMENT['REAL_OPENAI']}"}
            done = direct.get(f"{simulator_url(proxy)}/v1/batches/{batch}", headers=key | {"host": "api.openai.com"})
            assert done.json()["status"] == "completed"
    assert settlements(proxy, program.agent) == []
    assert {each.id for each in client.batches.list(limit=100)} >= set(batches)
    events = program.settlements(2)
    assert {event["path"].rpartition("/")[2] for event in events} == set(batches)


def simulator_url(proxy: Wirekey) -> str:
    return json.loads((proxy.folder / "wirekey.yaml").read_text())["providers"]["openai"]["upstream_url"]


def test_only_requests_with_a_response_are_charged(proxy):
    program = Program(proxy)
    bodies = {"good": chat(), "bad": {"model": MODEL}, "expired": chat()}
    batch = openai_batch(program.openai(), bodies)
    done = program.openai().batches.retrieve(batch)
    assert done.status == "expired"
    program.openai().files.content(done.error_file_id)
    assert settlements(proxy, program.agent) == []
    (result,) = read_results(program.openai(), batch)
    event = assert_settled(program, [result])
    assert event["policy_reason"] == f"batch_settled: 1 requests of {batch}, read"


@pytest.mark.parametrize("usage", [False, True], ids=["results", "status"])
def test_a_cancelled_batch_is_charged_for_what_it_has_done(usage, proxy):
    program = Program(proxy)
    batch = openai_batch(program.openai(), {"a": chat(), "b": chat()}, usage=usage)
    assert program.openai().batches.cancel(batch).status == "cancelled"
    (result,) = read_results(program.openai(), batch)
    assert_settled(program, [result])


@pytest.mark.parametrize("endpoint", ["/v1/responses", "/v1/embeddings", "/v1/completions"])
def test_each_endpoint_is_counted(endpoint, proxy):
    bodies = {
        "/v1/responses": {"model": MODEL, "input": SECRET},
        "/v1/embeddings": {"model": "text-embedding-3-small", "input": SECRET},
        "/v1/completions": {"model": "gpt-3.5-turbo-instruct", "prompt": SECRET},
    }
    program = Program(proxy)
    batch = openai_batch(program.openai(), {"a": bodies[endpoint]}, endpoint=endpoint)
    (result,) = read_results(program.openai(), batch)
    usage = result["response"]["body"]["usage"]
    (event,) = program.settlements()
    assert event["input_tokens"] == usage.get("input_tokens", usage.get("prompt_tokens")) > 0
    assert event["cost_usd"] > 0


def test_labels_and_the_model_decide_which_quotas_are_charged(proxy):
    program = Program(proxy, labels={"team": "search"})
    batch = openai_batch(program.openai(), {"a": chat()})
    read_results(Program(proxy, "reader", labels={"team": "sales"}).openai(), batch)
    (event,) = program.settlements()
    assert json.loads(event["labels"]) == {"team": "search"}
    tokens = event["input_tokens"] + event["output_tokens"]

    def charged():
        totals = totals_in(proxy.state / "quotas.db")
        found = {key: total.amount for key, total in totals.items() if key.startswith("quota:teams:tokens")}
        return [amount for key, amount in found.items() if key.endswith(":search")] == [tokens] and not any(
            key.endswith(":sales") for key in found
        )

    wait_for(charged, "the tokens of the team")


def test_a_batch_is_charged_to_its_run_and_to_no_later_one_of_its_name(proxy):
    program = Program(proxy)
    runs = StoredRuns(proxy.agents)

    def begun(name: str) -> RunRecord:
        program.token = runs.start(program.agent, NewRun(name, budget=10**9), lifetime=3600)
        return runs.find(name).record

    def charged(run: RunRecord) -> int:
        total = totals_in(proxy.state / "quotas.db").get(key_of(run, "usd"))
        return total.amount if total else 0

    going_on, ended = f"{program.agent}-going-on", f"{program.agent}-ended"
    run = begun(going_on)
    read_results(program.openai(), openai_batch(program.openai(), {"a": chat()}))
    (event,) = program.settlements()
    wait_for(lambda: charged(run) == pytest.approx(event["cost_usd"] * 1e9, abs=2), "the charge of the run")
    begun(ended)
    batch = openai_batch(program.openai(), {"a": chat()})
    runs.end(ended)
    later = begun(ended)
    program.openai().models.list()  # the proxy knows the run
    read_results(Program(proxy, "reader").openai(), batch)
    cost = sum(each["cost_usd"] for each in program.settlements(2))
    wait_for(lambda: program.spent() == pytest.approx(cost, abs=2e-9), "the charge of the agent")
    assert charged(later) == 0


def test_a_budget_that_is_used_up_refuses_a_batch(proxy):
    program = Program(proxy, role="poor")
    client = program.openai()
    batch = openai_batch(client, {"a": chat(), "b": chat()})
    read_results(client, batch)
    assert program.settlements()[0]["cost_usd"] > 0.000001
    with pytest.raises(openai.RateLimitError) as refused:
        openai_batch(client, {"a": chat()})
    assert refused.value.code == "insufficient_quota"
    assert read_results(client, batch), "reading what is paid for is not refused"


def test_a_reading_that_breaks_off_is_settled_by_the_next_whole_one(proxy):
    program = Program(proxy)
    batch = openai_batch(program.openai(), {"a": chat(), "b": chat()})
    output = program.openai().batches.retrieve(batch).output_file_id
    with pytest.raises(openai.APIConnectionError):
        program.openai("truncate-after=1, size=100").files.content(output)
    assert settlements(proxy, program.agent) == []
    assert program.spent() == 0
    assert_settled(program, read_results(program.openai(), batch))


def test_a_batch_is_remembered_over_a_restart(tmp_path, simulator):
    configuration = behind(simulator, quotas=QUOTAS)
    proxy = Wirekey(tmp_path, configuration, environ=KEY_ENVIRONMENT)
    try:
        program = Program(proxy)
        batch = openai_batch(program.openai(), {"a": chat()})
        for _ in range(2):
            proxy.stop()
            proxy.start()
            results = read_results(program.openai(), batch)
        assert_settled(program, results)
    finally:
        proxy.stop()


def test_results_of_an_unknown_batch_are_charged_to_nobody(proxy, simulator):
    program = Program(proxy)
    client = program.openai()
    batch = openai_batch(client, {"a": chat()})
    output = client.batches.retrieve(batch).output_file_id
    content = client.files.content(output).content
    program.settlements()
    copied = client.files.create(file=("out.jsonl", content), purpose="batch")
    other = Program(proxy, "other")
    assert other.openai().files.content(copied.id).content == content
    wait_for(lambda: f"the results {copied.id} of openai are of a batch that Wirekey" in log(proxy), "the warning")
    assert settlements(proxy, other.agent) == []


def test_a_batch_whose_name_nobody_has_seen_is_warned_of(proxy):
    program = Program(proxy)
    made = {"input_file_id": "file-1", "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    with pytest.raises(openai.APITimeoutError):
        program.openai("stall-after=0").with_options(timeout=1).batches.create(**made)
    warned = f"a call of {program.agent} ended before openai said which batch it has made"
    wait_for(lambda: warned in log(proxy), "the warning")


def log(proxy: Wirekey) -> str:
    return proxy.output.read_text()


def test_no_content_is_kept(proxy):
    program = Program(proxy)
    batch = openai_batch(program.openai(), {"custom-canary-55": chat()})
    results = read_results(program.openai(), batch)
    program.settlements()
    said = results[0]["response"]["body"]["choices"][0]["message"]["content"]
    files = [path for path in proxy.state.rglob("*") if path.is_file()]
    assert any(path.name.startswith("batches.db") for path in files)
    for path in [*files, proxy.output]:
        data = path.read_bytes()
        for canary in (SECRET, said, "custom-canary-55", *KEY_ENVIRONMENT.values()):
            assert canary.encode() not in data, path


def test_the_program_of_the_guide_is_charged(proxy):
    """The block of docs/guides/quotas.md, with the values of this machine in place of those of the page."""
    maker = Program(proxy, gateway=True)
    (block,) = [block for block in blocks_of("docs/guides/quotas.md") if "client.batches.create" in block.text]
    values = {"127.0.0.1:8000": proxy.running.gateway, "wk_…": maker.token}
    text = block.text
    for shown, here in values.items():
        assert shown in text
        text = text.replace(shown, here)
    names: dict = {}
    exec(compile(text, block.name, "exec"), names)  # the code of the page
    done = names["client"].batches.retrieve(names["batch"].id)
    assert done.status == "completed"
    (event,) = maker.settlements()
    assert event["path"] == f"/v1/batches/{done.id}"
