"""Writes the events of a provider's stream as its bytes, and folds a client's stream into one response."""

import base64
import json

from botocore.eventstream import EventStreamBuffer

from tests.features.translation.cases import dumped
from wirekey.core.metering.eventstream import write_frame


def upstream_bytes(form, events, options=None):
    """Return the bytes of a stream as a provider of a format sends it."""
    options = options or {}
    if form in {"converse", "invoke"}:
        return b"".join(map(converse_frame, events))
    line = "\r\n" if options.get("crlf") else "\n"
    space = "" if options.get("nospace") else " "
    out = []
    for event in events:
        text = event if isinstance(event, str) else dumped(event)
        if options.get("comments"):
            out.append(f": keep-alive{line}{line}")
        named = isinstance(event, dict) and form in {"anthropic", "openai.responses"} and "type" in event
        name = f"event:{space}{event['type']}{line}" if named else ""
        out.append(f"{name}data:{space}{text}{line}{line}")
    return "".join(out).encode()


def converse_frame(event):
    ((name, payload),) = event.items()
    if name == "exception":
        kind, body = payload
        headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
        return write_frame(headers, dumped(body).encode())
    headers = {":event-type": name, ":content-type": "application/json", ":message-type": "event"}
    return write_frame(headers, dumped(payload).encode())


def cut(data, size):
    """Return the pieces of some bytes."""
    return [data[at : at + size] for at in range(0, len(data), size)] if size else [data]


def sse_events(data):
    """Return (event, data) of each server-sent event, and check that each ends with an empty line."""
    text = data.decode().replace("\r\n", "\n")
    assert text.endswith("\n\n"), text[-50:]
    found = []
    for block in text.split("\n\n"):
        fields = [line.partition(":")[::2] for line in block.split("\n") if line]
        lines = [value.removeprefix(" ") for name, value in fields if name == "data"]
        if lines:
            found.append((dict(fields).get("event", "").strip() or None, "\n".join(lines)))
    return found


def fold(form, data):
    """Return (response, number of each event) of a client's stream, and check the grammar of its format."""
    return FOLDS[form](data)


def fold_chat(data):
    found, calls, done, counts = {}, {}, False, {}
    message = {"role": None, "content": None}
    finish = None
    events = sse_events(data)
    for number, (_, text) in enumerate(events):
        assert not done, "nothing comes after [DONE]"
        if text == "[DONE]":
            done = True
            continue
        chunk = json.loads(text)
        if "error" in chunk:
            assert number == len(events) - 1
            return {**found, "error": chunk["error"], "done": False}, counts
        for name in ("id", "model", "created"):
            assert found.setdefault(name, chunk[name]) == chunk[name]
        assert chunk["object"] == "chat.completion.chunk"
        for choice in chunk["choices"]:
            assert finish is None, "no choice comes after the reason"
            delta = choice["delta"]
            if "role" in delta:
                assert message["role"] is None, "the role comes once"
                message["role"] = delta["role"]
            for name in ("content", "reasoning_content"):
                if delta.get(name) is not None:
                    message[name] = (message.get(name) or "") + delta[name]
            for call in delta.get("tool_calls", []):
                if call["index"] not in calls:
                    assert call["index"] == len(calls)
                    calls[call["index"]] = {"id": call["id"], "type": call["type"], "function": dict(call["function"])}
                else:
                    assert "id" not in call
                    calls[call["index"]]["function"]["arguments"] += call["function"]["arguments"]
            finish = choice["finish_reason"]
        if chunk.get("usage"):
            found["usage"] = chunk["usage"]
    if calls:
        message["tool_calls"] = list(calls.values())
        message["content"] = message["content"] or None
    assert done
    assert finish
    return {**found, "choices": [{"index": 0, "message": message, "finish_reason": finish}], "done": True}, counts


def fold_responses(data):
    counts, response, open_items, items = {}, None, {}, []
    for number, (name, text) in enumerate(sse_events(data)):
        event = json.loads(text)
        assert event["type"] == name
        assert event["sequence_number"] == number
        counts[name] = counts.get(name, 0) + 1
        if name == "response.output_item.added":
            assert event["output_index"] == len(items)
            open_items[event["output_index"]] = event["item"]["id"]
            items.append("")
        elif name == "response.output_item.done":
            assert open_items.pop(event["output_index"]) == event["item"]["id"]
        elif name.endswith(".delta"):
            assert open_items[event["output_index"]] == event["item_id"]
            items[event["output_index"]] += event["delta"]
        elif name in {"response.completed", "response.incomplete", "response.failed"}:
            response = event["response"]
    assert not open_items or response["status"] == "failed"
    for item, text in zip(response["output"], items, strict=False):
        if item["type"] == "message":
            assert item["content"][0]["text"] == text
        if item["type"] == "function_call":
            assert item["arguments"] == text or text == ""
    return response, counts


def fold_gemini(data):
    text = data.decode()
    if text.startswith("["):
        chunks, framing = json.loads(text), "array"
    else:
        assert text.endswith("\r\n\r\n")
        chunks, framing = [json.loads(one) for _, one in sse_events(data)], "sse"
    found, parts, finish = {"framing": framing}, [], None
    for chunk in chunks:
        if "error" in chunk:
            return {**found, "error": chunk["error"], "done": False}, {}
        for candidate in chunk["candidates"]:
            for part in candidate["content"]["parts"]:
                if part == {"text": ""}:
                    continue
                same = (
                    parts and "text" in part and "text" in parts[-1] and parts[-1].get("thought") == part.get("thought")
                )
                if same and "thoughtSignature" not in part:
                    parts[-1]["text"] += part["text"]
                else:
                    parts.append(dict(part))
            finish = candidate.get("finishReason", finish)
        found |= {name: chunk[name] for name in ("usageMetadata", "modelVersion", "responseId") if name in chunk}
    return {**found, "candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": finish}]}, {}


def fold_anthropic(data):
    return fold_messages([(name, json.loads(text)) for name, text in sse_events(data)])


def fold_messages(events):
    message, open_block, counts = None, None, {}
    for name, event in events:
        assert name == event["type"]
        counts[name] = counts.get(name, 0) + 1
        match name:
            case "message_start":
                message = event["message"]
            case "content_block_start":
                assert open_block is None
                assert event["index"] == len(message["content"])
                open_block = dict(event["content_block"])
                if open_block["type"] == "tool_use":
                    assert open_block["input"] == {}
                    open_block["input"] = ""
            case "content_block_delta":
                assert event["index"] == len(message["content"])
                delta = event["delta"]
                kind = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}
                if delta["type"] == "input_json_delta":
                    open_block["input"] += delta["partial_json"]
                else:
                    open_block[kind[delta["type"]]] += delta[kind[delta["type"]]]
            case "content_block_stop":
                if open_block["type"] == "tool_use":
                    open_block["input"] = json.loads(open_block["input"] or "{}")
                message["content"].append(open_block)
                open_block = None
            case "message_delta":
                message |= event["delta"]
                message["usage"] |= event["usage"]
            case "error":
                return {**(message or {}), "error": event["error"], "done": False}, counts
    assert open_block is None
    assert counts["message_stop"] == 1
    return message, counts


def frames(data):
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    return [(message.headers, message.payload) for message in buffer]


def fold_converse(data):
    content, open_block, response = [], None, {}
    for headers, payload in frames(data):
        event = json.loads(payload)
        if headers[":message-type"] == "exception":
            return {**response, "error": {"type": headers[":exception-type"], **event}, "done": False}, {}
        match headers[":event-type"]:
            case "contentBlockStart":
                assert event["contentBlockIndex"] == len(content)
                open_block = {"toolUse": {**event["start"]["toolUse"], "input": ""}}
            case "contentBlockDelta":
                assert event["contentBlockIndex"] == len(content)
                delta = event["delta"]
                if "toolUse" in delta:
                    open_block["toolUse"]["input"] += delta["toolUse"]["input"]
                elif "text" in delta:
                    open_block = open_block or {"text": ""}
                    open_block["text"] += delta["text"]
                else:
                    reasoning = delta["reasoningContent"]
                    if "redactedContent" in reasoning:
                        open_block = {"reasoningContent": reasoning}
                    else:
                        open_block = open_block or {"reasoningContent": {"reasoningText": {"text": ""}}}
                        shown = open_block["reasoningContent"]["reasoningText"]
                        for name, value in reasoning.items():
                            shown[name] = shown.get(name, "") + value
            case "contentBlockStop":
                if "toolUse" in open_block:
                    open_block["toolUse"]["input"] = json.loads(open_block["toolUse"]["input"] or "{}")
                content.append(open_block)
                open_block = None
            case "messageStop":
                response["stopReason"] = event["stopReason"]
            case "metadata":
                response |= event
    assert open_block is None
    assert "usage" in response
    return {"output": {"message": {"role": "assistant", "content": content}}, **response}, {}


def fold_invoke(data):
    import base64

    events = []
    for headers, payload in frames(data):
        if headers[":message-type"] == "exception":
            return {"error": json.loads(payload), "done": False}, {}
        event = json.loads(base64.b64decode(json.loads(payload)["bytes"]))
        events.append((event["type"], event))
    return fold_messages(events)


FOLDS = {
    "openai.chat": fold_chat,
    "openai.responses": fold_responses,
    "gemini": fold_gemini,
    "anthropic": fold_anthropic,
    "converse": fold_converse,
    "invoke": fold_invoke,
}


def client_events(form, data):
    """Return the events of a client's stream as its SDK reads them. Errors end the list, as SDKs raise them."""
    if form == "converse":
        return [
            (headers[":event-type"], json.loads(payload))
            for headers, payload in frames(data)
            if headers[":message-type"] == "event"
        ]
    if form == "invoke":
        chunks = [payload for headers, payload in frames(data) if headers[":message-type"] == "event"]
        return [json.loads(base64.b64decode(json.loads(payload)["bytes"])) for payload in chunks]
    if form == "gemini" and data.startswith(b"["):
        found = json.loads(data)
    else:
        found = [json.loads(text) for _, text in sse_events(data) if text != "[DONE]"]
    return [
        event
        for event in found
        if not (event.get("type") == "error" or ("error" in event and form != "openai.responses"))
    ]
