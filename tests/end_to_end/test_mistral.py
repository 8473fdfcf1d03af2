"""Calls to Mistral, and calls of other formats whose route leads to a model of Mistral's."""

from __future__ import annotations

import json

import anthropic
import httpx
import openai
import pytest
from google import genai
from google.genai import types
from mistralai.client import Mistral
from mistralai.client.errors import SDKError

from tests.support.own_simulator import simulator
from tests.support.running import PROVIDER_KEYS, wirekey_behind
from wirekey.core.call import new_call_id

__all__ = ["simulator"]

LISTEN = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
ROUTES = [
    {"match": "reasoner", "model": "magistral-medium-latest", "provider": "mistral"},
    {"match": "failing", "model": "sim-fail-422", "provider": "mistral"},
    {"match": "breaking", "model": "sim-error-after-4", "provider": "mistral"},
    {"match": "claude", "model": "claude-sonnet-4-5", "provider": "anthropic"},
]
MESSAGES = [{"role": "user", "content": "hi"}]
SAID = "Hello from the simulator: nobody thought about this answer."
THOUGHT = "The user greets me. I greet back."


@pytest.fixture(scope="module")
def served(tmp_path_factory, simulator):
    with wirekey_behind(tmp_path_factory.mktemp("wirekey"), simulator, listen=LISTEN, routes=ROUTES) as running:
        running.token = running.add_agent("alice")
        running.base = f"http://{running.running.gateway}"
        yield running


@pytest.fixture(autouse=True)
def began(simulator):
    simulator.forget()
    return new_call_id()


@pytest.fixture
def mistral(served):
    return Mistral(api_key=served.token, server_url=f"{served.base}/api/v1/mistral")


@pytest.fixture
def chat(served):
    return openai.OpenAI(api_key=served.token, base_url=f"{served.base}/v1", max_retries=0)


@pytest.fixture
def claude(served):
    return anthropic.Anthropic(api_key=served.token, base_url=served.base, max_retries=0)


def sent(simulator):
    (seen,) = simulator.seen
    assert seen.provider == "mistral"
    assert (b"authorization", f"Bearer {PROVIDER_KEYS['mistral']}".encode()) in [
        (name.lower(), value) for name, value in seen.headers
    ]
    return json.loads(seen.body)


def test_the_extras_of_mistral_arrive_and_the_call_is_recorded(mistral, served, simulator, began):
    messages = [*MESSAGES, {"role": "assistant", "content": "So: ", "prefix": True}]
    answer = mistral.chat.complete(model="mistral-large-latest", messages=messages, random_seed=3, safe_prompt=True)
    assert answer.choices[0].message.content == f"So: {SAID}"
    body = sent(simulator)
    assert (body["random_seed"], body["safe_prompt"], body["messages"][1]["prefix"]) == (3, True, True)
    event = served.finished_event(began)
    facts = ("provider", "operation", "model", "message_count", "credential", "outcome", "finish_reason", "translation")
    assert [event[name] for name in facts] == [
        *("mistral", "chat.completions", "mistral-large-latest", 2, "mistral/1", "completed", "stop", None)
    ]
    assert event["cost_usd"] > 0


def test_a_stream_of_completions_in_a_text_is_counted_and_priced(mistral, served, began):
    list(mistral.fim.stream(model="codestral-latest", prompt="def f", suffix="x"))
    event = served.finished_event(began)
    assert (event["operation"], event["stream"], event["output_tokens"] > 0) == ("fim.completions", 1, True)
    assert event["cost_usd"] > 0


def test_the_root_of_the_gateway_has_completions_in_a_text(served, simulator):
    with Mistral(api_key=served.token, server_url=served.base) as client:
        client.fim.complete(model="codestral-latest", prompt="def f", suffix="x")
    assert sent(simulator)["prompt"] == "def f"


def test_the_parameters_of_a_models_name_have_mistrals_names(mistral, simulator):
    mistral.chat.complete(model="mistral-small-latest?seed=5&temperature=0.5", messages=MESSAGES)
    body = sent(simulator)
    assert (body["model"], body["random_seed"], body["temperature"]) == ("mistral-small-latest", 5, 0.5)


def test_wirekeys_refusal_is_mistrals_error(served):
    client = Mistral(api_key="wk_of_nobody", server_url=f"{served.base}/api/v1/mistral")
    with pytest.raises(SDKError) as refused:
        client.chat.complete(model="mistral-large-latest", messages=MESSAGES)
    assert refused.value.status_code == 401
    assert json.loads(refused.value.body)["object"] == "error"


@pytest.mark.parametrize("model", ["mistral-large-latest", "mistral:mistral-large-latest"])
@pytest.mark.parametrize("stream", [False, True])
def test_openais_client_asks_for_a_model_of_mistral(  # noqa: PLR0917  # columns of the table, and what runs
    chat, served, simulator, began, model, stream
):
    asked = {"model": model, "messages": [{"role": "developer", "content": "x"}, *MESSAGES], "seed": 3, "store": False}
    made = chat.chat.completions.create(**asked, max_completion_tokens=50, stream=stream)
    if stream:
        chunks = list(made)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == SAID
        assert not any(chunk.usage for chunk in chunks)  # as it did not ask for them
    else:
        assert made.choices[0].message.content == SAID
    system, user = sent(simulator).pop("messages")
    assert (system["role"], user) == ("system", MESSAGES[0])
    given = sent(simulator).keys() - {"stream", "model", "messages"}
    assert given == {"max_tokens", "random_seed"}
    event = served.finished_event(began)
    assert (event["model"], event["translation"], event["input_tokens"] > 0) == ("mistral-large-latest", None, True)
    assert event["cost_usd"] > 0


def test_openais_client_gets_the_counts_that_it_asks_for(chat):
    asked = {"model": "mistral-large-latest", "messages": MESSAGES, "stream_options": {"include_usage": True}}
    chunks = list(chat.chat.completions.create(**asked, stream=True))
    assert chunks[-1].usage.prompt_tokens > 0


def test_openais_client_gets_vectors(chat, simulator):
    found = chat.embeddings.create(model="mistral-embed", input=["a", "b"], dimensions=8)
    assert [len(each.embedding) for each in found.data] == [8, 8]
    assert sent(simulator)["output_dimension"] == 8


def test_the_thoughts_of_a_model_reach_claudes_client(claude, served, began):
    thinking = {"type": "enabled", "budget_tokens": 1024}
    asked = {"model": "reasoner", "max_tokens": 2000, "messages": MESSAGES, "thinking": thinking}
    thought, said = claude.messages.create(**asked).content
    assert (thought.thinking, said.text) == (THOUGHT, SAID)
    with claude.messages.stream(**asked) as stream:
        thought, said = stream.get_final_message().content
    assert (thought.thinking.strip(), said.text) == (THOUGHT, SAID)
    events = served.finished_events(2, began)
    assert {event["translation"] for event in events} == {"anthropic>openai.chat"}


def test_the_formats_of_responses_and_of_gemini_are_translated(chat, served):
    assert chat.responses.create(model="reasoner", input="hi").output_text == SAID
    client = genai.Client(api_key=served.token, http_options=types.HttpOptions(base_url=served.base))
    assert client.models.generate_content(model="reasoner", contents="hi").text == SAID


def test_a_session_with_a_tool_is_translated(claude):
    tool = {"name": "f", "input_schema": {"type": "object", "properties": {"a": {"type": "string"}}}}
    messages = [{"role": "user", "content": "Please call a tool."}]
    asked = {"model": "mistral:mistral-large-latest", "max_tokens": 2000, "tools": [tool]}
    answer = claude.messages.create(**asked, messages=messages)
    (call,) = answer.content
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "1"}
    messages += [{"role": "assistant", "content": answer.content}, {"role": "user", "content": [result]}]
    assert claude.messages.create(**asked, messages=messages).content[0].text == SAID


def test_errors_of_mistral_are_translated(claude):
    with pytest.raises(anthropic.BadRequestError, match="simulated"):
        claude.messages.create(model="failing", max_tokens=9, messages=MESSAGES)
    with (
        pytest.raises(anthropic.APIStatusError, match="Service unavailable"),
        claude.messages.stream(model="breaking", max_tokens=9, messages=MESSAGES) as stream,
    ):
        list(stream)


def test_mistrals_client_asks_for_another_model(mistral, simulator):
    answer = mistral.chat.complete(model="claude", messages=MESSAGES)
    assert answer.choices[0].message.content == SAID
    assert [seen.provider for seen in simulator.seen] == ["anthropic"]


def test_the_models_of_mistral_are_listed(mistral, served):
    assert "codestral-latest" in [model.id for model in mistral.models.list().data]
    headers = {"authorization": f"Bearer {served.token}"}
    listed = httpx.get(f"{served.base}/v1/models", headers=headers, trust_env=False).json()["data"]
    assert {"id": "mistral-embed", "owned_by": "mistral"}.items() <= next(
        model for model in listed if model["id"] == "mistral-embed"
    ).items()
