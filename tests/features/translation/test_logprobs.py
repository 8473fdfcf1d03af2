"""Log probabilities between the three formats that have them, whole and streamed; the others refuse to be asked."""

import json

import pytest

from tests.features.translation.cases import MODELS, PLAIN, STATES
from tests.features.translation.sdk_types import check_event, check_response
from tests.features.translation.streams import client_events, upstream_bytes
from tests.features.translation.test_responses import reply_of
from wirekey.core.errors import Refusal
from wirekey.features.translation.formats import FORMATS
from wirekey.features.translation.requests import translate_request
from wirekey.features.translation.responses import StreamTranslator, translate_response

ASKS = {
    "openai.chat": {"logprobs": True, "top_logprobs": 2},
    "openai.responses": {"include": ["message.output_text.logprobs"], "top_logprobs": 2},
    "gemini": {"generationConfig": {"responseLogprobs": True, "logprobs": 2}},
}
CHAT_MODELS = {**MODELS, "openai.responses": "gpt-4o-mini"}
"""Models that take the option: those that reason do not."""
TOKENS = [("Grüß", -0.25, [("Grüß", -0.25), ("Hi", -1.5)]), (" Gott", -0.5, [(" Gott", -0.5)])]
TEXT = "Grüß Gott"


def openai_token(token, logprob, top=None):
    found = {"token": token, "logprob": logprob, "bytes": list(token.encode())}
    return found if top is None else {**found, "top_logprobs": [openai_token(*one) for one in top]}


OPENAI = [openai_token(*one) for one in TOKENS]
GOOGLE = {
    "chosenCandidates": [{"token": token, "logProbability": logprob} for token, logprob, _ in TOKENS],
    "topCandidates": [
        {"candidates": [{"token": token, "logProbability": logprob} for token, logprob in top]} for _, _, top in TOKENS
    ],
}


def part_of_google(start, end):
    return {name: listed[start:end] for name, listed in GOOGLE.items()}


def without_bytes(token):
    """Return a token as an event of Responses has it."""
    found = {"token": token["token"], "logprob": token["logprob"]}
    top = [{"token": one["token"], "logprob": one["logprob"]} for one in token["top_logprobs"]]
    return {**found, "top_logprobs": top}


def whole(form):
    """Return a response with log probabilities."""
    if form == "openai.chat":
        choice = {"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}
        return {"id": "chatcmpl-1", "model": "m", "choices": [{**choice, "logprobs": {"content": OPENAI}}]}
    if form == "openai.responses":
        part = {"type": "output_text", "text": TEXT, "annotations": [], "logprobs": OPENAI}
        item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
        return {"id": "resp_1", "model": "m", "status": "completed", "output": [item]}
    candidate = {"content": {"role": "model", "parts": [{"text": TEXT}]}, "finishReason": "STOP", "index": 0}
    return {"candidates": [{**candidate, "logprobsResult": GOOGLE}], "responseId": "1", "modelVersion": "m"}


def events(form):
    """Return the events of a stream with one token each."""
    for place, (text, _, _) in enumerate(TOKENS):
        token = [OPENAI[place]]
        if form == "openai.chat":
            choice = {"index": 0, "delta": {"content": text}, "logprobs": {"content": token}, "finish_reason": None}
            yield {"id": "chatcmpl-1", "model": "m", "choices": [choice]}
        elif form == "openai.responses":
            if not place:
                yield {"type": "response.created", "response": {"id": "resp_1", "model": "m"}}
            at = {"output_index": 0, "content_index": 0, "item_id": "msg_1"}
            yield {"type": "response.output_text.delta", **at, "delta": text, "logprobs": token}
        else:
            candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}
            yield {"candidates": [{**candidate, "logprobsResult": part_of_google(place, place + 1)}]}
    if form == "openai.chat":
        yield {"id": "chatcmpl-1", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    elif form == "openai.responses":
        yield {"type": "response.completed", "response": {"id": "resp_1", "status": "completed", "output": []}}
    else:
        yield {"candidates": [{"content": {"parts": []}, "finishReason": "STOP", "index": 0}]}


def seen(form, response):
    """Return the log probabilities in a whole response."""
    if form == "openai.chat":
        return response["choices"][0]["logprobs"]["content"]
    if form == "openai.responses":
        return response["output"][0]["content"][0]["logprobs"]
    return response["candidates"][0]["logprobsResult"]


def seen_in(form, event):
    """Return the log probabilities in one event of a stream."""
    if form == "openai.chat":
        return [(choice["logprobs"] or {}).get("content", []) for choice in event["choices"]]
    if form == "openai.responses":
        return [event["logprobs"]] if event["type"] == "response.output_text.delta" else []
    return [candidate.get("logprobsResult") for candidate in event["candidates"]]


PAIRS = [(client, upstream) for client in ASKS for upstream in ASKS if client != upstream]


def reply(client, upstream, *, stream=False):
    case = {"from": client, "to": upstream, "model": CHAT_MODELS[upstream], "ask": ASKS[client]}
    return reply_of(case, stream=stream)


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_a_request_for_them_is_translated(client, upstream):
    body = json.dumps({**PLAIN[client], **ASKS[client]}).encode()
    made = translate_request(FORMATS[client], FORMATS[upstream], CHAT_MODELS[upstream], body, STATES)
    found = json.loads(made.body)
    assert {name: found[name] for name in ASKS[upstream]} == ASKS[upstream]


@pytest.mark.parametrize("upstream", ["anthropic", "converse", "invoke"])
@pytest.mark.parametrize("client", ASKS)
def test_a_request_for_them_is_refused_where_there_are_none(client, upstream):
    body = json.dumps({**PLAIN[client], **ASKS[client]}).encode()
    with pytest.raises(Refusal, match="the upstream has no log probabilities"):
        translate_request(FORMATS[client], FORMATS[upstream], MODELS[upstream], body, STATES)


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_a_response_has_them_in_the_shape_of_the_client(client, upstream):
    response = json.loads(translate_response(200, json.dumps(whole(upstream)).encode(), reply(client, upstream)).body)
    check_response(client, response)
    assert seen(client, response) == (GOOGLE if client == "gemini" else OPENAI)


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_each_event_of_a_stream_has_its_own(client, upstream):
    translator = StreamTranslator(reply(client, upstream, stream=True))
    data = b"".join(translator.feed(upstream_bytes(upstream, [event])) for event in events(upstream)) + translator.end()
    assert translator.failure is None
    found = client_events(client, data)
    for event in found:
        check_event(client, event)
    tokens = [one for event in found for one in seen_in(client, event) if one]
    expected = {
        "openai.chat": [OPENAI[:1], OPENAI[1:]],
        "openai.responses": [[without_bytes(one)] for one in OPENAI],
        "gemini": [part_of_google(0, 1), part_of_google(1, 2)],
    }[client]
    assert tokens == expected
    if client == "openai.responses":
        assert found[-1]["response"]["output"][0]["content"][0]["logprobs"] == OPENAI


@pytest.mark.parametrize("wrong", [None, 1, "x", [], [1], [{}], {"content": [1]}, [{"token": 1, "logprob": "x"}]])
@pytest.mark.parametrize("upstream", ASKS)
def test_wrong_types_are_passed_over(upstream, wrong):
    client = "openai.responses" if upstream == "openai.chat" else "openai.chat"
    text = json.dumps(whole(upstream))
    body = text.replace(json.dumps(OPENAI), json.dumps(wrong)).replace(json.dumps(GOOGLE), json.dumps(wrong))
    found = translate_response(200, body.encode(), reply(client, upstream))
    assert found.status in {200, 502}
    check = json.loads(found.body)
    if found.status == 200:
        check_response(client, check)
