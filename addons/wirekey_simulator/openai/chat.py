"""`/v1/chat/completions`, whole and streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wirekey_simulator import reports, session, text
from wirekey_simulator.exchange import Json, SimulatedResponse, encode, json_response, sse, sse_response
from wirekey_simulator.openai.chat_rules import check_chat
from wirekey_simulator.openai.parameters import (
    checked,
    completion_usage,
    model,
    number,
    objects,
    optional,
    required,
    streams_with_usage,
    tier_of,
)
from wirekey_simulator.openai.storage import found, keep, page
from wirekey_simulator.state import CREATED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey_simulator.behaviour import Behaviour
    from wirekey_simulator.openai.call import OpenAICall
    from wirekey_simulator.state import State

SHELF = "openai.chat"
MESSAGES = "openai.chat.messages"
DONE = b"data: [DONE]\n\n"
ARGUMENT_BYTES = 8
"""Characters in each streamed piece of a tool call's arguments."""
STREAM_ERROR = sse(
    {
        "error": {
            "message": "The server had an error while processing your request (simulated).",
            "type": "server_error",
            "param": None,
            "code": None,
        }
    }
)


def create(call: OpenAICall) -> SimulatedResponse:
    """Return a chat completion, whole or streamed."""
    body = call.request.json()
    stream, with_usage = streams_with_usage(body)
    facts = {
        "id": call.state.new_id("chatcmpl-"),
        "created": CREATED,
        "model": model(body),
        "service_tier": tier_of(body),
    }
    for index, given in enumerate(required(body, "messages", list)):
        required(checked(given, f"messages[{index}]", dict), "role", str)
    most = optional(body, "max_completion_tokens", int) or optional(body, "max_tokens", int)
    behaviour, cut = text.limited(call.behaviour, most)
    check_chat(body)
    plan = planned(body)
    calls = tool_calls(plan, call.state)
    finish = "tool_calls" if calls else "length" if cut else "stop"
    choices = number(body, "n", 1, 1, 128)
    counts = text.counts(behaviour, body)
    usage = completion_usage(counts)
    reports.record("openai", call.request, body["model"], counts, call.state)
    if stream:
        counted = usage if with_usage else None
        events = _events(facts, behaviour, plan.text, counted, calls=calls, finish=finish, choices=choices)
        return sse_response(events, STREAM_ERROR)
    content = None if plan.text is None else text.whole(behaviour, plan.text)
    message: Json = {"role": "assistant", "content": content, "refusal": None}
    message |= {"tool_calls": calls} if calls else {"annotations": []}
    choice = {"message": message, "logprobs": None, "finish_reason": finish}
    response: Json = {
        **facts,
        "object": "chat.completion",
        "choices": [{"index": index, **choice} for index in range(choices)],
        "usage": usage,
        "system_fingerprint": "fp_simulator",
    }
    if optional(body, "store", bool):
        stored = {**response, "metadata": body.get("metadata") or {}}
        keep(call.state, SHELF, stored)
        call.state.store(MESSAGES, response["id"], body["messages"])
    return json_response(response)


def messages(call: OpenAICall) -> SimulatedResponse:
    """Return the messages of the request that a stored completion belongs to."""
    found(call.state, SHELF, call.key, "Chat completion")
    given = call.state.shelf(MESSAGES).get(call.key, [])
    return json_response(page([{"id": f"{call.key}-{n}", **message} for n, message in enumerate(given)], call.request))


def planned(body: Json) -> session.Plan:
    """Return what the model says: a call of the first function offered, if the last message asks for one."""
    tools = [required(tool, "function", dict) for tool in objects(body, "tools") if tool.get("type") == "function"]
    form = (optional(body, "response_format", dict) or {}).get("type", "text")
    offered = [(tool.get("name"), tool.get("parameters")) for tool in tools]
    return session.planned(body, offered, structured=form != "text")


def tool_calls(plan: session.Plan, state: State) -> list[Json]:
    """Return the calls of a turn."""
    return [
        {
            "id": state.new_id("call_"),
            "type": "function",
            "function": {"name": name, "arguments": encode(given).decode()},
        }
        for name, given in plan.calls
    ]


def _events(
    facts: Json,
    behaviour: Behaviour,
    said: str | None,
    usage: Json | None,
    *,
    calls: list[Json],
    finish: str,
    choices: int,
) -> Iterator[bytes]:
    more: Json = {"system_fingerprint": "fp_simulator"}
    if usage is not None:
        more["usage"] = None

    def chunk(index: int, delta: Json, reason: str | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
        return sse({**facts, "object": "chat.completion.chunk", "choices": [choice], **more})

    for index in range(choices):
        yield chunk(index, {"role": "assistant", "content": None if said is None else "", "refusal": None})
        if said is not None:
            before, after = chunk(index, {"content": "@"}).split(b'"@"', 1)
            for word in text.words(behaviour, said):
                yield before + encode(word) + after
        for position, call in enumerate(calls):
            for delta in _call_deltas(position, call):
                yield chunk(index, {"tool_calls": [delta]})
        yield chunk(index, {}, finish)
    if usage is not None:
        yield sse({**facts, "object": "chat.completion.chunk", "choices": [], **more, "usage": usage})
    if not behaviour.no_done:
        yield DONE


def _call_deltas(index: int, call: Json) -> Iterator[Json]:
    function: dict[str, Any] = call["function"]
    arguments = function["arguments"]
    yield {"index": index, **call, "function": {**function, "arguments": ""}}
    for start in range(0, len(arguments), ARGUMENT_BYTES):
        yield {"index": index, "function": {"arguments": arguments[start : start + ARGUMENT_BYTES]}}
