"""A stream of Responses may say a part only when it is done, or only in its last event. Each part is read once."""

import base64
import itertools
import json

import pytest

from tests.features.translation import response_forms
from tests.features.translation.cases import dumped
from tests.features.translation.streams import cut, fold, upstream_bytes
from tests.features.translation.test_pairs import FORMATS, check, reply
from wirekey.features.translation.responses import StreamTranslator

CLIENTS = [form for form in FORMATS if form != "openai.responses"]
DELTAS = (".delta",)
DONE_PARTS = ("_text.done", "_arguments.done", "content_part.done")
LATE = {
    "in their done events": lambda kind: kind.endswith(DELTAS),
    "in the events of their items": lambda kind: kind.endswith((*DELTAS, *DONE_PARTS)),
    "in the last event, after their items were announced": lambda kind: (
        kind.endswith((*DELTAS, *DONE_PARTS)) or kind == "response.output_item.done"
    ),
    "in the last event": lambda kind: kind.startswith("response.") and not kind.startswith(ENDS),
    "in pieces, of which the last are missing": None,
}
"""Which events are left out of a stream."""
ENDS = ("response.created", "response.completed", "response.incomplete")


def shortened(events, late):
    if LATE[late]:
        return [event for event in events if not LATE[late](event["type"])]
    found, seen = [], set()
    for event in events:
        if not event["type"].endswith(".delta"):
            found.append(event)
        elif event["item_id"] not in seen:
            seen.add(event["item_id"])
            found.append(event)
    return found


def translated(client, feature, events, size=100):
    translator = StreamTranslator(reply(client, "openai.responses", feature, stream=True))
    data = upstream_bytes("openai.responses", events)
    found = b"".join(map(translator.feed, cut(data, size))) + translator.end()
    assert translator.failure is None
    return found


TOO_LATE = ("openai.chat", "reasoning-and-call", "in the last event, after their items were announced")
"""The id of the call is sent before the reasoning, whose state it would carry."""
ROWS = [row for row in itertools.product(CLIENTS, response_forms.FEATURES, LATE) if row != TOO_LATE]


@pytest.mark.parametrize(("client", "feature", "late"), ROWS)
def test_parts_that_come_late_reach_every_client_once(client, feature, late):
    events = shortened(response_forms.events("openai.responses", feature), late)
    found = translated(client, feature, events)
    assert found == translated(client, feature, events, 1)
    response, _ = fold(client, found)
    check(client, "openai.responses", feature, response)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_refusal_that_comes_late_reaches_every_client(client):
    part = {"type": "refusal", "refusal": "I cannot do that."}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    response = {**response_forms.whole("openai.responses", "text"), "output": [item]}
    at = {"output_index": 0, "content_index": 0, "item_id": "msg_1"}
    events = [
        {"type": "response.created", "response": {**response, "output": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": []}},
        {"type": "response.refusal.done", **at, "refusal": part["refusal"]},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": response},
    ]
    seen, _ = fold(client, translated(client, "text", events))
    finish, text, *_ = response_forms.seen(client, seen)
    assert (finish, text) == (response_forms.FINISH[client]["filtered"], part["refusal"])


ARGUMENTS = {
    "none": ([], "{}"),
    "one empty piece": ([""], "{}"),
    "blank": ([" ", "\n"], " \n{}"),
    "an empty object": (["{", "}"], "{}"),
    "white space around": ([' {"days"', ":2}\n"], ' {"days":2}\n'),
    "null": (["null"], "null"),
    "cut off": (['{"da'], '{"da'),
}
"""Pieces of the arguments of a call, and the arguments that the client has at its end."""


def calling(upstream, pieces):
    match upstream:
        case "anthropic":
            block = {"type": "tool_use", "id": "call_1", "name": "clock", "input": {}}
            yield {"type": "message_start", "message": {"id": "msg_1", "model": "m", "usage": {"input_tokens": 1}}}
            yield {"type": "content_block_start", "index": 0, "content_block": block}
            for piece in pieces:
                delta = {"type": "input_json_delta", "partial_json": piece}
                yield {"type": "content_block_delta", "index": 0, "delta": delta}
            yield {"type": "content_block_stop", "index": 0}
            yield {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 1}}
            yield {"type": "message_stop"}
        case "converse":
            yield {"messageStart": {"role": "assistant"}}
            use = {"toolUse": {"toolUseId": "call_1", "name": "clock"}}
            yield {"contentBlockStart": {"contentBlockIndex": 0, "start": use}}
            for piece in pieces:
                yield {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"toolUse": {"input": piece}}}}
            yield {"contentBlockStop": {"contentBlockIndex": 0}}
            yield {"messageStop": {"stopReason": "tool_use"}}
            yield {"metadata": {"usage": {"inputTokens": 1, "outputTokens": 1}}}
        case "openai.chat":
            call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "clock", "arguments": ""}}
            yield {"id": "c", "choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}]}
            for piece in pieces:
                delta = {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}
                yield {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
            yield {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
            yield "[DONE]"


@pytest.mark.parametrize("arguments", ARGUMENTS)
@pytest.mark.parametrize("upstream", ["anthropic", "converse", "openai.chat"])
def test_the_arguments_of_a_call_of_responses_are_its_deltas(upstream, arguments):
    pieces, whole = ARGUMENTS[arguments]
    translator = StreamTranslator(reply("openai.responses", upstream, "calls", stream=True))
    data = translator.feed(upstream_bytes(upstream, calling(upstream, pieces))) + translator.end()
    events = [json.loads(line[6:]) for line in data.decode().splitlines() if line.startswith("data: ")]
    deltas = [event["delta"] for event in events if event["type"] == "response.function_call_arguments.delta"]
    (done,) = [event for event in events if event["type"] == "response.function_call_arguments.done"]
    (item,) = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert "".join(deltas) == done["arguments"] == item["arguments"] == whole
    assert events[-1]["response"]["output"] == [item]


@pytest.mark.parametrize("upstream", ["anthropic", "converse"])
@pytest.mark.parametrize("arguments", ["none", "one empty piece", "blank"])
def test_a_call_of_chat_without_arguments_has_an_empty_object(upstream, arguments):
    pieces, whole = ARGUMENTS[arguments]
    translator = StreamTranslator(reply("openai.chat", upstream, "calls", stream=True))
    data = translator.feed(upstream_bytes(upstream, calling(upstream, pieces))) + translator.end()
    message = fold("openai.chat", data)[0]["choices"][0]["message"]
    assert message["tool_calls"][0]["function"]["arguments"] == whole


@pytest.mark.parametrize("upstream", ["anthropic", "invoke"])
@pytest.mark.parametrize("client", FORMATS)
def test_arguments_and_signatures_that_come_with_the_start_of_their_block_reach_every_client(client, upstream):
    if client == upstream:
        return
    given = '{"days": 1.10, "place": "Lyon"}'
    events = [
        {"type": "message_start", "message": {"id": "msg_1", "model": "m", "usage": {"input_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {
            "type": "thinking", "thinking": "Hm.", "signature": "c2ln",
        }},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": {
            "type": "tool_use", "id": "call_1", "name": "forecast", "input": {"$raw": given},
        }},
        {"type": "content_block_stop", "index": 1},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    ]  # fmt: skip
    if upstream == "invoke":
        events = [{"chunk": {"bytes": base64.b64encode(dumped(event).encode()).decode()}} for event in events]
    translator = StreamTranslator(reply(client, upstream, "reasoning-and-call", stream=True))
    data = translator.feed(upstream_bytes(upstream, events)) + translator.end()
    assert translator.failure is None
    body, _ = fold(client, data)
    _, _, thought, calls, _ = response_forms.seen(client, body)
    assert thought == "Hm."
    assert [(name, arguments) for _, name, arguments in calls] == [("forecast", json.loads(given))]
    assert ("c2ln" in json.dumps(body)) is (client in {"anthropic", "invoke", "converse"})
    if client != "invoke":  # whose frames are in base64
        assert b"1.10" in data
