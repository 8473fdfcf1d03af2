"""Beta flags of Anthropic's API reach Claude at Bedrock, if Bedrock knows them."""

import json

import pytest

from tests.features.translation.cases import MODELS, PLAIN, STATES
from wirekey.core.errors import Refusal
from wirekey.features.translation.betas import flags_of
from wirekey.features.translation.formats import FORMATS
from wirekey.features.translation.requests import Options, translate_request

KNOWN = ["context-1m-2025-08-07", "interleaved-thinking-2025-05-14", "computer-use-2025-01-24"]
UNKNOWN = "prompt-caching-scope-2026-01-05"


def translated(client, upstream, model=None, header="", strict=False, **more):
    body = json.dumps({**PLAIN[client], **more}).encode()
    options = Options(betas=flags_of([header]), strict=strict, max_tokens=9)
    found = translate_request(FORMATS[client], FORMATS[upstream], model or MODELS[upstream], body, STATES, options)
    return json.loads(found.body), found.context.losses.dropped


def test_the_header_is_a_list():
    assert flags_of([f"{KNOWN[0]}, {UNKNOWN}", KNOWN[1], " ,"]) == (KNOWN[0], UNKNOWN, KNOWN[1])


@pytest.mark.parametrize("upstream", ["invoke", "converse"])
def test_flags_of_the_header_that_bedrock_knows_are_in_the_body(upstream):
    body, dropped = translated("anthropic", upstream, header=", ".join([*KNOWN, KNOWN[0]]))
    assert (body.get("anthropic_beta") or body["additionalModelRequestFields"]["anthropic_beta"]) == KNOWN
    assert dropped == set()


@pytest.mark.parametrize("upstream", ["invoke", "converse"])
def test_a_flag_that_bedrock_does_not_know_is_dropped(upstream):
    body, dropped = translated("anthropic", upstream, header=UNKNOWN)
    assert UNKNOWN not in json.dumps(body)
    assert "anthropic_beta" not in json.dumps(body)
    assert dropped == {"anthropic_beta"}
    with pytest.raises(Refusal, match="anthropic_beta"):
        translated("anthropic", upstream, header=UNKNOWN, strict=True)


def test_flags_go_from_one_operation_of_bedrock_to_the_other():
    body, _ = translated("invoke", "converse", anthropic_beta=KNOWN)
    assert body["additionalModelRequestFields"]["anthropic_beta"] == KNOWN
    fields = {"additionalModelRequestFields": {"anthropic_beta": [*KNOWN, UNKNOWN]}}
    body, dropped = translated("converse", "invoke", inferenceConfig={"maxTokens": 9}, **fields)
    assert body["anthropic_beta"] == KNOWN
    assert dropped == {"additionalModelRequestFields.anthropic_beta"}


@pytest.mark.parametrize(
    ("upstream", "model"),
    [("gemini", None), ("openai.chat", None), ("anthropic", None), ("converse", "us.amazon.nova-pro-v1:0")],
)
def test_other_upstreams_get_no_flags(upstream, model):
    body, dropped = translated("anthropic", upstream, model, header=KNOWN[0])
    assert KNOWN[0] not in json.dumps(body)
    assert "anthropic_beta" not in dropped
    body, dropped = translated("invoke", upstream, model, anthropic_beta=[KNOWN[0]])
    assert KNOWN[0] not in json.dumps(body)
    assert "anthropic_beta" in dropped
