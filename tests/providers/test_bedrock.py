import base64
import json

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError, EventStreamError
from hypothesis import given, settings
from hypothesis import strategies as st

from wirekey.core.body import Body
from wirekey.core.errors import Refusal
from wirekey.core.metering.eventstream import write_frame
from wirekey.core.operation import Facts, Kind, Operation, Usage
from wirekey.providers.bedrock import BEDROCK
from wirekey.providers.bedrock.responses import BedrockJson, ConverseStream, InvokeStream, usage_from_headers

MODEL = "us.anthropic.claude-sonnet-4-20250514-v1:0"
ARN = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-20250514-v1:0"
QUOTED = "us.anthropic.claude-sonnet-4-20250514-v1%3A0"
EVENT_STREAM = "application/vnd.amazon.eventstream"


def operation(action):
    return BEDROCK.operations.match_operation("POST", f"/model/{QUOTED}/{action}", {})


def read(body, action="invoke", content_type="application/json"):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return BEDROCK.operations.read_request(operation(action), {}, content_type, data)


# Recognition


@pytest.mark.parametrize(
    ("action", "stream"),
    [
        ("invoke", False),
        ("invoke-with-response-stream", True),
        ("converse", False),
        ("converse-stream", True),
        ("count-tokens", False),
    ],
)
def test_every_operation_is_found_by_its_path(action, stream):
    assert operation(action) == Operation(action, Body.JSON, Kind.INFERENCE, MODEL, stream)


@pytest.mark.parametrize(
    ("written", "model"),
    [
        ("amazon.nova-lite-v1%3A0", "amazon.nova-lite-v1:0"),
        ("amazon.nova-lite-v1%3A0%3Ftop_p%3D1%26seed%3D2", "amazon.nova-lite-v1:0?top_p=1&seed=2"),
        ("gemini-cli-acp%3Agoogle%2Fgemini-3%3Ftop_p%3D1", "gemini-cli-acp:google/gemini-3?top_p=1"),
        ("amazon.nova-lite-v1:0", "amazon.nova-lite-v1:0"),
        ("meta.llama3-8b-instruct-v1:0", "meta.llama3-8b-instruct-v1:0"),
        (ARN.replace(":", "%3A").replace("/", "%2F"), ARN),
        (ARN.replace("/", "%2F"), ARN),
        (
            "arn%3Aaws-us-gov%3Abedrock%3Aus-gov-west-1%3A%3Afoundation-model%2Famazon.titan-text-lite-v1",
            "arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/amazon.titan-text-lite-v1",
        ),
        (
            "arn:aws:bedrock:us-east-1:1:provisioned-model%2Fabc123",
            "arn:aws:bedrock:us-east-1:1:provisioned-model/abc123",
        ),
    ],
)
def test_models_are_decoded_from_the_path(written, model):
    assert BEDROCK.operations.match_operation("POST", f"/model/{written}/invoke", {}).model == model


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/model/{QUOTED}/invoke"),
        ("HEAD", f"/model/{QUOTED}/invoke"),
        ("OPTIONS", f"/model/{QUOTED}/invoke"),
        ("PUT", f"/model/{QUOTED}/invoke"),
        ("POST", f"/model/{QUOTED}/invoke/"),
        ("POST", f"/model/{QUOTED}/invoke?x=1"),
        ("POST", f"/model/{QUOTED}/invoke;x"),
        ("POST", f"/model/{QUOTED}/Invoke"),
        ("POST", f"//model/{QUOTED}/invoke"),
        ("POST", f"/model//{QUOTED}/invoke"),
        ("POST", "/model/a%2Fb/invoke"),
        ("POST", "/model/a%2fb/invoke"),
        ("POST", "/model/a%3ab/invoke"),
        ("POST", "/model/a%253A0/invoke"),
        ("POST", "/model/%61/invoke"),
        ("POST", "/model/../invoke"),
        ("POST", "/model/%2E%2E/invoke"),
        ("POST", "/model/..%2Fx/invoke"),
        ("POST", "/model/arn:aws:bedrock:us-east-1:1:prompt%2F..%2Fx/invoke"),
        ("POST", "/model/arn:aws:iam:us-east-1:1:role%2Fx/invoke"),
        ("POST", "/model//invoke"),
        ("POST", "/model/a\\b/invoke"),
        ("POST", "/model/a\n/invoke"),
        ("POST", "/model/ä/invoke"),
        ("POST", f"/model/{'a' * 300}/invoke"),
    ],
)
def test_other_methods_and_odd_spellings_are_not_operations(method, path):
    assert BEDROCK.operations.match_operation(method, path, {}) is None


# Facts

TURN = {"role": "user", "content": [{"text": "secret words"}]}
SPEC = {"toolSpec": {"name": "weather", "inputSchema": {"json": {"name": "not this"}}}}


ADVISOR = {"type": "advisor_20260301", "name": "advisor", "model": "large"}


@pytest.mark.parametrize(
    ("body", "facts"),
    [
        ({"messages": [TURN, TURN]}, {"message_count": 2, "has_system": False, "has_tools": False, "tool_count": 0}),
        ({}, {"message_count": None, "max_tokens": None}),
        ({"messages": [], "system": [{"text": "x"}]}, {"message_count": 0, "has_system": True}),
        ({"messages": [], "system": []}, {"has_system": False}),
        ({"messages": [], "inferenceConfig": {"maxTokens": 50, "temperature": 0.5}}, {"max_tokens": 50}),
        (
            {"toolConfig": {"tools": [SPEC, {"cachePoint": {"type": "default"}}, {"systemTool": {"name": "ground"}}]}},
            {"tools": ("weather", "ground"), "tool_count": 2, "has_tools": True},
        ),
        (
            {"additionalModelRequestFields": {"tools": [ADVISOR], "fallbacks": [{"model": "small"}]}},
            {"tools": ("advisor",), "tool_count": 1, "has_tools": True, "other_models": ("small", "large")},
        ),
    ],
)
def test_facts_of_converse(body, facts):
    for action, stream in (("converse", False), ("converse-stream", True)):
        found = read(body, action)
        assert {name: getattr(found, name) for name in facts} == facts
        assert (found.model, found.stream) == (MODEL, stream)


BODIES = {
    "Anthropic": (
        {
            "anthropic_version": "bedrock-2023-05-31",
            "max_tokens": 1024,
            "system": "be brief",
            "messages": [TURN, TURN, TURN],
            "tools": [{"name": "weather", "input_schema": {}}, {"type": "bash_20250124", "name": "bash"}],
        },
        Facts(
            MODEL,
            message_count=3,
            has_system=True,
            has_tools=True,
            tool_count=2,
            max_tokens=1024,
            tools=("weather", "bash"),
        ),
    ),
    "Anthropic, old": (
        {"prompt": "\n\nHuman: x", "max_tokens_to_sample": 300},
        Facts(MODEL, message_count=1, has_system=False, has_tools=False, tool_count=0, max_tokens=300),
    ),
    "Nova": (
        {
            "schemaVersion": "messages-v1",
            "messages": [TURN],
            "system": [{"text": "x"}],
            "inferenceConfig": {"max_new_tokens": 77},
            "toolConfig": {"tools": [SPEC]},
        },
        Facts(MODEL, message_count=1, has_system=True, has_tools=True, tool_count=1, max_tokens=77, tools=("weather",)),
    ),
    "Titan": (
        {"inputText": "x", "textGenerationConfig": {"maxTokenCount": 512, "stopSequences": []}},
        Facts(MODEL, message_count=1, has_system=False, has_tools=False, tool_count=0, max_tokens=512),
    ),
    "Llama": (
        {"prompt": "<|begin_of_text|>", "max_gen_len": 128},
        Facts(MODEL, message_count=1, has_system=False, has_tools=False, tool_count=0, max_tokens=128),
    ),
    "Mistral": (
        {"prompt": "<s>[INST]", "max_tokens": 10},
        Facts(MODEL, message_count=1, has_system=False, has_tools=False, tool_count=0, max_tokens=10),
    ),
    "Mistral, chat": (
        {
            "messages": [{"role": "system", "content": "x"}, {"role": "user", "content": "y"}],
            "tools": [{"type": "function", "function": {"name": "weather", "parameters": {}}}],
        },
        Facts(MODEL, message_count=2, has_system=True, has_tools=True, tool_count=1, tools=("weather",)),
    ),
    "Cohere": (
        {
            "message": "x",
            "chat_history": [{"role": "USER", "message": "y"}, {"role": "CHATBOT", "message": "z"}],
            "preamble": "p",
            "max_tokens": 5,
            "tools": [{"name": "weather", "parameter_definitions": {}}],
        },
        Facts(MODEL, message_count=3, has_system=True, has_tools=True, tool_count=1, max_tokens=5, tools=("weather",)),
    ),
    "OpenAI": (
        {"messages": [{"role": "developer", "content": "x"}], "max_completion_tokens": 9},
        Facts(MODEL, message_count=1, has_system=True, has_tools=False, tool_count=0, max_tokens=9),
    ),
    "embeddings": (
        {"texts": ["a", "b"], "input_type": "search_document"},
        Facts(MODEL, has_system=False, has_tools=False, tool_count=0),
    ),
}


def test_other_models_in_a_models_own_body_are_read():
    added = {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": ADVISOR}}
    body = {"fallbacks": [{"model": "small"}], "messages": [{"role": "user", "content": [added]}]}
    assert (read(body).tools, read(body).other_models) == (("advisor",), ("small", "large"))


@pytest.mark.parametrize(("body", "facts"), BODIES.values(), ids=BODIES)
def test_facts_of_the_models_own_bodies(body, facts):
    assert read(body) == facts
    assert read(body, "invoke-with-response-stream").stream


def test_a_body_to_count_is_read_like_a_body_to_run():
    inner = BODIES["Anthropic"][0]
    invoke = {"input": {"invokeModel": {"body": base64.b64encode(json.dumps(inner).encode()).decode()}}}
    assert read(invoke, "count-tokens") == BODIES["Anthropic"][1]
    assert read({"input": {"converse": {"messages": [TURN]}}}, "count-tokens").message_count == 1
    assert read({}, "count-tokens") == Facts(model=MODEL)
    with pytest.raises(Refusal, match="400"):
        read({"input": {"invokeModel": {"body": "§"}}}, "count-tokens")


@pytest.mark.parametrize(
    ("action", "body", "word"),
    [
        ("invoke", b"", "empty"),
        ("invoke", b"[]", "object"),
        ("invoke", b'\xef\xbb\xbf{"prompt":"x"}', "byte order mark"),
        ("invoke", b'{"prompt":"\xff"}', "UTF-8"),
        ("invoke", b'{"prompt":"x","prompt":"y"}', "prompt"),
        ("invoke", b'{"max_tokens":1,"max\\u005ftokens":9}', "twice"),
        ("invoke", b'{"max_tokens":1,"max_gen_len":9}', "max_gen_len"),
        ("invoke", b'{"max_tokens":1,"inferenceConfig":{"maxTokens":9}}', "inferenceConfig"),
        ("invoke", b'{"inferenceConfig":{"maxTokens":1,"max_new_tokens":9}}', "max_new_tokens"),
        ("invoke", b'{"max_tokens":"9"}', "max_tokens"),
        ("invoke", b'{"max_tokens":NaN}', "JSON"),
        ("invoke", b'{"messages":7}', "messages"),
        ("invoke", b'{"tools":[{"name":"a","name":"b"}]}', "tools[0]"),
        ("converse", b'{"messages":{}}', "messages"),
        ("converse", b'{"messages":[],"messages":[]}', "messages"),
        ("converse", b'{"inferenceConfig":{"maxTokens":1.5}}', "maxTokens"),
        ("converse", b'{"toolConfig":{"tools":[{"toolSpec":{"name":"a","name":"b"}}]}}', "toolSpec"),
        ("converse", b'{"messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "deep"),
    ],
)
def test_an_ambiguous_body_is_refused_and_the_error_names_the_place(action, body, word):
    with pytest.raises(Refusal) as refused:
        read(body, action)
    assert refused.value.status == 400
    assert word in refused.value.message


def test_bytes_and_json_are_the_types_that_sdks_declare():
    for content_type in ("", "application/json", "application/octet-stream"):
        assert read({}, content_type=content_type)
    for content_type in ("application/x-www-form-urlencoded", "application/json; charset=utf-16"):
        with pytest.raises(Refusal):
            read({}, content_type=content_type)


# Responses


def event(kind, payload):
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return write_frame(headers, json.dumps(payload).encode())


def chunk(inner):
    return event("chunk", {"bytes": base64.b64encode(json.dumps(inner).encode()).decode(), "p": "abcdef"})


def exception(kind):
    return write_frame({":exception-type": kind, ":message-type": "exception"}, b'{"message":"no"}')


def read_event(reader, chunks):
    for each in chunks:
        reader.feed(each)
    reader.end()
    return reader.usage, reader.finished, reader.error_type


METRICS = {"amazon-bedrock-invocationMetrics": {"inputTokenCount": 12, "outputTokenCount": 34, "invocationLatency": 5}}
SAID = [
    event("messageStart", {"role": "assistant"}),
    event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": 'metadata "stopReason": "x"'}}),
    event("contentBlockStop", {"contentBlockIndex": 0}),
]
STOP = event("messageStop", {"stopReason": "end_turn"})
METADATA = event(
    "metadata",
    {
        "usage": {"inputTokens": 12, "outputTokens": 34, "totalTokens": 46, "cacheReadInputTokens": 3},
        "metrics": {"latencyMs": 9},
        "trace": {"promptRouter": {"invokedModelId": ARN}},
    },
)
ANTHROPIC = [
    chunk({"type": "message_start", "message": {"model": "claude", "usage": {"input_tokens": 12, "output_tokens": 1}}}),
    chunk({"type": "content_block_delta", "delta": {"type": "text_delta", "text": 'a "stop_reason": "x"'}}),
    chunk({"type": "message_delta", "delta": {"stop_reason": "max_tokens"}, "usage": {"output_tokens": 34}}),
    chunk({"type": "message_stop", **METRICS}),
]
STREAMS = {
    "converse": (ConverseStream, [*SAID, STOP, METADATA], (Usage(12, 34, 3, None, "end_turn", ARN), True, None)),
    "converse, cut off": (ConverseStream, SAID, (Usage(), False, None)),
    "converse, failed": (
        ConverseStream,
        [*SAID, exception("throttlingException")],
        (Usage(), False, "throttlingException"),
    ),
    "converse, nothing": (ConverseStream, [], (Usage(), False, None)),
    "converse, error of the transport": (
        ConverseStream,
        [write_frame({":message-type": "error", ":error-code": "InternalError"}, b"")],
        (Usage(), False, "InternalError"),
    ),
    "Anthropic": (InvokeStream, ANTHROPIC, (Usage(12, 34, None, None, "max_tokens", "claude"), True, None)),
    "Anthropic, cut off": (InvokeStream, ANTHROPIC[:2], (Usage(12, 1, model="claude"), False, None)),
    "Anthropic, failed": (
        InvokeStream,
        [*ANTHROPIC[:1], exception("modelTimeoutException")],
        (Usage(12, 1, model="claude"), False, "modelTimeoutException"),
    ),
    "Nova": (
        InvokeStream,
        [
            chunk({"contentBlockDelta": {"delta": {"text": "x"}}}),
            chunk({"messageStop": {"stopReason": "end_turn"}}),
            chunk(
                {
                    "metadata": {"usage": {"inputTokens": 12, "outputTokens": 34, "cacheReadInputTokenCount": 0}},
                    **METRICS,
                }
            ),
        ],
        (Usage(12, 34, 0, None, "end_turn"), True, None),
    ),
    "Titan": (
        InvokeStream,
        [
            chunk({"outputText": "x", "completionReason": None, "index": 0}),
            chunk(
                {"completionReason": "FINISH", "inputTextTokenCount": 12, "totalOutputTextTokenCount": 34, **METRICS}
            ),
        ],
        (Usage(12, 34, finish_reason="FINISH"), True, None),
    ),
    "Llama": (
        InvokeStream,
        [
            chunk({"generation": "x", "prompt_token_count": 12, "generation_token_count": 1, "stop_reason": None}),
            chunk({"generation": "", "generation_token_count": 34, "stop_reason": "stop", **METRICS}),
        ],
        (Usage(12, 34, finish_reason="stop"), True, None),
    ),
    "Mistral": (
        InvokeStream,
        [
            chunk({"outputs": [{"text": "x", "stop_reason": None}]}),
            chunk({"outputs": [{"stop_reason": "length"}], **METRICS}),
        ],
        (Usage(12, 34, finish_reason="length"), True, None),
    ),
    "Cohere": (
        InvokeStream,
        [
            chunk({"event_type": "text-generation"}),
            chunk({"event_type": "stream-end", "finish_reason": "COMPLETE", **METRICS}),
        ],
        (Usage(12, 34, finish_reason="COMPLETE"), True, None),
    ),
    "OpenAI": (
        InvokeStream,
        [
            chunk(
                {
                    "choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}],
                    "model": "gpt-oss",
                    **METRICS,
                }
            )
        ],
        (Usage(12, 34, finish_reason="stop", model="gpt-oss"), True, None),
    ),
    "a shape not known": (
        InvokeStream,
        [chunk({"usage": "none", "stop_reason": 7, **METRICS})],
        (Usage(12, 34), True, None),
    ),
}


@pytest.mark.parametrize(("make", "frames", "learnt"), STREAMS.values(), ids=STREAMS)
def test_streams_read_the_same_in_any_chunking(make, frames, learnt):
    data = b"".join(frames)
    assert read_event(make(), frames) == learnt
    assert read_event(make(), [data]) == learnt
    assert read_event(make(), (bytes([byte]) for byte in data)) == learnt
    for place in range(0, len(data), 5):
        assert read_event(make(), [data[:place], data[place:]]) == learnt


WHOLE = {
    "converse": (
        {"output": {"message": {}}, "stopReason": "tool_use", "usage": {"inputTokens": 1, "outputTokens": 2}},
        Usage(1, 2, finish_reason="tool_use"),
    ),
    "Anthropic": (
        {
            "model": "claude",
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 1, "output_tokens": 2, "cache_read_input_tokens": 3},
        },
        Usage(1, 2, 3, None, "end_turn", "claude"),
    ),
    "Nova": (
        {
            "output": {},
            "stopReason": "end_turn",
            "usage": {"inputTokens": 1, "outputTokens": 2, "cacheReadInputTokenCount": 3},
        },
        Usage(1, 2, 3, None, "end_turn"),
    ),
    "Titan": (
        {"inputTextTokenCount": 1, "results": [{"tokenCount": 2, "outputText": "x", "completionReason": "FINISH"}]},
        Usage(1, 2, finish_reason="FINISH"),
    ),
    "Titan, embedding": ({"embedding": [0.1], "inputTextTokenCount": 5}, Usage(5)),
    "Llama": (
        {"generation": "x", "prompt_token_count": 1, "generation_token_count": 2, "stop_reason": "length"},
        Usage(1, 2, finish_reason="length"),
    ),
    "Mistral": ({"outputs": [{"text": "x", "stop_reason": "stop"}]}, Usage(finish_reason="stop")),
    "Mistral, chat": (
        {
            "choices": [{"index": 0, "message": {}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 2},
        },
        Usage(1, 2, finish_reason="stop"),
    ),
    "Cohere": ({"text": "x", "finish_reason": "COMPLETE"}, Usage(finish_reason="COMPLETE")),
    "Cohere, old": ({"generations": [{"finish_reason": "MAX_TOKENS"}]}, Usage(finish_reason="MAX_TOKENS")),
    "a message that is text": ({"message": "x", "delta": "y"}, Usage()),
    "a shape not known": (
        {"stop_reason": 7, "finish_reason": "stop", "usage": {"input_tokens": 1}},
        Usage(1, finish_reason="stop"),
    ),
    "a list": ([1], Usage()),
}


@pytest.mark.parametrize(("body", "usage"), WHOLE.values(), ids=WHOLE)
def test_whole_responses_are_read(body, usage):
    assert read_event(BedrockJson(), [json.dumps(body).encode()]) == (usage, True, None)


def test_token_counts_in_headers_complete_those_of_the_body():
    headers = {"x-amzn-bedrock-input-token-count": "7", "x-amzn-bedrock-output-token-count": "8"}
    assert usage_from_headers(headers) == Usage(7, 8)
    assert read_event(BedrockJson(headers), [b'{"generations":[{"finish_reason":"COMPLETE"}]}'])[0] == Usage(
        7, 8, finish_reason="COMPLETE"
    )
    assert read_event(BedrockJson(headers), [b'{"usage":{"input_tokens":1}}'])[0] == Usage(1, 8)
    assert read_event(BedrockJson(headers), [b"rubbish"]) == (Usage(7, 8), False, None)
    for text in ("", "-1", "1.5", "x", "٣", "9" * 40):
        assert usage_from_headers({"x-amzn-bedrock-input-token-count": text}) is None


def test_the_type_of_an_error_is_read_from_its_header():
    headers = {"x-amzn-errortype": "ThrottlingException:http://internal.amazon.com/coral/"}
    assert read_event(BedrockJson(headers), [b'{"message":"slow down"}']) == (Usage(), True, "ThrottlingException")


def test_a_response_too_long_to_hold_is_read_from_its_ends():
    body = {"images": ["A" * 3_000_000], "stopReason": "end_turn", "usage": {"inputTokens": 1, "outputTokens": 2}}
    assert read_event(BedrockJson(), [json.dumps(body).encode()]) == (Usage(1, 2, finish_reason="end_turn"), True, None)


@settings(max_examples=200)
@given(st.lists(st.binary(max_size=40) | st.sampled_from([STOP, METADATA, *ANTHROPIC]), max_size=6))
def test_rubbish_never_raises(chunks):
    for make in (BedrockJson, ConverseStream, InvokeStream):
        assert read_event(make(), chunks) == read_event(make(), [b"".join(chunks)])


@settings(max_examples=200)
@given(st.binary(max_size=60), st.sampled_from(["chunk", "metadata", "messageStop"]))
def test_rubbish_in_valid_frames_never_raises(payload, kind):
    frame = write_frame({":event-type": kind, ":message-type": "event"}, payload)
    for make in (ConverseStream, InvokeStream):
        read_event(make(), [frame, chunk({"usage": payload.hex()}), exception("\x00")])


@pytest.mark.parametrize(
    ("action", "status", "content_type", "headers", "reader"),
    [
        ("converse", 200, "application/json", {}, BedrockJson),
        ("converse", 400, "application/json", {}, BedrockJson),
        ("converse-stream", 200, EVENT_STREAM, {}, ConverseStream),
        ("converse-stream", 429, "application/json", {}, BedrockJson),
        ("invoke", 200, "application/json", {}, BedrockJson),
        ("invoke", 200, "image/png", {"x-amzn-bedrock-input-token-count": "1"}, BedrockJson),
        ("invoke", 200, "image/png", {}, type(None)),
        ("invoke-with-response-stream", 200, EVENT_STREAM, {}, InvokeStream),
        ("count-tokens", 200, "application/json", {}, type(None)),
    ],
)
def test_the_reader_fits_the_response(action, status, content_type, headers, reader):
    assert type(BEDROCK.operations.response_reader(operation(action), Facts(), status, content_type, headers)) is reader


# Errors

REFUSAL = Refusal(429, "too_many_calls", "Slow down; try again soon.", retry_after=9)


class Raw:
    def __init__(self, data):
        self.data = data

    def stream(self, **_):
        yield self.data

    def read(self, *_):
        return self.data

    def close(self):
        pass


def client(status, headers, body):
    """Return a client of the real SDK that gets these bytes as its response."""
    made = boto3.client("bedrock-runtime", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    made.meta.events.register(
        "before-send.*", lambda request, **_: AWSResponse(request.url, status, headers, Raw(body))
    )
    return made


def converse(made, stream=False):
    call = made.converse_stream if stream else made.converse
    return call(modelId=MODEL, messages=[{"role": "user", "content": [{"text": "x"}]}])


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (400, "ValidationException"),
        (401, "UnrecognizedClientException"),
        (403, "AccessDeniedException"),
        (404, "ResourceNotFoundException"),
        (413, "ValidationException"),
        (599, "InternalServerException"),
    ],
)
def test_an_error_raises_its_message_in_the_sdk(status, word):
    body, headers = BEDROCK.operations.error_response(Refusal(status, "code", "Do this instead."), "id-1")
    assert headers["content-type"] == "application/json"
    made = client(status, headers, body)
    made.meta.config.retries = {"max_attempts": 0}
    with pytest.raises(ClientError, match="Do this instead") as raised:
        converse(made)
    assert raised.value.response["Error"]["Code"] == word
    assert raised.value.response["ResponseMetadata"]["RequestId"] == "id-1"


def test_a_bedrock_error_has_a_retry_after():
    assert BEDROCK.operations.error_response(REFUSAL, "id")[1]["retry-after"] == "9"


@pytest.mark.parametrize(
    ("status", "word"),
    [(403, "validationException"), (429, "throttlingException"), (503, "serviceUnavailableException")],
)
def test_an_error_in_a_stream_raises_in_the_sdk(status, word):
    operation_ = operation("converse-stream")
    end = BEDROCK.operations.stream_error(Refusal(status, "code", "Do this instead."), operation_, EVENT_STREAM)
    stream = converse(client(200, {"content-type": EVENT_STREAM}, b"".join(SAID) + end), stream=True)["stream"]
    with pytest.raises(EventStreamError, match="Do this instead") as raised:
        list(stream)
    assert raised.value.response["Error"]["Code"] == word
    assert read_event(ConverseStream(), [end])[2] == word


def test_nothing_is_appended_to_a_response_that_is_not_an_event_stream():
    assert BEDROCK.operations.stream_error(REFUSAL, operation("converse"), "application/json") == b""


def test_a_bearer_key_is_set_in_authorization():
    assert BEDROCK.credentials.header("k", "/model/m/converse") == ("authorization", "Bearer k")
