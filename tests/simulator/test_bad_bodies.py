"""Any JSON body gets a response of the provider, never an internal error of the simulator."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.simulator.requests import request
from wirekey_simulator import anthropic, bedrock, gemini
from wirekey_simulator.behaviour import parse_behaviour
from wirekey_simulator.exchange import BadRequest
from wirekey_simulator.state import State

VERSION = {"anthropic-version": "2023-06-01"}
MESSAGES = [{"role": "user", "content": "Call a tool"}]
WHOLE = {
    "/v1/messages": {
        "model": "m",
        "max_tokens": 1,
        "messages": MESSAGES,
        "tools": [
            {"name": "x", "input_schema": {"type": "object", "properties": {"a": {"type": "string", "enum": ["a"]}}}}
        ],
        "stream": False,
    },
    "/v1/messages/count_tokens": {"model": "m", "messages": MESSAGES},
    "/v1/messages/batches": {
        "requests": [{"custom_id": "a", "params": {"model": "m", "max_tokens": 1, "messages": MESSAGES}}]
    },
    "/model/x/converse": {
        "messages": [{"role": "user", "content": [{"text": "Call a tool"}]}],
        "inferenceConfig": {"maxTokens": 1},
        "toolConfig": {
            "tools": [{"toolSpec": {"name": "x", "inputSchema": {"json": {"type": "object", "properties": {}}}}}]
        },
    },
    "/model/x/count-tokens": {"input": {"converse": {"messages": []}}},
    "/model/anthropic.x/invoke": {"anthropic_version": "x", "max_tokens": 1, "messages": MESSAGES},
    "/model/amazon.nova/invoke": {"messages": MESSAGES, "inferenceConfig": {"maxTokens": 1}},
    "/model/amazon.titan-x/invoke": {"inputText": "x", "textGenerationConfig": {"maxTokenCount": 1}},
    "/model/amazon.titan-embed/invoke": {"inputText": "x", "dimensions": 8},
    "/model/meta.x/invoke": {"prompt": "x", "max_gen_len": 1},
    "/model/cohere.embed/invoke": {"texts": ["x"], "input_type": "x"},
    "/v1beta/models/gemini-x:generateContent": {
        "contents": [{"role": "user", "parts": [{"text": "Call a tool"}]}],
        "tools": [{"functionDeclarations": [{"name": "x", "parameters": {"properties": {"a": {}}}}]}],
        "generationConfig": {"maxOutputTokens": 1, "thinkingConfig": {"includeThoughts": True}},
    },
    "/v1beta/models/gemini-x:streamGenerateContent": {
        "contents": [{"parts": [{"text": "Call a tool"}]}],
        "tools": [{"functionDeclarations": [{"name": "x"}]}],
    },
    "/v1beta/models/gemini-x:countTokens": {"generateContentRequest": {"contents": []}},
    "/v1beta/models/gemini-x:embedContent": {"content": {"parts": []}, "outputDimensionality": 8},
    "/v1beta/models/gemini-x:batchEmbedContents": {"requests": [{"model": "models/gemini-x", "content": {}}]},
    "/v1beta/cachedContents": {"model": "m", "contents": [], "displayName": "x"},
}
ODD = st.sampled_from([None, True, 0, -1, 1.5, 10**30, "", "x", [], [None], [[]], [{}], {}, {"text": 1}, {"x": []}])


@st.composite
def disturbed(draw, value):
    """Replace one place of a value with something odd."""
    inner = (
        list(value.items() if isinstance(value, dict) else enumerate(value)) if isinstance(value, dict | list) else []
    )
    if not inner or draw(st.integers(0, 3)) == 0:
        return draw(ODD)
    key, chosen = draw(st.sampled_from(inner))
    other = draw(disturbed(chosen))
    return value | {key: other} if isinstance(value, dict) else [*value[:key], other, *value[key + 1 :]]


@pytest.mark.parametrize("path", WHOLE)
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_json_gets_a_response_or_is_refused(path, data):
    module = anthropic if path.startswith("/v1/") else bedrock if path.startswith("/model/") else gemini
    body = data.draw(disturbed(WHOLE[path]))
    try:
        made = module.respond(request("POST", path, body, VERSION), parse_behaviour(""), State())
        list(made.pieces or ())
    except BadRequest:
        pass


@pytest.mark.parametrize("path", WHOLE)
def test_the_unchanged_body_gets_a_response(path):
    module = anthropic if path.startswith("/v1/") else bedrock if path.startswith("/model/") else gemini
    if "count" in path:
        return
    made = module.respond(request("POST", path, WHOLE[path], VERSION), parse_behaviour(""), State())
    assert json.loads(made.body or b"".join(made.pieces))
