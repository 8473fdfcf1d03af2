import base64
import json
from urllib.parse import quote

import pytest
from anthropic.types import Message
from botocore.eventstream import EventStreamBuffer

from tests.simulator.requests import request
from wirekey_simulator.bedrock import check_credentials, failure, respond
from wirekey_simulator.behaviour import parse_behaviour
from wirekey_simulator.exchange import BadRequest
from wirekey_simulator.state import State
from wirekey_simulator.text import TEXT

CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"
ARN = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-20250514-v1:0"
ASK = {"messages": [{"role": "user", "content": [{"text": "Say hello"}]}]}
TOOL = {"name": "weather", "inputSchema": {"json": {"type": "object", "properties": {"city": {"type": "string"}}}}}
ASK_TOOL = {
    "messages": [{"role": "user", "content": [{"text": "Call a tool"}]}],
    "toolConfig": {"tools": [{"toolSpec": TOOL}]},
}
CLAUDE_BODY = {
    "anthropic_version": "bedrock-2023-05-31",
    "max_tokens": 10,
    "messages": [{"role": "user", "content": "Say hello"}],
}
COUNTS = "input-tokens=100, cached-tokens=60, tokens=30"


def ask(operation, body, behaviour="", model=CLAUDE):
    path = f"/model/{quote(model, safe='')}/{operation}"
    return respond(request("POST", path, body), parse_behaviour(behaviour), State())


def events(made):
    buffer = EventStreamBuffer()
    for piece in made.pieces:
        buffer.add_data(piece)
    return [(event.headers[":event-type"], json.loads(event.payload)) for event in buffer]


def chunks(made):
    return [json.loads(base64.b64decode(payload["bytes"])) for _, payload in events(made)]


@pytest.mark.parametrize("model", [CLAUDE, ARN, "us.amazon.nova-lite-v1:0", "sim-gate"])
def test_converse_takes_any_model_id_encoded_or_not(model):
    made = json.loads(ask("converse", ASK, model=model).body)
    assert made["output"]["message"] == {"role": "assistant", "content": [{"text": TEXT}]}
    assert made["stopReason"] == "end_turn"
    raw = respond(request("POST", f"/model/{model}/converse", ASK), parse_behaviour(""), State())
    assert json.loads(raw.body) == made


def test_converse_counts_cached_tokens_apart_from_the_input_and_within_the_total():
    usage = json.loads(ask("converse", ASK, COUNTS).body)["usage"]
    assert (usage["inputTokens"], usage["outputTokens"], usage["totalTokens"]) == (40, 30, 130)
    assert (usage["cacheReadInputTokens"], usage["cacheWriteInputTokens"]) == (60, 0)


def test_a_converse_stream_has_the_events_in_the_order_of_the_provider():
    made = events(ask("converse-stream", ASK, f"events=2, {COUNTS}"))
    assert [kind for kind, _ in made] == [
        "messageStart",
        "contentBlockDelta",
        "contentBlockDelta",
        "contentBlockStop",
        "messageStop",
        "metadata",
    ]
    assert made[-1][1]["usage"]["totalTokens"] == 130
    assert all(payload["p"] for _, payload in made)


@pytest.mark.parametrize("asked", [ASK, ASK_TOOL])
def test_a_converse_stream_has_the_same_content_as_the_plain_response(asked):
    whole = json.loads(ask("converse", asked, "reasoning-tokens=2").body)
    deltas = [payload["delta"] for kind, payload in events(ask("converse-stream", asked, "reasoning-tokens=2")) if
              kind == "contentBlockDelta"]  # fmt: skip
    said = whole["output"]["message"]["content"][-1]
    if "text" in said:
        assert "".join(delta.get("text", "") for delta in deltas) == said["text"]
    else:
        assert (
            json.loads("".join(delta.get("toolUse", {}).get("input", "") for delta in deltas))
            == said["toolUse"]["input"]
        )
    assert deltas[0]["reasoningContent"] == {"text": "Nothing to think about."}


def test_a_tool_is_called_when_the_prompt_says_so():
    made = json.loads(ask("converse", ASK_TOOL).body)
    assert made["stopReason"] == "tool_use"
    assert made["output"]["message"]["content"][0]["toolUse"]["name"] == "weather"


def test_a_response_ends_at_the_token_limit():
    made = json.loads(ask("converse", ASK | {"inferenceConfig": {"maxTokens": 2}}).body)
    assert (made["stopReason"], made["usage"]["outputTokens"]) == ("max_tokens", 2)


LIMITS = {
    CLAUDE: ("max_tokens", "max_tokens"),
    "amazon.nova-micro-v1:0": ("inferenceConfig", "max_tokens"),
    "amazon.titan-text-express-v1": ("textGenerationConfig", "LENGTH"),
    "us.meta.llama3-3-70b-instruct-v1:0": ("max_gen_len", "length"),
    "mistral.mistral-7b-instruct-v0:2": ("max_tokens", "length"),
    "mistral.mistral-large-2407-v1:0": ("max_tokens", "length"),
    "cohere.command-text-v14": ("max_tokens", "MAX_TOKENS"),
    "cohere.command-r-v1:0": ("max_tokens", "MAX_TOKENS"),
}


@pytest.mark.parametrize("model", LIMITS)
def test_each_vendor_has_a_word_for_a_response_that_ended_early(model):
    name, reason = LIMITS[model]
    value = {"inferenceConfig": {"maxTokens": 2}, "textGenerationConfig": {"maxTokenCount": 2}}.get(name, 2)
    body = SHAPES[model][0] | {name: value}
    assert f'"{reason}"' in ask("invoke", body, model=model).body.decode()
    assert f'"{reason}"' in json.dumps(chunks(ask("invoke-with-response-stream", body, model=model))[-3:])


SHAPES = {
    CLAUDE: (CLAUDE_BODY, lambda whole: whole["content"][0]["text"], lambda e: e.get("delta", {}).get("text", "")),
    "amazon.nova-micro-v1:0": (
        ASK,
        lambda whole: whole["output"]["message"]["content"][0]["text"],
        lambda e: e.get("contentBlockDelta", {}).get("delta", {}).get("text", ""),
    ),
    "amazon.titan-text-express-v1": (
        {"inputText": "Say hello"},
        lambda whole: whole["results"][0]["outputText"],
        lambda e: e["outputText"],
    ),
    "us.meta.llama3-3-70b-instruct-v1:0": (
        {"prompt": "Say hello"},
        lambda whole: whole["generation"],
        lambda e: e["generation"],
    ),
    "mistral.mistral-7b-instruct-v0:2": (
        {"prompt": "Say hello"},
        lambda whole: whole["outputs"][0]["text"],
        lambda e: e["outputs"][0]["text"],
    ),
    "mistral.mistral-large-2407-v1:0": (
        {"messages": [{"role": "user", "content": "Say hello"}]},
        lambda whole: whole["choices"][0]["message"]["content"],
        lambda e: e["choices"][0]["message"]["content"],
    ),
    "cohere.command-text-v14": (
        {"prompt": "Say hello"},
        lambda whole: whole["generations"][0]["text"],
        lambda e: e.get("text", ""),
    ),
    "cohere.command-r-v1:0": ({"message": "Say hello"}, lambda whole: whole["text"], lambda e: e.get("text", "")),
}


@pytest.mark.parametrize("model", SHAPES)
def test_invoke_responds_in_the_shape_of_each_vendor(model):
    body, said, _ = SHAPES[model]
    made = ask("invoke", body, COUNTS, model)
    assert said(json.loads(made.body)) == TEXT
    headers = dict(made.headers)
    assert headers["x-amzn-bedrock-input-token-count"] == "40"
    assert headers["x-amzn-bedrock-output-token-count"] == "30"


@pytest.mark.parametrize("model", SHAPES)
def test_a_stream_of_invoke_has_the_same_content_and_ends_with_the_counts(model):
    body, _, part = SHAPES[model]
    made = chunks(ask("invoke-with-response-stream", body, COUNTS, model))
    assert "".join(map(part, made)) == TEXT
    assert made[-1]["amazon-bedrock-invocationMetrics"]["inputTokenCount"] == 40
    assert made[-1]["amazon-bedrock-invocationMetrics"]["outputTokenCount"] == 30
    assert not any("amazon-bedrock-invocationMetrics" in chunk for chunk in made[:-1])


@pytest.mark.parametrize("model", SHAPES)
def test_the_last_chunk_can_be_left_out(model):
    body, _, _ = SHAPES[model]
    whole = chunks(ask("invoke-with-response-stream", body, "", model))
    assert chunks(ask("invoke-with-response-stream", body, "no-done", model)) == whole[:-1]


def test_claude_through_invoke_is_a_message_of_anthropic():
    assert Message.model_validate(json.loads(ask("invoke", CLAUDE_BODY).body)).content[0].text == TEXT


@pytest.mark.parametrize(
    ("model", "body", "vectors"),
    [
        ("amazon.titan-embed-text-v2:0", {"inputText": "x", "dimensions": 256}, lambda made: [made["embedding"]]),
        ("cohere.embed-english-v3", {"texts": ["x"], "input_type": "search_query"}, lambda made: made["embeddings"]),
    ],
)
def test_embeddings(model, body, vectors):
    (values,) = vectors(json.loads(ask("invoke", body, model=model).body))
    assert len(values) in (256, 1024)
    assert sum(value**2 for value in values) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("operation", "body", "model", "sentence"),
    [
        ("converse", {}, CLAUDE, "messages field is required"),
        ("converse", {"messages": [{"role": "user", "content": "text"}]}, CLAUDE, "content"),
        ("converse", {"messages": [{"role": "assistant", "content": []}]}, CLAUDE, "start with a user message"),
        ("invoke", {"prompt": "x"}, CLAUDE, "anthropic_version"),
        ("invoke", CLAUDE_BODY | {"model": "x"}, CLAUDE, "Extra inputs"),
        ("invoke", {}, "meta.llama3", "prompt"),
        ("invoke", {"prompt": "x"}, "unknown.model", "model identifier is invalid"),
        ("invoke-with-response-stream", {"inputText": "x"}, "amazon.titan-embed-text-v2:0", "streaming"),
        ("count-tokens", {}, CLAUDE, "input"),
    ],
)
def test_a_request_that_lacks_something_is_refused(operation, body, model, sentence):
    with pytest.raises(BadRequest, match=sentence):
        ask(operation, body, model=model)


@pytest.mark.parametrize(("method", "path"), [("POST", "/model/x/other"), ("GET", "/model/x/converse"), ("GET", "/")])
def test_unknown_operations_are_404(method, path):
    with pytest.raises(BadRequest) as refused:
        respond(request(method, path, ASK), parse_behaviour(""), State())
    assert refused.value.status == 404


@pytest.mark.parametrize(
    ("header", "refused"),
    [
        ("Bearer good", None),
        ("Bearer bad", "Authentication failed"),
        ("", "Missing"),
        ("AWS4-HMAC-SHA256 Credential=x", "signature"),
    ],
)
def test_the_key_is_checked(header, refused):
    sentence = check_credentials(request("POST", "/", ASK, {"Authorization": header}), {"good"})
    assert sentence is None if refused is None else refused in sentence


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "ValidationException"), (403, "AccessDeniedException"), (429, "ThrottlingException"),
     (500, "InternalServerException"), (503, "ServiceUnavailableException")],
)  # fmt: skip
def test_failures_name_their_type_in_a_header(status, kind):
    failed = failure(status, "No.", parse_behaviour(""))
    assert (failed.status, json.loads(failed.body)) == (status, {"message": "No."})
    assert dict(failed.headers)["x-amzn-errortype"].startswith(kind)


def test_a_failure_inside_a_stream_is_an_exception_event():
    buffer = EventStreamBuffer()
    buffer.add_data(ask("converse-stream", ASK).error_piece)
    assert next(buffer).headers[":exception-type"] == "throttlingException"


def test_tokens_are_counted_without_a_response():
    made = ask("count-tokens", {"input": {"converse": ASK}}, "input-tokens=12")
    assert json.loads(made.body) == {"inputTokens": 12}


@pytest.mark.parametrize(("operation", "body"), [("converse", ASK_TOOL), ("invoke", CLAUDE_BODY)])
def test_the_same_request_gets_the_same_body_ids_included(operation, body):
    first, second = ask(operation, body), ask(operation, body)
    assert first.body == second.body
    assert first.body != ask(operation, body | {"additional": 1}).body
