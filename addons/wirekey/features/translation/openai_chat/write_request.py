"""Writes a request of OpenAI's Chat Completions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.features.translation import neutral as n
from wirekey.features.translation.identifiers import call_id
from wirekey.features.translation.losses import cannot_translate
from wirekey.features.translation.members import object_text, raw_list
from wirekey.features.translation.options import fit_options
from wirekey.features.translation.schemas import tool_schema
from wirekey.features.translation.thinking import openai_effort
from wirekey.features.translation.turns import result_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey.features.translation.context import Context

type Json = dict[str, object]

_AUDIO = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3"}


def write_request(conversation: n.Conversation, context: Context) -> Json:
    """Return the members of the body. Raises Refusal for what the upstream cannot be asked."""
    options = fit_options(conversation, context.fitting)
    body: Json = {"model": context.model, "messages": raw_list(_messages(conversation, context))}
    if "max_tokens" in options:
        body["max_tokens" if context.older_limit else "max_completion_tokens"] = options.pop("max_tokens")
    if conversation.tools:
        body["tools"] = [_tool(tool, context) for tool in conversation.tools]
        if conversation.choice:
            body["tool_choice"] = _choice(conversation.choice, context)
        if conversation.parallel is not None:
            body["parallel_tool_calls"] = conversation.parallel
    if conversation.thinking and context.traits.thinking == "effort":
        effort = openai_effort(conversation.thinking, context.traits, lambda: context.adjust("reasoning"))
        if effort:
            body["reasoning_effort"] = effort
    elif conversation.thinking:
        context.drop("reasoning")
    if conversation.output:
        body["response_format"] = _output(conversation.output, context)
    body.update(options)
    if conversation.stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    return body


def _messages(conversation: n.Conversation, context: Context) -> Iterator[Json]:
    if system := [text for text in conversation.system if text.text]:
        reasons = context.traits.issuer is n.ModelMaker.OPENAI and context.traits.thinking == "effort"
        yield {"role": "developer" if reasons else "system", "content": _joined(system, context)}
    for turn in conversation.turns:
        yield from _assistant(turn, context) if turn.role == "assistant" else _user(turn, context)


def _joined(texts: list[n.Text], context: Context) -> object:
    if len(texts) == 1 and not texts[0].cache:
        return texts[0].text
    return [_part(text, context) for text in texts]


def _assistant(turn: n.Turn, context: Context) -> list[Json]:
    text = "".join(block.text for block in turn.blocks if isinstance(block, n.Text))
    calls = [_call(block, context) for block in turn.blocks if isinstance(block, n.ToolCall)]
    for block in turn.blocks:
        if isinstance(block, n.Text):
            context.drop_mark(block.cache)
        elif not isinstance(block, n.ToolCall | n.Reasoning):
            raise cannot_translate(context.name("messages"), "the assistant's media cannot be sent to this upstream")
    if not text and not calls:
        return []
    found: Json = {"role": "assistant", "content": text or None}
    if calls:
        found["tool_calls"] = calls
    return [found]


def _call(call: n.ToolCall, context: Context) -> Json:
    arguments = object_text(call.arguments)
    context.drop_mark(call.cache)
    return {
        "id": call_id(call.id, context.upstream),
        "type": "function",
        "function": {
            "name": context.tool_names.outgoing(call.name),
            "arguments": call.arguments if arguments is None else arguments,
        },
    }


def _user(turn: n.Turn, context: Context) -> list[Json]:
    found: list[Json] = []
    parts: list[Json] = []
    from_results: list[Json] = []
    for block in turn.blocks:
        if isinstance(block, n.ToolResult):
            context.drop_marks_of(block)
            if block.failed:
                context.drop("failed")
            found.append(
                {
                    "role": "tool",
                    "tool_call_id": call_id(block.call, context.upstream),
                    "content": result_text(block),
                }
            )
            media = [part for part in block.content if not isinstance(part, n.Text)]
            if media:
                context.adjust("messages")
            from_results += [_part(part, context) for part in media]
        elif not (isinstance(block, n.Text) and not block.text):
            parts.append(_part(block, context))
    parts = from_results + parts
    if parts:
        plain = len(parts) == 1 and parts[0].keys() == {"type", "text"}
        found.append({"role": "user", "content": parts[0]["text"] if plain else parts})
    return found


def _part(block: n.Block, context: Context) -> Json:
    found: Json
    match block:
        case n.Text():
            found = {"type": "text", "text": block.text}
            if block.cache and context.client.cache_breakpoints and context.cache_mark(block.cache):
                found["prompt_cache_breakpoint"] = {"mode": "explicit"}
            elif block.cache:
                context.drop("cache")
            return found
        case n.Media(kind="image"):
            url = block.url or f"data:{block.media_type};base64,{block.data}"
            found = {
                "type": "image_url",
                "image_url": {"url": url, **({"detail": block.detail} if block.detail else {})},
            }
        case n.Media(kind="audio") if block.data and block.media_type in _AUDIO:
            found = {"type": "input_audio", "input_audio": {"data": block.data, "format": _AUDIO[block.media_type]}}
        case n.Document() if block.text is not None:
            found = {"type": "text", "text": block.text}
        case n.Document() if block.data is not None:
            url = f"data:{block.media_type};base64,{block.data}"
            found = {"type": "file", "file": {"filename": block.name or "document", "file_data": url}}
        case _:
            raise cannot_translate(context.name("messages"), "Chat Completions has no part for this medium")
    if block.cache:
        context.drop("cache")
    if isinstance(block, n.Document) and (block.citations is not None or block.context):
        context.drop("messages.content.citations")
    return found


def _tool(tool: n.Tool, context: Context) -> Json:
    function: Json = {"name": context.tool_names.outgoing(tool.name)}
    if tool.description:
        function["description"] = tool.description
    if (schema := tool_schema(tool.schema, None)) is not None:
        function["parameters"] = schema
    if tool.strict is not None:
        function["strict"] = tool.strict
    if tool.cache:
        context.drop("cache")
    return {"type": "function", "function": function}


def _choice(choice: n.ToolChoice, context: Context) -> object:
    names = [{"type": "function", "function": {"name": context.tool_names.outgoing(name)}} for name in choice.names]
    if choice.mode == "one":
        return names[0]
    if names:
        return {"type": "allowed_tools", "allowed_tools": {"mode": choice.mode, "tools": names}}
    return choice.mode


def _output(output: n.OutputFormat, context: Context) -> Json:
    if output.kind == "json":
        return {"type": "json_object"}
    if output.kind == "enum":
        context.refuse("output", "the upstream cannot be held to an enumeration")
        return {"type": "text"}
    schema: Json = {"name": output.name or "output", "schema": output.schema}
    if output.description:
        schema["description"] = output.description
    if output.strict is not None:
        schema["strict"] = output.strict
    return {"type": "json_schema", "json_schema": schema}
