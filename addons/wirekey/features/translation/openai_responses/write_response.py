"""Writes whole responses of OpenAI's Responses, and the items that a stream is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from wirekey.features.translation import neutral as n
from wirekey.features.translation.citations import annotation
from wirekey.features.translation.logprobs import write_openai
from wirekey.features.translation.reply import text_arguments

if TYPE_CHECKING:
    from wirekey.features.translation.reply import Reply

type Json = dict[str, object]

_INCOMPLETE = {
    n.Finish.LIMIT: "max_output_tokens",
    n.Finish.WINDOW: "max_output_tokens",
    n.Finish.FILTERED: "content_filter",
}


def write_usage(usage: n.TokenUsage) -> Json:
    """Return the `usage` member. Both details are always there, because the SDK's types demand them."""
    return {
        "input_tokens": usage.input or 0,
        "input_tokens_details": {"cached_tokens": usage.cached or 0, "cache_write_tokens": usage.written or 0},
        "output_tokens": usage.output or 0,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning or 0},
        "total_tokens": (usage.input or 0) + (usage.output or 0),
    }


def write_response(answer: n.Answer, reply: Reply) -> Json:
    """Return the members of a whole response."""
    output = [item for block in answer.blocks for item in _items(block, reply)]
    head = response_head(reply.id("resp_", answer.id), reply.model(answer.model), reply)
    return finished(head, output, answer.finish, answer.usage)


def response_head(identifier: str, model: str, reply: Reply) -> Json:
    """Return the members of a response that are known at its start; some repeat the request."""
    found: Json = {
        "id": identifier,
        "object": "response",
        "created_at": reply.created,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "model": model,
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": False,
        "temperature": None,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "truncation": "disabled",
        "usage": None,
        "metadata": {},
    }
    found.update(reply.conversation.repeated)
    return found


def finished(head: Json, output: list[Json], finish: n.Finish, usage: n.TokenUsage) -> Json:
    """Return the members of a response at its end."""
    reason = _INCOMPLETE.get(finish)
    return {
        **head,
        "status": "incomplete" if reason else "completed",
        "incomplete_details": {"reason": reason} if reason else None,
        "output": output,
        "usage": write_usage(usage),
    }


def message_item(
    identifier: str, text: str, citations: tuple[n.Citation, ...] = (), logprobs: tuple[n.TokenLogprob, ...] = ()
) -> Json:
    """Return a message with one part of text."""
    annotations = [annotation(one, 0, len(text)) for one in citations]
    tokens = write_openai(logprobs)
    part: Json = {"type": "output_text", "text": text, "annotations": annotations, "logprobs": tokens}
    return {"id": identifier, "type": "message", "status": "completed", "role": "assistant", "content": [part]}


def reasoning_item(identifier: str, text: str | None, state: str | None) -> Json:
    """Return an item of reasoning."""
    summary = [{"type": "summary_text", "text": text}] if text else []
    found: Json = {"id": identifier, "type": "reasoning", "summary": summary}
    if state:
        found["encrypted_content"] = state
    return found


def call_item(identifier: str, call: n.ToolCall, reply: Reply) -> Json:
    """Return a call of a tool: of a function, or of a tool that takes free text."""
    name = reply.tool_name(call.name)
    found: Json = {
        "id": identifier,
        "status": "completed",
        "call_id": call.id or f"call_{reply.make_id()}",
        "name": name,
    }
    if reply.is_custom(name):
        return {**found, "type": "custom_tool_call", "input": free_text(call)}
    return {**found, "type": "function_call", "arguments": text_arguments(call)}


def free_text(call: n.ToolCall) -> str:
    """Return the text that a call of a free-text tool carries in its member `input`."""
    try:
        found = msgspec.json.decode(call.arguments or "{}")
    except msgspec.DecodeError:
        return call.arguments
    text = found.get("input") if isinstance(found, dict) else None
    return text if isinstance(text, str) else call.arguments


def _items(block: n.Block, reply: Reply) -> list[Json]:
    match block:
        case n.Text():
            return [message_item(f"msg_{reply.make_id()}", block.text, block.annotations, block.logprobs)]
        case n.Reasoning():
            text = block.text if reply.shows_thoughts else None
            state = reply.carried_or_mark(block) if text else reply.carried(block)
            return [reasoning_item(f"rs_{reply.make_id()}", text, state)] if state else []
        case n.ToolCall():
            return [call_item(f"fc_{reply.make_id()}", block, reply)]
    return []
