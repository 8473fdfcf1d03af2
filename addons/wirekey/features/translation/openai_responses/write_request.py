"""Writes a request of OpenAI's Responses."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from wirekey.features.translation import neutral as n
from wirekey.features.translation.identifiers import call_id
from wirekey.features.translation.losses import cannot_translate
from wirekey.features.translation.media import base64_of_text
from wirekey.features.translation.members import object_text, raw_list
from wirekey.features.translation.options import fit_options
from wirekey.features.translation.schemas import EMPTY_OBJECT, tool_schema
from wirekey.features.translation.thinking import openai_effort
from wirekey.features.translation.turns import result_text

if TYPE_CHECKING:
    from wirekey.features.translation.context import Context

type Json = dict[str, object]


def write_request(conversation: n.Conversation, context: Context) -> Json:
    """Return the members of the body. Raises Refusal for what the upstream cannot be asked."""
    options = fit_options(conversation, context.fitting)
    body: Json = {"model": context.model}
    system = [text for text in conversation.system if text.text]
    first: list[Json] = []
    if len(system) == 1 and not system[0].cache:
        body["instructions"] = system[0].text
    elif system:
        first.append({"role": "developer", "content": [_part(text, context) for text in system]})
    turns = (
        _assistant(turn, context) if turn.role == "assistant" else _user(turn, context) for turn in conversation.turns
    )
    body["input"] = raw_list(chain(first, chain.from_iterable(turns)))
    if "max_tokens" in options:
        body["max_output_tokens"] = options.pop("max_tokens")
    if conversation.tools:
        body["tools"] = [_tool(tool, context) for tool in conversation.tools]
        if conversation.choice:
            body["tool_choice"] = _choice(conversation.choice, context)
        if conversation.parallel is not None:
            body["parallel_tool_calls"] = conversation.parallel
    include = _reasoning(conversation, body, context)
    if options.pop("logprobs", None) is not None:
        include.append("message.output_text.logprobs")
    text: Json = {"verbosity": options.pop("verbosity")} if "verbosity" in options else {}
    if conversation.output:
        text["format"] = _output(conversation.output, context)
    if text:
        body["text"] = text
    if include:
        body["include"] = include
    body.update(options)
    body.setdefault("store", False)
    if conversation.stream:
        body["stream"] = True
    return body


def _reasoning(conversation: n.Conversation, body: Json, context: Context) -> list[str]:
    if context.traits.thinking != "effort":
        if conversation.thinking:
            context.drop("reasoning")
        return []
    if conversation.thinking:
        found: Json = {}
        if effort := openai_effort(conversation.thinking, context.traits, lambda: context.adjust("reasoning")):
            found["effort"] = effort
        if conversation.thinking.show:
            found["summary"] = "auto"
        if found:
            body["reasoning"] = found
    return ["reasoning.encrypted_content"]


def _assistant(turn: n.Turn, context: Context) -> list[Json]:
    found: list[Json] = []
    for block in turn.blocks:
        match block:
            case n.Text():
                context.drop_mark(block.cache)
                if block.text:
                    found.append({"role": "assistant", "content": [{"type": "output_text", "text": block.text}]})
            case n.ToolCall():
                arguments = object_text(block.arguments)
                context.drop_mark(block.cache)
                found.append(
                    {
                        "type": "function_call",
                        "call_id": call_id(block.id, context.upstream),
                        "name": context.tool_names.outgoing(block.name),
                        "arguments": block.arguments if arguments is None else arguments,
                    }
                )
            case n.Reasoning(issuer=n.ModelMaker.OPENAI, state=str()):
                summary = [{"type": "summary_text", "text": block.text}] if block.text else []
                item: Json = {"id": block.item} if block.item else {}
                item |= {"type": "reasoning", "summary": summary, "encrypted_content": block.state}
                found.append(item)
            case n.Reasoning():
                pass
            case _:
                raise cannot_translate(
                    context.name("messages"), "the assistant's media cannot be sent to this upstream"
                )
    return found


def _user(turn: n.Turn, context: Context) -> list[Json]:
    found: list[Json] = []
    parts: list[Json] = []
    for block in turn.blocks:
        if isinstance(block, n.ToolResult):
            context.drop_marks_of(block)
            if block.failed:
                context.drop("failed")
            media = any(not isinstance(part, n.Text) for part in block.content)
            output: object = [_part(part, context) for part in block.content] if media else result_text(block)
            call = call_id(block.call, context.upstream)
            found.append({"type": "function_call_output", "call_id": call, "output": output})
        elif not (isinstance(block, n.Text) and not block.text):
            parts.append(_part(block, context))
    if parts:
        found.append({"role": "user", "content": parts})
    return found


def _part(block: n.Block, context: Context) -> Json:
    found: Json
    match block:
        case n.Text():
            found = {"type": "input_text", "text": block.text}
            if block.cache and context.client.cache_breakpoints and context.cache_mark(block.cache):
                found["prompt_cache_breakpoint"] = {"mode": "explicit"}
            elif block.cache:
                context.drop("cache")
            return found
        case n.Media(kind="image"):
            url = block.url or f"data:{block.media_type};base64,{block.data}"
            found = {"type": "input_image", "image_url": url, "detail": block.detail or "auto"}
        case n.Document():
            found = {"type": "input_file", "filename": block.name or "document"}
            if block.url is not None:
                found["file_url"] = block.url
            else:
                data = block.data if block.text is None else base64_of_text(block.text)
                found["file_data"] = f"data:{block.media_type};base64,{data}"
            if block.citations is not None or block.context:
                context.drop("messages.content.citations")
        case _:
            raise cannot_translate(context.name("messages"), "Responses has no part for this medium")
    if block.cache:
        context.drop("cache")
    return found


def _tool(tool: n.Tool, context: Context) -> Json:
    found: Json = {"type": "function", "name": context.tool_names.outgoing(tool.name)}
    if tool.description:
        found["description"] = tool.description
    found["parameters"] = tool_schema(tool.schema, EMPTY_OBJECT)
    found["strict"] = bool(tool.strict)  # absent would mean true
    if tool.cache:
        context.drop("cache")
    return found


def _choice(choice: n.ToolChoice, context: Context) -> object:
    names = [{"type": "function", "name": context.tool_names.outgoing(name)} for name in choice.names]
    if choice.mode == "one":
        return names[0]
    return {"type": "allowed_tools", "mode": choice.mode, "tools": names} if names else choice.mode


def _output(output: n.OutputFormat, context: Context) -> Json:
    if output.kind == "json":
        return {"type": "json_object"}
    if output.kind == "enum":
        context.refuse("output", "the upstream cannot be held to an enumeration")
        return {"type": "text"}
    found: Json = {"type": "json_schema", "name": output.name or "output", "schema": output.schema}
    if output.description:
        found["description"] = output.description
    if output.strict is not None:
        found["strict"] = output.strict
    return found
