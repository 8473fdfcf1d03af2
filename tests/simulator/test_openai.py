"""OpenAI's responses, as its SDK reads them."""

import httpx
import openai
import pytest

from tests.support.running import PROVIDER_KEYS

PROMPT = [{"role": "user", "content": "Say something."}]
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
    },
}
CALL_A_TOOL = [{"role": "user", "content": "Please call a tool."}]
TEXT = "Hello from the simulator: nobody thought about this answer."


@pytest.fixture
def client(simulator, context):
    with client_with(simulator, context, PROVIDER_KEYS["openai"]) as client:
        yield client


def client_with(simulator, context, key):
    transport = httpx.Client(verify=context, trust_env=False)
    return openai.OpenAI(api_key=key, base_url=f"{simulator.url}/v1", max_retries=0, http_client=transport)


def chat(client, behaviour="", **more):
    headers = {"x-simulator": behaviour} if behaviour else {}
    return client.chat.completions.create(
        **{"model": "gpt-4o-mini", "messages": PROMPT, "extra_headers": headers, **more}
    )


def test_a_chat_response_has_text_usage_and_a_finish_reason(client):
    response = chat(client, "tokens=12, reasoning-tokens=5, cached-tokens=3, input-tokens=20")
    assert response.choices[0].message.content == TEXT
    assert response.choices[0].finish_reason == "stop"
    assert response.usage.prompt_tokens == 20
    assert response.usage.completion_tokens == 12
    assert response.usage.total_tokens == 32
    assert response.usage.prompt_tokens_details.cached_tokens == 3
    assert response.usage.completion_tokens_details.reasoning_tokens == 5


def test_a_chat_stream_has_usage_only_on_request(client):
    plain = list(chat(client, stream=True))
    asked = list(chat(client, stream=True, stream_options={"include_usage": True}))
    for chunks in (plain, asked):
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == TEXT
    assert all("usage" not in chunk.model_fields_set for chunk in plain)
    assert all(chunk.usage is None and "usage" in chunk.model_fields_set for chunk in asked[:-1])
    assert asked[-1].choices == []
    assert asked[-1].usage.prompt_tokens > 0


def test_the_same_request_gets_the_same_response_apart_from_ids(client):
    first, second = (chat(client).model_dump(exclude={"id"}) for _ in range(2))
    assert first == second


def test_a_tool_is_called_when_one_is_offered_and_asked_for(client):
    choice = chat(client, messages=CALL_A_TOOL, tools=[TOOL]).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls[0].function.name == "weather"
    chunks = [chunk.choices[0] for chunk in chat(client, messages=CALL_A_TOOL, tools=[TOOL], stream=True)]
    arguments = [call.function.arguments for chunk in chunks for call in chunk.delta.tool_calls or []]
    assert "".join(arguments) == choice.message.tool_calls[0].function.arguments == '{"city":"simulated","days":1}'
    assert chat(client, messages=PROMPT, tools=[TOOL]).choices[0].finish_reason == "stop"


def test_the_older_completions_work_whole_and_streamed(client):
    asked = {"model": "gpt-3.5-turbo-instruct", "prompt": "Say"}
    assert client.completions.create(**asked).choices[0].text == TEXT
    chunks = list(client.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].text for chunk in chunks[:-1]) == TEXT
    assert chunks[-1].usage.completion_tokens > 0


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        ("fail=400", openai.BadRequestError),
        ("fail=401", openai.AuthenticationError),
        ("fail=403", openai.PermissionDeniedError),
        ("fail=404", openai.NotFoundError),
        ("fail=429, retry-after=2", openai.RateLimitError),
        ("fail=500", openai.InternalServerError),
        ("fail=503", openai.InternalServerError),
        ("reset-after=0", openai.APIConnectionError),
        ("echo-key", openai.AuthenticationError),
    ],
)
def test_failures_raise_what_the_sdk_raises_for_the_real_ones(client, behaviour, error):
    with pytest.raises(error):
        chat(client, behaviour)


def test_a_wrong_key_is_refused_and_not_quoted(simulator, context):
    with client_with(simulator, context, "sk-wrong") as client, pytest.raises(openai.AuthenticationError) as caught:
        chat(client)
    assert caught.value.code == "invalid_api_key"
    assert "sk-wrong" not in str(caught.value)


def test_an_error_event_inside_a_stream_raises(client):
    with pytest.raises(openai.APIError, match="server had an error"):
        list(chat(client, "error-after=3", stream=True))


BAD_REQUESTS = [
    ("/v1/chat/completions", "{", 400, None),
    ("/v1/chat/completions", "[]", 400, None),
    ("/v1/chat/completions", '{"messages": [{"role": "user", "content": "x"}]}', 400, None),
    ("/v1/chat/completions", '{"model": "m"}', 400, "messages"),
    ("/v1/chat/completions", '{"model": "m", "messages": []}', 400, "messages"),
    ("/v1/chat/completions", '{"model": "m", "messages": "x"}', 400, "messages"),
    ("/v1/chat/completions", '{"model": 3, "messages": []}', 400, "model"),
    (
        "/v1/chat/completions",
        '{"model": "m", "messages": [{"role": "user"}], "stream_options": {}}',
        400,
        "stream_options",
    ),
    ("/v1/nothing", "{}", 404, None),
    ("/v1/chat/completions/more/of/it", "{}", 404, None),
]


@pytest.mark.parametrize(("path", "body", "status", "field"), BAD_REQUESTS)
def test_bad_requests_get_the_error_shape(http, path, body, status, field):
    response = http.post(path, content=body, headers={"content-type": "application/json"})
    assert response.status_code == status
    error = response.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["param"] == field
