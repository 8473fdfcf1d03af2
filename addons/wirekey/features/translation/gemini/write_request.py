"""Writes a request of Gemini's generateContent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.features.translation import neutral as n
from wirekey.features.translation.losses import cannot_translate
from wirekey.features.translation.media import base64_of_text, by_ending
from wirekey.features.translation.members import raw_list
from wirekey.features.translation.options import fit_options
from wirekey.features.translation.schemas import for_gemini, tool_schema
from wirekey.features.translation.state import SKIP_SIGNATURE
from wirekey.features.translation.thinking import gemini_thinking
from wirekey.features.translation.turns import arguments_object, call_names, ordered, result_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wirekey.features.translation.context import Context

type Json = dict[str, object]

_GENERATION = {
    "max_tokens": "maxOutputTokens",
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "n": "candidateCount",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "logprobs": "responseLogprobs",
    "top_logprobs": "logprobs",
    "stop": "stopSequences",
}
_SETTINGS = (
    ("service_tier", "serviceTier"), ("safety_settings", "safetySettings"), ("cached_content", "cachedContent"),
    ("gemini_safety_settings", "safetySettings"), ("gemini_cached_content", "cachedContent"),
)  # fmt: skip
"""Options that are members of the request itself. The later one of two counts."""
_MODES = {"auto": "AUTO", "required": "ANY", "none": "NONE", "one": "ANY"}


def write_request(conversation: n.Conversation, context: Context) -> Json:
    """Return the members of the body. Raises Refusal for what Gemini cannot be asked."""
    options = fit_options(conversation, context.fitting)
    turns = ordered(conversation, context.upstream, context.traits.issuer, context.name("messages"))
    body: Json = {}
    if system := [{"text": text.text} for text in conversation.system if text.text]:
        body["systemInstruction"] = {"parts": system}
        _drop_marks(conversation.system, context)
    names = call_names(turns)
    body["contents"] = raw_list(content for turn in turns for content in _contents(turn, names, context))
    if conversation.tools:
        body["tools"] = [{"functionDeclarations": [_tool(tool, context) for tool in conversation.tools]}]
        if conversation.choice:
            body["toolConfig"] = {"functionCallingConfig": _choice(conversation.choice, context)}
        if conversation.parallel is False:
            context.drop("parallel")
    config: Json = {name: options[option] for option, name in _GENERATION.items() if option in options}
    if conversation.thinking:
        if context.traits.thinking == "none":
            context.drop("reasoning")
        elif thinking := gemini_thinking(conversation.thinking, context.traits, lambda: context.adjust("reasoning")):
            config["thinkingConfig"] = thinking
    _output(conversation, config, context)
    if config:
        body["generationConfig"] = config
    for option, name in _SETTINGS:
        if option in options:
            body[name] = options[option]
    return body


def _drop_marks(blocks: Iterable[n.Text | n.Tool], context: Context) -> None:
    if any(block.cache for block in blocks):
        context.drop("cache")


def _contents(turn: n.Turn, names: dict[str, str], context: Context) -> list[Json]:
    if turn.role == "assistant":
        return [{"role": "model", "parts": _model_parts(turn, context)}]
    results = [_result(block, names, context) for block in turn.blocks if isinstance(block, n.ToolResult)]
    media: list[Json] = []
    for block in turn.blocks:
        if isinstance(block, n.ToolResult) and not context.traits.signatures:
            media += [_part(part, context) for part in block.content if not isinstance(part, n.Text)]
    parts = [_part(block, context) for block in turn.blocks if not isinstance(block, n.ToolResult)]
    return [{"role": "user", "parts": found} for found in (results, media, parts) if found]


def _model_parts(turn: n.Turn, context: Context) -> list[Json]:
    parts: list[Json] = []
    signature: n.Reasoning | None = None
    first_call = True
    for block in turn.blocks:
        if isinstance(block, n.Reasoning):
            if block.attached:
                if signature is not None and signature.attached == "text":
                    parts.append({"text": "", "thoughtSignature": signature.state})
                signature = block
            else:
                parts.append({"text": block.text or "", "thought": True, "thoughtSignature": block.state})
            continue
        part = _call(block, context) if isinstance(block, n.ToolCall) else _part(block, context)
        if signature is not None and (signature.attached == "call") == isinstance(block, n.ToolCall):
            part["thoughtSignature"] = signature.state
            signature = None
        elif isinstance(block, n.ToolCall) and first_call and context.traits.signatures:
            part["thoughtSignature"] = SKIP_SIGNATURE
        first_call = first_call and not isinstance(block, n.ToolCall)
        parts.append(part)
    if signature is not None and signature.attached == "text":
        parts.append({"text": "", "thoughtSignature": signature.state})
    return parts


def _call(call: n.ToolCall, context: Context) -> Json:
    context.drop_mark(call.cache)
    return {
        "functionCall": {
            "name": context.tool_names.outgoing(call.name),
            "args": arguments_object(call, context.losses, context.name("arguments")),
        }
    }


def _result(result: n.ToolResult, names: dict[str, str], context: Context) -> Json:
    name = context.tool_names.outgoing(names[result.call])
    response: Json = {"name": name, "response": {"error" if result.failed else "output": result_text(result)}}
    media = [part for part in result.content if not isinstance(part, n.Text)]
    if media and context.traits.signatures:
        response["parts"] = [_part(part, context) for part in media]
    context.drop_marks_of(result)
    return {"functionResponse": response}


def _part(block: n.Block, context: Context) -> Json:
    match block:
        case n.Text():
            found: Json = {"text": block.text}
        case n.Media() | n.Document() if block.url is not None:
            kind = block.media_type or by_ending(block.url)
            if not kind:
                raise cannot_translate(context.name("messages"), "the type of the medium does not follow from its URL")
            found = {"fileData": {"mimeType": kind, "fileUri": block.url}}
        case n.Document() if block.text is not None:
            found = {"inlineData": {"mimeType": "text/plain", "data": base64_of_text(block.text)}}
        case n.Document() if block.media_type != "application/pdf" and not block.media_type.startswith("text/"):
            raise cannot_translate(context.name("messages"), "Gemini takes PDF and text documents")
        case n.Media() | n.Document():
            found = {"inlineData": {"mimeType": block.media_type, "data": block.data}}
        case _:
            raise cannot_translate(context.name("messages"), "Gemini has no part for this block")
    if block.cache:
        context.drop("cache")
    if isinstance(block, n.Media) and block.detail:
        context.drop("detail")
    if isinstance(block, n.Document) and (block.citations is not None or block.context):
        context.drop("messages.content.citations")
    return found


def _tool(tool: n.Tool, context: Context) -> Json:
    found: Json = {"name": context.tool_names.outgoing(tool.name)}
    if tool.description:
        found["description"] = tool.description
    if (schema := tool_schema(tool.schema, None)) is not None:
        found["parametersJsonSchema"] = schema
    if tool.strict and not context.client.always_strict:
        context.drop("strict")
    if tool.cache:
        context.drop("cache")
    return found


def _choice(choice: n.ToolChoice, context: Context) -> Json:
    found: Json = {"mode": _MODES[choice.mode]}
    if choice.names:
        if choice.mode == "auto":
            found["mode"] = "VALIDATED"
        found["allowedFunctionNames"] = [context.tool_names.outgoing(name) for name in choice.names]
    return found


def _output(conversation: n.Conversation, config: Json, context: Context) -> None:
    output = conversation.output
    if output is None:
        return
    if output.description:
        context.drop("output_description")
    config["responseMimeType"] = "text/x.enum" if output.kind == "enum" else "application/json"
    if output.schema is not None:
        config["responseJsonSchema"] = for_gemini(output.schema, lambda: context.adjust("output"))
