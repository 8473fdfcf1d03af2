"""The official SDKs of Anthropic, Google and AWS against the simulator, by its own address."""

import json

import anthropic
import boto3
import openai
import pytest
from botocore.config import Config
from botocore.eventstream import ChecksumMismatch
from botocore.exceptions import ClientError, EventStreamError
from google import genai
from google.genai import errors, types

from tests.support.running import PROVIDER_KEYS
from wirekey_simulator.text import TEXT

CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"
ASK = {"model": "claude-sonnet-4-5", "max_tokens": 50, "messages": [{"role": "user", "content": "Say hello"}]}
ASK_TOOL = ASK | {
    "messages": [{"role": "user", "content": "Call a tool"}],
    "tools": [{"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}],
}
CONVERSE = [{"role": "user", "content": [{"text": "Say hello"}]}]
INVOKE = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": ASK["messages"]}


def behave(http, behaviour, times=1):
    assert http.post("/__simulator__/next", json={"behaviour": behaviour, "times": times}).status_code == 200


@pytest.fixture
def claude(simulator, context):
    transport = anthropic.DefaultHttpxClient(verify=context, trust_env=False)
    with anthropic.Anthropic(
        api_key=PROVIDER_KEYS["anthropic"], base_url=simulator.url, max_retries=0, http_client=transport
    ) as client:
        yield client


def gemini_client(simulator, context, key):
    options = types.HttpOptions(base_url=simulator.url, client_args={"verify": context, "trust_env": False})
    return genai.Client(api_key=key, http_options=options)


@pytest.fixture
def gemini(simulator, context):
    client = gemini_client(simulator, context, PROVIDER_KEYS["gemini"])
    yield client
    client.close()


@pytest.fixture
def bedrock(simulator, monkeypatch):
    return bedrock_client(simulator, monkeypatch, PROVIDER_KEYS["bedrock"])


def bedrock_client(simulator, monkeypatch, key):
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", key)
    return boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=simulator.url,
        verify=str(simulator.ca_file),
        config=Config(retries={"total_max_attempts": 1}),
    )


def test_anthropic_returns_a_message_whole_and_streamed(claude):
    whole = claude.messages.create(**ASK)
    assert whole.content[0].text == TEXT
    with claude.messages.stream(**ASK) as stream:
        assert "".join(stream.text_stream) == TEXT
        streamed = stream.get_final_message()
    assert (streamed.stop_reason, streamed.content[0].text) == (whole.stop_reason, TEXT)
    assert streamed.usage.output_tokens == whole.usage.output_tokens
    assert streamed.usage.input_tokens == whole.usage.input_tokens


def test_anthropic_calls_a_tool_whole_and_streamed(claude):
    with claude.messages.stream(**ASK_TOOL) as stream:
        streamed = stream.get_final_message().content[0]
    for block in (streamed, claude.messages.create(**ASK_TOOL).content[0]):
        assert (block.type, block.name, block.input) == ("tool_use", "weather", {"city": "simulated"})


def test_anthropic_counts_lists_and_batches(claude):
    asked = {name: ASK[name] for name in ("model", "messages")}
    assert claude.messages.count_tokens(**asked).input_tokens > 0
    assert [model.id for model in claude.models.list()][1] == "claude-sonnet-4-5"
    batch = claude.messages.batches.create(requests=[{"custom_id": "a", "params": ASK}])
    (line,) = claude.messages.batches.results(batch.id)
    assert line.result.message.content[0].text == TEXT
    assert claude.messages.batches.delete(batch.id).id == batch.id


def test_anthropic_stores_files(claude):
    made = claude.beta.files.upload(file=("a.txt", b"hello", "text/plain"))
    assert (made.filename, made.size_bytes) == ("a.txt", 5)
    assert claude.beta.files.download(made.id).read() == b"hello"
    assert [file.id for file in claude.beta.files.list()] == [made.id]


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        ("fail=401", anthropic.AuthenticationError),
        ("fail=429, retry-after=2", anthropic.RateLimitError),
        ("fail=500", anthropic.InternalServerError),
        ("fail=529", anthropic.InternalServerError),
        ("echo-key", anthropic.AuthenticationError),
    ],
)
def test_anthropic_raises_its_own_errors(claude, http, behaviour, error):
    behave(http, behaviour)
    with pytest.raises(error):
        claude.messages.create(**ASK)


def test_anthropic_raises_an_error_inside_a_stream(claude, http):
    behave(http, "error-after=4")
    with pytest.raises(anthropic.APIStatusError, match="Overloaded"), claude.messages.stream(**ASK) as stream:
        stream.get_final_message()


def test_gemini_returns_text_whole_and_streamed(gemini):
    asked = {"model": "gemini-2.5-flash", "contents": "Say hello"}
    whole = gemini.models.generate_content(**asked)
    chunks = list(gemini.models.generate_content_stream(**asked))
    assert whole.text == TEXT == "".join(chunk.text for chunk in chunks)
    assert chunks[-1].usage_metadata == whole.usage_metadata
    assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP


def test_gemini_calls_a_function(gemini):
    parameters = types.Schema(type="OBJECT", properties={"city": types.Schema(type="STRING")})
    tool = types.Tool(function_declarations=[types.FunctionDeclaration(name="weather", parameters=parameters)])
    made = gemini.models.generate_content(
        model="gemini-2.5-flash", contents="Call a tool", config=types.GenerateContentConfig(tools=[tool])
    )
    assert [(call.name, call.args) for call in made.function_calls] == [("weather", {"city": "simulated"})]


def test_gemini_accepts_the_other_parts_of_a_request(gemini):
    config = types.GenerateContentConfig(
        system_instruction="Be short.",
        max_output_tokens=9,
        temperature=0,
        safety_settings=[{"category": "HARM_CATEGORY_HATE_SPEECH", "threshold": "BLOCK_NONE"}],
        thinking_config=types.ThinkingConfig(include_thoughts=True),
        response_mime_type="application/json",
        tool_config={"function_calling_config": {"mode": "NONE"}},
    )
    made = gemini.models.generate_content(model="gemini-2.5-pro", contents="Say hello", config=config)
    assert made.text == TEXT


def test_gemini_counts_embeds_and_lists(gemini):
    assert gemini.models.count_tokens(model="gemini-2.5-flash", contents="Say hello").total_tokens > 0
    config = types.EmbedContentConfig(output_dimensionality=8)
    made = gemini.models.embed_content(model="gemini-embedding-001", contents=["a", "b"], config=config)
    assert [len(one.values) for one in made.embeddings] == [8, 8]
    assert "models/gemini-2.5-flash" in [model.name for model in gemini.models.list()]
    assert gemini.models.get(model="gemini-2.5-flash").input_token_limit == 1_048_576


def test_gemini_keeps_caches(gemini):
    made = gemini.caches.create(
        model="gemini-2.5-flash", config=types.CreateCachedContentConfig(contents="long", ttl="60s")
    )
    assert gemini.caches.get(name=made.name) == made
    gemini.caches.update(name=made.name, config=types.UpdateCachedContentConfig(ttl="90s"))
    assert [cache.name for cache in gemini.caches.list()] == [made.name]
    gemini.caches.delete(name=made.name)


def test_gemini_uploads_a_file_to_a_url_without_a_key(gemini, simulator, tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"hello")
    made = gemini.files.upload(file=path)
    assert (made.size_bytes, made.mime_type, made.state) == (5, "text/plain", types.FileState.ACTIVE)
    assert gemini.files.get(name=made.name) == made
    gemini.files.delete(name=made.name)
    begun, sent, *_ = [seen for seen in simulator.simulator.seen if seen.target.startswith("/upload/")]
    assert "upload_id" in sent.target
    assert "upload_id" not in begun.target
    assert "x-goog-api-key" not in {name.decode().lower() for name, _ in sent.headers}


@pytest.mark.parametrize(
    ("behaviour", "error", "code"),
    [
        ("fail=403", errors.ClientError, 403),
        ("fail=429, retry-after=2", errors.ClientError, 429),
        ("fail=503", errors.ServerError, 503),
        ("echo-key", errors.ClientError, 400),
    ],
)
def test_gemini_raises_its_own_errors(gemini, http, behaviour, error, code):
    behave(http, behaviour)
    with pytest.raises(error) as raised:
        gemini.models.generate_content(model="gemini-2.5-flash", contents="Say hello")
    assert raised.value.code == code


def test_gemini_rejects_a_wrong_key(simulator, context):
    client = gemini_client(simulator, context, "wrong")
    with pytest.raises(errors.ClientError, match="API_KEY_INVALID"):
        client.models.generate_content(model="gemini-2.5-flash", contents="Say hello")
    client.close()


def test_gemini_serves_the_sdk_of_openai(simulator, context):
    transport = openai.DefaultHttpxClient(verify=context, trust_env=False)
    with openai.OpenAI(
        api_key=PROVIDER_KEYS["gemini"], base_url=f"{simulator.url}/v1beta/openai/", http_client=transport
    ) as client:
        made = client.chat.completions.create(model="gemini-2.5-flash", messages=ASK["messages"])
    assert made.choices[0].message.content == TEXT


def test_bedrock_converses_whole_and_streamed(bedrock):
    whole = bedrock.converse(modelId=CLAUDE, messages=CONVERSE)
    assert whole["output"]["message"]["content"] == [{"text": TEXT}]
    stream = list(bedrock.converse_stream(modelId=CLAUDE, messages=CONVERSE)["stream"])
    deltas = [event["contentBlockDelta"]["delta"]["text"] for event in stream if "contentBlockDelta" in event]
    assert "".join(deltas) == TEXT
    assert stream[-1]["metadata"]["usage"] == whole["usage"]


def test_bedrock_calls_a_tool(bedrock):
    schema = {"json": {"type": "object", "properties": {"city": {"type": "string"}}}}
    asked = {
        "modelId": CLAUDE,
        "messages": [{"role": "user", "content": [{"text": "Call a tool"}]}],
        "toolConfig": {"tools": [{"toolSpec": {"name": "weather", "inputSchema": schema}}]},
    }
    whole = bedrock.converse(**asked)
    assert whole["output"]["message"]["content"][0]["toolUse"]["input"] == {"city": "simulated"}
    stream = list(bedrock.converse_stream(**asked)["stream"])
    parts = [
        event["contentBlockDelta"]["delta"]["toolUse"]["input"] for event in stream if "contentBlockDelta" in event
    ]
    assert json.loads("".join(parts)) == {"city": "simulated"}


def test_bedrock_invokes_whole_and_streamed(bedrock):
    whole = bedrock.invoke_model(modelId=CLAUDE, body=json.dumps(INVOKE))
    assert json.loads(whole["body"].read())["content"][0]["text"] == TEXT
    assert whole["ResponseMetadata"]["HTTPHeaders"]["x-amzn-bedrock-output-token-count"] == "9"
    stream = bedrock.invoke_model_with_response_stream(modelId=CLAUDE, body=json.dumps(INVOKE))["body"]
    events = [json.loads(event["chunk"]["bytes"]) for event in stream]
    assert "".join(event.get("delta", {}).get("text", "") for event in events) == TEXT
    assert events[-1]["amazon-bedrock-invocationMetrics"]["outputTokenCount"] == 9


def test_bedrock_counts_tokens(bedrock):
    assert bedrock.count_tokens(modelId=CLAUDE, input={"converse": {"messages": CONVERSE}})["inputTokens"] > 0


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        ("fail=400", "ValidationException"),
        ("fail=403", "AccessDeniedException"),
        ("fail=429", "ThrottlingException"),
        ("fail=503", "ServiceUnavailableException"),
        ("echo-key", "AccessDeniedException"),
    ],
)
def test_bedrock_raises_its_own_errors(bedrock, http, behaviour, code):
    behave(http, behaviour)
    with pytest.raises(ClientError) as raised:
        bedrock.converse(modelId=CLAUDE, messages=CONVERSE)
    assert raised.value.response["Error"]["Code"] == code


def test_bedrock_rejects_a_wrong_key(simulator, monkeypatch):
    with pytest.raises(ClientError, match="API Key is valid"):
        bedrock_client(simulator, monkeypatch, "wrong").converse(modelId=CLAUDE, messages=CONVERSE)


def test_bedrock_raises_an_error_inside_a_stream(bedrock, http):
    behave(http, "error-after=2")
    with pytest.raises(EventStreamError, match="throttlingException"):
        list(bedrock.converse_stream(modelId=CLAUDE, messages=CONVERSE)["stream"])


def test_the_sdk_of_anthropic_speaks_to_bedrock(simulator, context):
    transport = anthropic.DefaultHttpxClient(verify=context, trust_env=False)
    with anthropic.AnthropicBedrock(
        api_key=PROVIDER_KEYS["bedrock"], aws_region="us-east-1", base_url=simulator.url, http_client=transport
    ) as client:
        asked = ASK | {"model": CLAUDE}
        assert client.messages.create(**asked).content[0].text == TEXT
        events = list(client.messages.create(**asked, stream=True))
    assert "".join(event.delta.text for event in events if event.type == "content_block_delta") == TEXT


async def test_the_asynchronous_sdk_of_gemini_gets_text_streams_and_uploads(simulator, context, tmp_path):
    options = types.HttpOptions(base_url=simulator.url, async_client_args={"verify": context, "trust_env": False})
    client = genai.Client(api_key=PROVIDER_KEYS["gemini"], http_options=options).aio
    asked = {"model": "gemini-2.5-flash", "contents": "Say hello"}
    try:
        assert (await client.models.generate_content(**asked)).text == TEXT
        stream = await client.models.generate_content_stream(**asked)
        assert "".join([chunk.text async for chunk in stream]) == TEXT
        path = tmp_path / "a.txt"
        path.write_bytes(b"hello")
        assert (await client.files.upload(file=path)).size_bytes == 5
    finally:
        await client.aclose()


def test_a_model_name_can_set_the_behaviour(claude, gemini, bedrock):
    with pytest.raises(anthropic.RateLimitError):
        claude.messages.create(**ASK | {"model": "sim-fail-429"})
    with pytest.raises(errors.ClientError, match="RESOURCE_EXHAUSTED"):
        gemini.models.generate_content(model="sim-fail-429", contents="Say hello")
    with pytest.raises(ClientError, match="ThrottlingException"):
        bedrock.converse(modelId="sim-fail-429", messages=CONVERSE)


def test_a_garbled_event_is_noticed_by_the_sdk_of_aws(bedrock, http):
    behave(http, "garble-after=2")
    with pytest.raises(ChecksumMismatch):
        list(bedrock.converse_stream(modelId=CLAUDE, messages=CONVERSE)["stream"])
