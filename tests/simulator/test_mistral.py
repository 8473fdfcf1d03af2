"""Mistral as simulated, called with its SDK: chat, completions in a text, vectors, models, and what is refused."""

import httpx2
import pytest
from mistralai.client import Mistral
from mistralai.client.errors import HTTPValidationError, ResponseValidationError, SDKError

from tests.simulator.requests import request
from tests.support.running import PROVIDER_KEYS
from wirekey_simulator import mistral
from wirekey_simulator.behaviour import PLAIN
from wirekey_simulator.exchange import SimulatedRequest
from wirekey_simulator.hosts import provider_of
from wirekey_simulator.state import State

USER = [{"role": "user", "content": "hi"}]


@pytest.fixture
def client(simulator, context):
    with httpx2.Client(verify=context, trust_env=False) as http:
        yield Mistral(api_key=PROVIDER_KEYS["mistral"], server_url=simulator.url, client=http)


def test_a_chat_and_the_thoughts_of_a_model_that_reasons(client):
    answer = client.chat.complete(model="mistral-large-latest", messages=USER, random_seed=1, safe_prompt=True)
    assert answer.choices[0].message.content.startswith("Hello from the simulator")
    answer = client.chat.complete(model="magistral-medium-latest", messages=USER)
    thought, said = answer.choices[0].message.content
    assert (thought.type, thought.thinking[0].type, said.type) == ("thinking", "text", "text")


def test_a_stream_has_the_counts_in_its_last_chunk(client):
    chunks = [event.data for event in client.chat.stream(model="magistral-medium-latest", messages=USER)]
    assert [bool(chunk.usage) for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert chunks[1].choices[0].delta.content[0].type == "thinking"


def test_a_prefix_begins_the_response(client):
    messages = [*USER, {"role": "assistant", "content": "So: ", "prefix": True}]
    answer = client.chat.complete(model="mistral-large-latest", messages=messages)
    assert answer.choices[0].message.content.startswith("So: Hello")


def test_a_tool_is_called_and_answered(client):
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
    messages = [{"role": "user", "content": "Please call a tool."}]
    answer = client.chat.complete(model="mistral-large-latest", messages=messages, tools=tools)
    (call,) = answer.choices[0].message.tool_calls
    assert (call.function.name, len(call.id), answer.choices[0].finish_reason) == ("f", 9, "tool_calls")
    messages += [answer.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "1"}]
    assert client.chat.complete(model="mistral-large-latest", messages=messages).choices[0].finish_reason == "stop"


def test_completions_vectors_and_models(client):
    assert client.fim.complete(model="codestral-latest", prompt="def f", suffix="x").choices[0].message.content
    found = client.embeddings.create(model="codestral-embed", inputs=["a", "b"], output_dimension=8)
    assert [len(each.embedding) for each in found.data] == [8, 8]
    assert client.models.retrieve(model_id="codestral-latest").capabilities.completion_fim


def test_errors_are_raised_as_the_sdk_does(client):
    with pytest.raises(HTTPValidationError):
        client.chat.complete(model="sim-fail-422", messages=USER)
    with pytest.raises(SDKError) as refused:
        client.chat.complete(model="sim-fail-429", messages=USER)
    assert refused.value.status_code == 429
    with pytest.raises(ResponseValidationError):
        list(client.chat.stream(model="sim-error-after-2", messages=USER))


def test_a_wrong_key_at_its_host_is_unauthorized(simulator, context):
    client = httpx2.Client(verify=context, trust_env=False)
    headers = {"host": "api.mistral.ai", "authorization": "Bearer wrong"}
    response = client.get(f"{simulator.url}/v1/models", headers=headers)
    assert (response.status_code, response.json()) == (401, {"detail": "Unauthorized"})


ID = "call_1"
CALL = {"id": ID, "type": "function", "function": {"name": "f", "arguments": "{}"}}
REFUSED = [
    ({"max_completion_tokens": 5}, 422, "max_completion_tokens"),
    ({"stream_options": {"include_usage": True}}, 422, "stream_options"),
    ({"seed": 1}, 422, "seed"),
    ({"max_tokens": "5"}, 422, "max_tokens"),
    ({"messages": [{"role": "developer", "content": "x"}, *USER]}, 422, "union_tag_invalid"),
    ({"messages": [{"role": "user", "content": "x", "name": "n"}]}, 422, "extra_forbidden"),
    ({"messages": [*USER, {"role": "assistant", "content": "x"}]}, 400, "prefix True"),
    ({"messages": [*USER, {"role": "assistant", "tool_calls": [CALL]}]}, 400, "length of 9"),
    (
        {"messages": [*USER, {"role": "assistant", "tool_calls": [{**CALL, "id": "a1b2c3d4e"}]}, *USER]},
        400,
        "Not the same number",
    ),
]


@pytest.mark.parametrize(("body", "status", "words"), REFUSED)
def test_what_mistral_refuses(body, status, words):
    made = request("POST", "/v1/chat/completions", {"model": "m", "messages": USER, **body})
    response = mistral.respond(made, PLAIN, State())
    assert response.status == status
    assert words in response.body.decode()


@pytest.mark.parametrize(
    ("provider", "authority"), [("openai", "localhost"), ("mistral", "localhost"), ("mistral", "api.mistral.ai")]
)
def test_apis_with_the_same_paths_are_found_by_host_then_by_key(provider, authority):
    key = b"" if authority == "api.mistral.ai" else f"Bearer {PROVIDER_KEYS[provider]}".encode()
    headers = ((b"authorization", key),)
    made = SimulatedRequest("GET", authority, "/v1/models", headers, b"", 0, "", "h1", tls=True)
    keys = {name: [each] for name, each in PROVIDER_KEYS.items()}
    assert provider_of(made, keys) == provider


def test_an_unknown_key_is_openais():
    made = SimulatedRequest(
        "GET", "localhost", "/v1/models", ((b"authorization", b"Bearer x"),), b"", 0, "", "h1", tls=True
    )
    assert provider_of(made, {"mistral": ["y"]}) == "openai"
