"""`/v1/responses`, whole and streamed."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

from wirekey_simulator import reports, session, text
from wirekey_simulator.exchange import BadRequest, Json, SimulatedResponse, encode, json_response, sse, sse_response
from wirekey_simulator.members import child
from wirekey_simulator.openai.chat_rules import REASONING
from wirekey_simulator.openai.parameters import model, objects, optional, required, tier_of
from wirekey_simulator.openai.responses_rules import check_responses
from wirekey_simulator.openai.storage import found, keep, page
from wirekey_simulator.signatures import signature
from wirekey_simulator.state import CREATED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wirekey_simulator.behaviour import Behaviour
    from wirekey_simulator.openai.call import OpenAICall
    from wirekey_simulator.state import State

type Event = Callable[..., Json]

SHELF = "openai.responses"
INPUTS = "openai.responses.inputs"
ARGUMENT_BYTES = 8
HELD_TEXT = 1 << 20
"""Characters of the text that the last events repeat. A longer text is never held whole."""
ECHOED = {
    "instructions": None,
    "max_output_tokens": None,
    "previous_response_id": None,
    "temperature": 1.0,
    "top_p": 1.0,
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "reasoning": {"effort": None, "summary": None},
    "text": {"format": {"type": "text"}},
    "truncation": "disabled",
    "user": None,
    "metadata": {},
}
"""Parameters that stand in the response, with their defaults."""


def create(call: OpenAICall) -> SimulatedResponse:
    """Return a response object, whole or streamed."""
    body = call.request.json()
    response = unfinished(body, call.state)
    check_responses(body)
    if optional(body, "stream", bool):
        events = (sse(event, event=event["type"]) for event in streamed(response, body, call))
        error = {"code": "server_error", "message": "The server had an error (simulated)."}
        number = call.behaviour.error_after or 0
        return sse_response(
            events, sse({"type": "error", **error, "param": None, "sequence_number": number}, event="error")
        )
    said, behaviour, cut, usage, items = _generated(body, call)
    whole = [
        item if item["type"] != "message" else _message_item(item["id"], text.whole(behaviour, said)) for item in items
    ]
    finished = _finished(response, whole, usage, call.state, cut=cut)
    # It is done when the client requests it again.
    return json_response({**response, "status": "queued"} if response["background"] else finished)


def streamed(response: Json, body: Json, call: OpenAICall) -> Iterator[Json]:
    """Return the events of a response to a checked request. Raises BadRequest."""
    said, behaviour, cut, usage, items = _generated(body, call)
    return _events(response, behaviour, items, usage, call.state, said=said, cut=cut)


def _generated(body: Json, call: OpenAICall) -> tuple[str, Behaviour, bool, Json, list[Json]]:
    """Return what a response says, how, whether that is cut, its usage, and its items with an empty message."""
    plan = planned(body)
    behaviour, cut = text.limited(call.behaviour, body.get("max_output_tokens"), plan.text or "")
    counts = text.counts(behaviour, body)
    reports.record("openai", call.request, body["model"], counts, call.state)
    return plan.text or "", behaviour, cut, _usage(counts), _items(body, plan, call.state)


def count_input(call: OpenAICall) -> SimulatedResponse:
    """Return the number of input tokens."""
    counts = text.counts(call.behaviour, call.request.json())
    return json_response({"object": "response.input_tokens", "input_tokens": counts.input})


def compact(call: OpenAICall) -> SimulatedResponse:
    """Return a compacted conversation."""
    body = call.request.json()
    model(body)
    item = {"id": call.state.new_id("cmp_"), "type": "compaction", "encrypted_content": "c2ltdWxhdGVk"}
    facts = {"id": call.state.new_id("resp_"), "object": "response.compaction", "created_at": CREATED}
    return json_response({**facts, "output": [item], "usage": _usage(text.counts(call.behaviour, body))})


def cancel(call: OpenAICall) -> SimulatedResponse:
    """Cancel a background response."""
    response = found(call.state, SHELF, call.key, "Response")
    if not response["background"]:
        raise BadRequest("Only responses that run in the background can be cancelled.")
    return json_response({**response, "status": "cancelled"})


def input_items(call: OpenAICall) -> SimulatedResponse:
    """Return the input items of a stored response."""
    found(call.state, SHELF, call.key, "Response")
    return json_response(page(call.state.shelf(INPUTS).get(call.key, []), call.request))


def unfinished(body: Json, state: State) -> Json:
    """Check the request. Return the response object before anything is generated."""
    facts: Json = {
        "id": state.new_id("resp_"),
        "object": "response",
        "created_at": CREATED,
        "status": "in_progress",
        "background": bool(optional(body, "background", bool)),
        "error": None,
        "incomplete_details": None,
        "model": model(body),
        "output": [],
        "store": body.get("store") is not False,
        "tools": objects(body, "tools"),
        "usage": None,
        "service_tier": tier_of(body),
    }
    given = required(body, "input", str, list)
    optional(body, "max_output_tokens", int)
    before = optional(body, "previous_response_id", str)
    if before and before not in state.shelf(SHELF):
        raise BadRequest(
            f"Previous response with id '{before}' not found.",
            code="previous_response_not_found",
            field="previous_response_id",
        )
    if facts["store"]:
        message = {"type": "message", "role": "user", "content": given}
        items = [message] if isinstance(given, str) else objects(body, "input")
        state.store(INPUTS, facts["id"], [{"id": f"{facts['id']}-{n}", **item} for n, item in enumerate(items)])
    return {**facts, **{name: body.get(name, usual) for name, usual in ECHOED.items()}}


def _finished(response: Json, items: list[Json], usage: Json, state: State, *, cut: bool) -> Json:
    whole = {**response, "status": "completed", "output": items, "usage": usage}
    if cut and items[-1]["type"] == "message":
        whole |= {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    if whole["store"]:
        keep(state, SHELF, whole)
    return whole


def _usage(counts: text.TokenCounts) -> Json:
    return {
        "input_tokens": counts.input,
        "input_tokens_details": {"cached_tokens": counts.cached},
        "output_tokens": counts.output,
        "output_tokens_details": {"reasoning_tokens": counts.reasoning},
        "total_tokens": counts.total,
    }


def _message_item(key: str, whole: str | None) -> Json:
    """Return a text item. Without a text, the item as it begins."""
    item = {"id": key, "type": "message", "role": "assistant"}
    if whole is None:
        return {**item, "status": "in_progress", "content": []}
    return {**item, "status": "completed", "content": [_part(whole)]}


def _part(whole: str) -> Json:
    return {"type": "output_text", "text": whole, "annotations": [], "logprobs": []}


def planned(body: Json) -> session.Plan:
    """Return what the model says: a call of the first function offered, if the last input asks for one."""
    tools = [tool for tool in objects(body, "tools") if tool.get("type") in ("function", "custom")]
    offered = [(tool.get("name"), tool.get("parameters")) for tool in tools]
    form = child(body, "text", "format", "type") or "text"
    return session.planned(body, offered, structured=form != "text")


def _items(body: Json, plan: session.Plan, state: State) -> list[Json]:
    """Return the items of a response, its message still empty."""
    items: list[Json] = []
    if plan.thought is not None and REASONING.match(str(body["model"])):
        shown = bool(child(body, "reasoning", "summary"))
        item: Json = {"id": state.new_id("rs_"), "type": "reasoning", "summary": []}
        if shown:
            item["summary"] = [{"type": "summary_text", "text": plan.thought}]
        if "reasoning.encrypted_content" in (body.get("include") or ()):
            item["encrypted_content"] = signature("openai", plan.thought if shown else "")
        items.append(item)
    if plan.text is not None:
        items.append(_message_item(state.new_id("msg_"), None))
    custom = [tool.get("name") for tool in objects(body, "tools") if tool.get("type") == "custom"]
    for name, given in plan.calls:
        facts = {"status": "completed", "call_id": state.new_id("call_"), "name": name}
        if name in custom:
            items.append({"id": state.new_id("ctc_"), "type": "custom_tool_call", **facts, "input": str(given)})
        else:
            arguments = encode(given).decode()
            items.append({"id": state.new_id("fc_"), "type": "function_call", **facts, "arguments": arguments})
    return items


def _events(
    response: Json, behaviour: Behaviour, items: list[Json], usage: Json, state: State, *, said: str, cut: bool
) -> Iterator[Json]:
    numbers = count()
    finished: list[Json] = []

    def event(kind: str, **more: Any) -> Json:
        return {"type": kind, "sequence_number": next(numbers), **more}

    yield event("response.created", response=response)
    yield event("response.in_progress", response=response)
    for index, item in enumerate(items):
        at = {"item_id": item["id"], "output_index": index}
        if item["type"] == "message":
            yield event("response.output_item.added", output_index=index, item=item)
            held: list[str] = []
            yield from _text_events(event, at, text.words(behaviour, said), held)
            done = _message_item(item["id"], "".join(held)[:HELD_TEXT])
        elif item["type"] == "reasoning":
            yield event("response.output_item.added", output_index=index, item={**item, "summary": []})
            yield from _summary_events(event, at, item["summary"])
            done = item
        else:
            yield from _call_events(event, at, item)
            done = item
        yield event("response.output_item.done", output_index=index, item=done)
        finished.append(done)
    if not behaviour.no_done:
        last = _finished(response, finished, usage, state, cut=cut)
        yield event(f"response.{last['status']}", response=last)


def _text_events(event: Event, at: Json, words: Iterator[str], held: list[str]) -> Iterator[Json]:
    """Yield the events of a message's text. `held` gets the pieces that the last events repeat."""
    at = {**at, "content_index": 0}
    yield event("response.content_part.added", **at, part=_part(""))
    size = 0
    for word in words:
        if size < HELD_TEXT:
            held.append(word)
            size += len(word)
        yield event("response.output_text.delta", **at, delta=word, logprobs=[])
    whole = "".join(held)[:HELD_TEXT]
    yield event("response.output_text.done", **at, text=whole, logprobs=[])
    yield event("response.content_part.done", **at, part=_part(whole))


def _summary_events(event: Event, at: Json, summary: list[Json]) -> Iterator[Json]:
    for number, part in enumerate(summary):
        here = {**at, "summary_index": number}
        yield event("response.reasoning_summary_part.added", **here, part={**part, "text": ""})
        yield event("response.reasoning_summary_text.delta", **here, delta=part["text"])
        yield event("response.reasoning_summary_text.done", **here, text=part["text"])
        yield event("response.reasoning_summary_part.done", **here, part=part)


def _call_events(event: Event, at: Json, item: Json) -> Iterator[Json]:
    custom = item["type"] == "custom_tool_call"
    member, kind = ("input", "custom_tool_call_input") if custom else ("arguments", "function_call_arguments")
    started = {**item, "status": "in_progress", member: ""}
    yield event("response.output_item.added", output_index=at["output_index"], item=started)
    whole = item[member]
    for start in range(0, len(whole), ARGUMENT_BYTES):
        yield event(f"response.{kind}.delta", **at, delta=whole[start : start + ARGUMENT_BYTES])
    named = {} if custom else {"name": item["name"]}
    yield event(f"response.{kind}.done", **at, **{member: whole}, **named)
