"""The same responses, written by hand in each format as its provider documents them: whole, and as events of a stream.

`whole(format, feature)` and `events(format, feature)` are what an upstream of the format sends. `seen(format, body)` is
what a program reads of a response in the format of its client. The pairs are composed in test_pairs.py.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass

LYON = '{"place":"Lyon","days":2}'
CALLS = (("call_1", "forecast", LYON), ("call_2", "clock", "{}"))
STATES = {
    "openai.chat": None,
    "openai.responses": "gAAAAenc",
    "gemini": "c2lnbmF0dXJl",
    "anthropic": "c2lnLWNsYXVkZQ==",
    "invoke": "c2lnLWNsYXVkZQ==",
    "converse": "c2lnLWNsYXVkZQ==",
}


@dataclass(frozen=True)
class Said:
    """One response, independent of any format."""

    finish: str = "end"
    text: str | None = None
    thought: str | None = None
    calls: tuple[tuple[str, str, str], ...] = ()


FEATURES = {
    "text": Said(text="Hello there."),
    "calls": Said("calls", calls=CALLS),
    "text-and-calls": Said("calls", "Let me see.", calls=CALLS),
    "reasoning": Said(text="Yes.", thought="Hm."),
    "reasoning-and-call": Said("calls", thought="Hm.", calls=CALLS[:1]),
    "limit": Said("limit", "Hel"),
    "filtered": Said("filtered", "I"),
}
FINISH = {
    "openai.chat": {"end": "stop", "calls": "tool_calls", "limit": "length", "filtered": "content_filter"},
    "openai.responses": {
        "end": "completed", "calls": "completed", "limit": "max_output_tokens", "filtered": "content_filter",
    },
    "gemini": {"end": "STOP", "calls": "STOP", "limit": "MAX_TOKENS", "filtered": "SAFETY"},
    "anthropic": {"end": "end_turn", "calls": "tool_use", "limit": "max_tokens", "filtered": "refusal"},
    "invoke": {"end": "end_turn", "calls": "tool_use", "limit": "max_tokens", "filtered": "refusal"},
    "converse": {"end": "end_turn", "calls": "tool_use", "limit": "max_tokens", "filtered": "content_filtered"},
}  # fmt: skip
INPUT, CACHED, OUTPUT, REASONING = 100, 40, 20, 5
"""Tokens: the input with its cached part, and the output with the part that was reasoning."""
USAGE = {
    "openai.chat": {
        "prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120,
        "prompt_tokens_details": {"cached_tokens": 40}, "completion_tokens_details": {"reasoning_tokens": 5},
    },
    "openai.responses": {
        "input_tokens": 100, "output_tokens": 20, "total_tokens": 120,
        "input_tokens_details": {"cached_tokens": 40}, "output_tokens_details": {"reasoning_tokens": 5},
    },
    "gemini": {
        "promptTokenCount": 100, "cachedContentTokenCount": 40, "candidatesTokenCount": 15, "thoughtsTokenCount": 5,
        "totalTokenCount": 120,
    },
    "anthropic": {
        "input_tokens": 60, "cache_read_input_tokens": 40, "cache_creation_input_tokens": 0, "output_tokens": 20,
        "output_tokens_details": {"thinking_tokens": 5},
    },
    "converse": {
        "inputTokens": 60, "cacheReadInputTokens": 40, "cacheWriteInputTokens": 0, "outputTokens": 20,
        "totalTokens": 120,
    },
}  # fmt: skip
USAGE["invoke"] = USAGE["anthropic"]


def whole(form, feature):
    """Return the response of an upstream."""
    said = FEATURES[feature]
    return WHOLE[form](said, FINISH[form][said.finish])


def events(form, feature):
    """Return the events of a stream of an upstream."""
    said = FEATURES[feature]
    return list(EVENTS[form](said, FINISH[form][said.finish]))


def pieces(text):
    """Return a text in three pieces, as streams cut it: anywhere."""
    third = len(text) // 3
    return [text[:third], text[third : 2 * third], text[2 * third :]]


def whole_chat(said, finish):
    message = {"role": "assistant", "content": said.text, "refusal": None}
    if said.thought:
        message["reasoning_content"] = said.thought
    if said.calls:
        message["tool_calls"] = [
            {"id": key, "type": "function", "function": {"name": name, "arguments": given}}
            for key, name, given in said.calls
        ]
    return {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-5",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "usage": USAGE["openai.chat"],
    }  # fmt: skip


def events_chat(said, finish):
    def chunk(delta, reason=None, **more):
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-5",
                "choices": [choice], **more}  # fmt: skip

    yield chunk({"role": "assistant", "content": None if said.calls else "", "refusal": None})
    for piece in pieces(said.thought) if said.thought else ():
        yield chunk({"reasoning_content": piece})
    for piece in pieces(said.text) if said.text else ():
        yield chunk({"content": piece})
    for index, (key, name, given) in enumerate(said.calls):
        yield chunk({"tool_calls": [
            {"index": index, "id": key, "type": "function", "function": {"name": name, "arguments": ""}}
        ]})  # fmt: skip
        for piece in pieces(given):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield chunk({}, finish)
    yield {**chunk({}), "choices": [], "usage": USAGE["openai.chat"]}
    yield "[DONE]"


def items_responses(said):
    items = []
    if said.thought:
        items.append({
            "id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": said.thought}],
            "encrypted_content": STATES["openai.responses"],
        })  # fmt: skip
    if said.text:
        part = {"type": "output_text", "text": said.text, "annotations": [], "logprobs": []}
        items.append({"id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": [part]})
    for number, (key, name, given) in enumerate(said.calls):
        items.append({
            "id": f"fc_{number}", "type": "function_call", "status": "completed", "call_id": key, "name": name,
            "arguments": given,
        })  # fmt: skip
    return items


def whole_responses(said, finish):
    incomplete = finish != "completed"
    return {
        "id": "resp_1", "object": "response", "created_at": 1, "model": "gpt-5", "output": items_responses(said),
        "status": "incomplete" if incomplete else "completed", "error": None,
        "incomplete_details": {"reason": finish} if incomplete else None, "instructions": None, "metadata": {},
        "parallel_tool_calls": True, "temperature": 1.0, "tool_choice": "auto", "tools": [], "top_p": 1.0,
        "usage": USAGE["openai.responses"],
    }  # fmt: skip


def events_responses(said, finish):
    done = whole_responses(said, finish)
    started = {**done, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    yield {"type": "response.created", "response": started}
    for index, item in enumerate(done["output"]):
        at = {"output_index": index, "item_id": item["id"]}
        empty = {"reasoning": {"summary": []}, "message": {"content": [], "status": "in_progress"},
                 "function_call": {"arguments": "", "status": "in_progress"}}[item["type"]]  # fmt: skip
        yield {"type": "response.output_item.added", "output_index": index, "item": {**item, **empty}}
        if item["type"] == "reasoning":
            part = {**at, "summary_index": 0}
            yield {
                "type": "response.reasoning_summary_part.added",
                **part,
                "part": {"type": "summary_text", "text": ""},
            }
            for piece in pieces(said.thought):
                yield {"type": "response.reasoning_summary_text.delta", **part, "delta": piece}
            yield {"type": "response.reasoning_summary_text.done", **part, "text": said.thought}
        elif item["type"] == "message":
            part = {**at, "content_index": 0}
            yield {"type": "response.content_part.added", **part, "part": {**item["content"][0], "text": ""}}
            for piece in pieces(said.text):
                yield {"type": "response.output_text.delta", **part, "delta": piece, "logprobs": []}
            yield {"type": "response.output_text.done", **part, "text": said.text, "logprobs": []}
        else:
            for piece in pieces(item["arguments"]):
                yield {"type": "response.function_call_arguments.delta", **at, "delta": piece}
            yield {"type": "response.function_call_arguments.done", **at, "arguments": item["arguments"]}
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    yield {"type": f"response.{done['status']}", "response": done}


def parts_gemini(said):
    state = {"thoughtSignature": STATES["gemini"]} if said.thought else {}
    parts = [{"text": said.thought, "thought": True}] if said.thought else []
    if said.text:
        parts.append({"text": said.text, **({} if said.calls else state)})
    for number, (_, name, given) in enumerate(said.calls):
        parts.append({"functionCall": {"name": name, "args": json.loads(given)}, **({} if number else state)})
    return parts


def whole_gemini(said, finish):
    content = {"role": "model", "parts": parts_gemini(said)}
    return {
        "candidates": [{"content": content, "finishReason": finish, "index": 0}], "usageMetadata": USAGE["gemini"],
        "modelVersion": "gemini-2.5-flash", "responseId": "r1",
    }  # fmt: skip


def events_gemini(said, finish):
    facts = {"modelVersion": "gemini-2.5-flash", "responseId": "r1"}

    def response(part, **more):
        return {"candidates": [{"content": {"role": "model", "parts": [part]}, "index": 0, **more}], **facts}

    for part in parts_gemini(said):
        state = {name: value for name, value in part.items() if name == "thoughtSignature"}
        if "text" not in part:
            yield response(part)
            continue
        *first, last = pieces(part["text"])
        thought = {"thought": True} if part.get("thought") else {}
        for piece in first:
            yield response({"text": piece, **thought})
        yield response({"text": last, **thought, **state})
    yield {**response({"text": ""}, finishReason=finish), "usageMetadata": USAGE["gemini"]}


def blocks_anthropic(said):
    blocks = []
    if said.thought:
        blocks.append({"type": "thinking", "thinking": said.thought, "signature": STATES["anthropic"]})
    if said.text:
        blocks.append({"type": "text", "text": said.text})
    for key, name, given in said.calls:
        blocks.append({"type": "tool_use", "id": key, "name": name, "input": json.loads(given)})
    return blocks


def whole_anthropic(said, finish):
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5",
        "content": blocks_anthropic(said), "stop_reason": finish, "stop_sequence": None, "usage": USAGE["anthropic"],
    }  # fmt: skip


def events_anthropic(said, finish):
    message = {**whole_anthropic(said, None), "content": [], "usage": {**USAGE["anthropic"], "output_tokens": 1}}
    yield {"type": "message_start", "message": message}
    yield {"type": "ping"}
    for index, block in enumerate(blocks_anthropic(said)):
        if block["type"] == "thinking":
            start = {"type": "thinking", "thinking": "", "signature": ""}
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(said.thought)]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        elif block["type"] == "text":
            start = {"type": "text", "text": ""}
            deltas = [{"type": "text_delta", "text": piece} for piece in pieces(said.text)]
        else:
            start = {**block, "input": {}}
            given = next(given for key, _, given in said.calls if key == block["id"])
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in ["", *pieces(given)]]
        yield {"type": "content_block_start", "index": index, "content_block": start}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    delta = {"stop_reason": finish, "stop_sequence": None}
    yield {"type": "message_delta", "delta": delta, "usage": USAGE["anthropic"]}
    yield {"type": "message_stop"}


def events_invoke(said, finish):
    for event in events_anthropic(said, finish):
        yield {"chunk": {"bytes": base64.b64encode(json.dumps(event).encode()).decode()}}


def whole_converse(said, finish):
    content = []
    if said.thought:
        shown = {"text": said.thought, "signature": STATES["converse"]}
        content.append({"reasoningContent": {"reasoningText": shown}})
    if said.text:
        content.append({"text": said.text})
    for key, name, given in said.calls:
        content.append({"toolUse": {"toolUseId": key, "name": name, "input": json.loads(given)}})
    return {
        "output": {"message": {"role": "assistant", "content": content}}, "stopReason": finish,
        "usage": USAGE["converse"], "metrics": {"latencyMs": 1},
    }  # fmt: skip


def events_converse(said, finish):
    yield {"messageStart": {"role": "assistant"}}
    index = 0

    def delta(value):
        return {"contentBlockDelta": {"contentBlockIndex": index, "delta": value}}

    if said.thought:
        for piece in pieces(said.thought):
            yield delta({"reasoningContent": {"text": piece}})
        yield delta({"reasoningContent": {"signature": STATES["converse"]}})
        yield {"contentBlockStop": {"contentBlockIndex": index}}
        index += 1
    if said.text:
        for piece in pieces(said.text):
            yield delta({"text": piece})
        yield {"contentBlockStop": {"contentBlockIndex": index}}
        index += 1
    for key, name, given in said.calls:
        start = {"toolUse": {"toolUseId": key, "name": name}}
        yield {"contentBlockStart": {"contentBlockIndex": index, "start": start}}
        for piece in pieces(given):
            yield delta({"toolUse": {"input": piece}})
        yield {"contentBlockStop": {"contentBlockIndex": index}}
        index += 1
    yield {"messageStop": {"stopReason": finish}}
    yield {"metadata": {"usage": USAGE["converse"], "metrics": {"latencyMs": 1}}}


WHOLE = {
    "openai.chat": whole_chat, "openai.responses": whole_responses, "gemini": whole_gemini,
    "anthropic": whole_anthropic, "invoke": whole_anthropic, "converse": whole_converse,
}  # fmt: skip
EVENTS = {
    "openai.chat": events_chat, "openai.responses": events_responses, "gemini": events_gemini,
    "anthropic": events_anthropic, "invoke": events_invoke, "converse": events_converse,
}  # fmt: skip


def seen(form, body):
    """Return (finish, text, thought, calls, usage) of a response in the format of a client.

    Calls are (id, name, arguments); usage is (input, cached, output, reasoning), where None is not said.
    """
    return SEEN[form](body)


def seen_chat(body):
    (choice,) = body["choices"]
    message, usage = choice["message"], body["usage"]
    calls = [
        (call["id"], call["function"]["name"], json.loads(call["function"]["arguments"]))
        for call in message.get("tool_calls", ())
    ]
    cached = usage.get("prompt_tokens_details", {}).get("cached_tokens")
    reasoning = usage.get("completion_tokens_details", {}).get("reasoning_tokens")
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    counts = (usage["prompt_tokens"], cached, usage["completion_tokens"], reasoning)
    return choice["finish_reason"], message["content"], message.get("reasoning_content"), calls, counts


def seen_responses(body):
    items, usage = body["output"], body["usage"]
    reason = body["incomplete_details"]["reason"] if body["status"] == "incomplete" else body["status"]
    texts = [part["text"] for item in items if item["type"] == "message" for part in item["content"]]
    thoughts = [part["text"] for item in items if item["type"] == "reasoning" for part in item["summary"]]
    calls = [
        (item["call_id"], item["name"], json.loads(item["arguments"]))
        for item in items
        if item["type"] == "function_call"
    ]
    counts = (
        usage["input_tokens"], usage["input_tokens_details"]["cached_tokens"], usage["output_tokens"],
        usage["output_tokens_details"]["reasoning_tokens"] or None,
    )  # fmt: skip
    return reason, "".join(texts) or None, "".join(thoughts) or None, calls, counts


def seen_gemini(body):
    (candidate,) = body["candidates"]
    parts, usage = candidate["content"]["parts"], body["usageMetadata"]
    texts = [part["text"] for part in parts if "text" in part and not part.get("thought")]
    thoughts = [part["text"] for part in parts if part.get("thought")]
    calls = [
        (part["functionCall"].get("id"), part["functionCall"]["name"], part["functionCall"]["args"])
        for part in parts
        if "functionCall" in part
    ]
    thought = usage.get("thoughtsTokenCount")
    assert usage["totalTokenCount"] == usage["promptTokenCount"] + usage["candidatesTokenCount"] + (thought or 0)
    output = usage["candidatesTokenCount"] + (thought or 0)
    counts = (usage["promptTokenCount"], usage.get("cachedContentTokenCount"), output, thought)
    return candidate["finishReason"], "".join(texts) or None, "".join(thoughts) or None, calls, counts


def seen_anthropic(body):
    blocks, usage = body["content"], body["usage"]
    texts = [block["text"] for block in blocks if block["type"] == "text"]
    thoughts = [block["thinking"] for block in blocks if block["type"] == "thinking"]
    calls = [(block["id"], block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"]
    cached = usage.get("cache_read_input_tokens")
    whole_input = usage["input_tokens"] + (cached or 0) + (usage.get("cache_creation_input_tokens") or 0)
    reasoning = (usage.get("output_tokens_details") or {}).get("thinking_tokens")
    counts = (whole_input, cached, usage["output_tokens"], reasoning)
    return body["stop_reason"], "".join(texts) or None, "".join(thoughts) or None, calls, counts


def seen_converse(body):
    blocks, usage = body["output"]["message"]["content"], body["usage"]
    texts = [block["text"] for block in blocks if "text" in block]
    # A state without a text stands in redactedContent.
    shown = [block["reasoningContent"].get("reasoningText") for block in blocks if "reasoningContent" in block]
    thoughts = [one["text"] for one in shown if one]
    calls = [
        (block["toolUse"]["toolUseId"], block["toolUse"]["name"], block["toolUse"]["input"])
        for block in blocks
        if "toolUse" in block
    ]
    cached = usage.get("cacheReadInputTokens")
    whole_input = usage["inputTokens"] + (cached or 0) + (usage.get("cacheWriteInputTokens") or 0)
    assert usage["totalTokens"] == whole_input + usage["outputTokens"]
    return body["stopReason"], "".join(texts) or None, "".join(thoughts) or None, calls, (
        whole_input, cached, usage["outputTokens"], None,
    )  # fmt: skip


SEEN = {
    "openai.chat": seen_chat, "openai.responses": seen_responses, "gemini": seen_gemini,
    "anthropic": seen_anthropic, "invoke": seen_anthropic, "converse": seen_converse,
}  # fmt: skip


def error(form, status):
    """Return the body of an error of an upstream."""
    sentence = "It went wrong there."
    match form:
        case "gemini":
            return {"error": {"code": status, "message": sentence, "status": GEMINI_STATUS.get(status, "INTERNAL")}}
        case "anthropic":
            kind = ANTHROPIC_ERROR.get(status, "api_error")
            return {"type": "error", "error": {"type": kind, "message": sentence}, "request_id": "req_1"}
        case "converse" | "invoke":
            return {"message": sentence}
    return {
        "error": {"message": sentence, "type": OPENAI_ERROR.get(status, "server_error"), "param": None, "code": None}
    }


OPENAI_ERROR = {400: "invalid_request_error", 403: "permission_error", 404: "invalid_request_error",
                429: "rate_limit_error", 500: "server_error", 503: "server_error"}  # fmt: skip
GEMINI_STATUS = {400: "INVALID_ARGUMENT", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED",
                 500: "INTERNAL", 503: "UNAVAILABLE"}  # fmt: skip
ANTHROPIC_ERROR = {400: "invalid_request_error", 403: "permission_error", 404: "not_found_error",
                   429: "rate_limit_error", 500: "api_error", 503: "overloaded_error"}  # fmt: skip
AWS_ERROR = {400: "ValidationException", 403: "AccessDeniedException", 404: "ResourceNotFoundException",
             429: "ThrottlingException", 500: "InternalServerException",
             503: "ServiceUnavailableException"}  # fmt: skip
STATUSES = (400, 403, 404, 429, 500, 503)


def seen_error(form, status, headers, body):
    """Check that an error has the shape of a client's format and the word for a status. Return its sentence."""
    match form:
        case "gemini":
            assert (body["error"]["code"], body["error"]["status"]) == (status, GEMINI_STATUS[status])
        case "anthropic":
            assert body["type"] == "error"
            # Anthropic says 529 where others say 503.
            assert body["error"]["type"] == ANTHROPIC_ERROR[503 if status == 529 else status]
        case "converse" | "invoke":
            assert headers["x-amzn-errortype"].partition(":")[0] == AWS_ERROR[status]
            return body["message"]
        case _:
            assert body["error"]["type"] == OPENAI_ERROR[status]
    return body["error"]["message"]
