"""Reads a request of Bedrock's Converse."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from msgspec import Raw
from msgspec.structs import replace

from wirekey.features.translation import neutral as n
from wirekey.features.translation.claude import asked_thinking, redacted_reasoning
from wirekey.features.translation.converse.ordinary import ordinary_turn
from wirekey.features.translation.losses import cannot_translate
from wirekey.features.translation.media import DOCUMENT_FORMATS, standard_base64, text_of_base64
from wirekey.features.translation.members import Members, raw_json
from wirekey.features.translation.own_tools import OwnTools

if TYPE_CHECKING:
    from wirekey.core.body import RequestBody
    from wirekey.features.translation.losses import Losses
    from wirekey.features.translation.state import StateReader

OWN_TOOLS = OwnTools("AWS", (
    "systemTool", "server_tool_use", "guardContent", "searchResult", "nova_grounding", "nova_code_interpreter",
))  # fmt: skip
NAMES = {
    "messages": "messages",
    "max_tokens": "inferenceConfig.maxTokens",
    "temperature": "inferenceConfig.temperature",
    "top_p": "inferenceConfig.topP",
    "top_k": "additionalModelRequestFields.top_k",
    "stop": "inferenceConfig.stopSequences",
    "reasoning": "additionalModelRequestFields.thinking",
    "effort": "outputConfig.effort",
    "output_description": "outputConfig.textFormat.structure.jsonSchema.description",
    "output": "outputConfig.textFormat",
    "choice": "toolConfig.toolChoice",
    "tools": "toolConfig.tools",
    "strict": "toolConfig.tools.toolSpec.strict",
    "cache": "cachePoint",
    "failed": "messages.content.toolResult.status",
    "arguments": "messages.content.toolUse.input",
    "service_tier": "serviceTier",
    "system_order": "system",
    "betas": "additionalModelRequestFields.anthropic_beta",
}
"""The names of neutral members in this format."""

_REFUSED = {
    "guardrailConfig": "a safeguard would be lost",
    "promptVariables": "the prompt is stored at AWS; send its text",
}
_HINTS = ("performanceConfig", "requestMetadata", "additionalModelResponseFieldPaths")
_INFERENCE = {"max_tokens": "maxTokens", "temperature": "temperature", "top_p": "topP"}


def read_request(body: RequestBody, losses: Losses, states: StateReader) -> n.Conversation:
    """Read the body of a request. Raises Refusal, with the path of the member, if it cannot be translated."""
    top = Members.of(body, losses)
    top.ignore("modelId")
    for name, reason in _REFUSED.items():
        if top.has(name):
            losses.refuse(name, reason)
    for name in _HINTS:
        if top.has(name):
            losses.drop(name)
    config = top.members("toolConfig")
    fields = top.members("additionalModelRequestFields")
    options = _options(top)
    output = top.members("outputConfig")
    thinking, own = _fields(fields, output, options, losses)
    conversation = n.Conversation(
        system=_system(top, losses),
        turns=tuple(
            ordinary_turn(raw) or _turn(top.element(raw, "messages", index), losses, states)
            for index, raw in enumerate(top.elements("messages"))
        ),
        tools=_tools(config, losses) if config else (),
        choice=_choice(config) if config else None,
        thinking=thinking,
        claude=own,
        output=_output(output) if output else None,
        options=options,
        betas=tuple(fields.texts("anthropic_beta")) if fields else (),
    )
    top.refuse_unread(losses)
    return conversation


def _options(top: Members) -> dict[str, Raw]:
    found: dict[str, Raw] = {}
    if config := top.members("inferenceConfig"):
        found = {neutral: raw for neutral, name in _INFERENCE.items() if (raw := config.raw(name)) is not None}
        if stops := config.texts("stopSequences"):
            found["stop"] = raw_json(stops)
    if (tier := top.members("serviceTier")) and (kind := tier.raw("type")) is not None:
        found["service_tier"] = kind
    return found


def _fields(
    fields: Members | None, output: Members | None, options: dict[str, Raw], losses: Losses
) -> tuple[n.Thinking | None, n.ClaudeThinking | None]:
    """Read the fields of a model's own that are known: those of Claude and Nova. Others are refused."""
    effort = output.text("effort") if output else None
    if fields is None:
        return asked_thinking(None, effort, losses)
    if (top_k := fields.raw("top_k")) is not None:
        options["top_k"] = top_k
    if (nova := fields.members("inferenceConfig")) and (top_k := nova.raw("topK")) is not None:
        options["top_k"] = top_k
    fields.ignore("anthropic_beta")
    if (config := fields.members("output_config")) is not None:
        effort = effort or config.text("effort")
        config.refuse_unread(losses)
    thinking, own = asked_thinking(fields.members("thinking"), effort, losses)
    if (config := fields.members("reasoningConfig")) is not None:
        config.ignore("type")
        thinking = n.Thinking(config.text("maxReasoningEffort"), show=True)
    fields.refuse_unread(losses)
    return thinking, own


def _system(top: Members, losses: Losses) -> tuple[n.Text, ...]:
    found: list[n.Text] = []
    for block in top.objects("system"):
        if (point := block.members("cachePoint")) is not None:
            if found:
                found[-1] = n.Text(found[-1].text, n.CacheMark(_ttl(point)))
        elif block.has("text"):
            found.append(n.Text(block.text("text") or ""))
        else:
            losses.refuse(block.place, "a safeguard would be lost", "system.guardContent")
            block.ignore_all()
    return tuple(found)


def _turn(message: Members, losses: Losses, states: StateReader) -> n.Turn:
    role = message.needed_text("role")
    if role not in {"user", "assistant"}:
        raise cannot_translate(message.at("role"), "it must be user or assistant")
    blocks: list[n.Block] = []
    for block in message.objects("content"):
        if (point := block.members("cachePoint")) is not None:
            if blocks:
                blocks[-1] = _marked(blocks[-1], n.CacheMark(_ttl(point)))
        else:
            blocks += _block(block, losses, states)
        block.drop_unread(losses)
    message.drop_unread(losses)
    return n.Turn("assistant" if role == "assistant" else "user", tuple(blocks))


def _ttl(point: Members) -> str | None:
    point.ignore("type")
    return point.text("ttl")


def _marked(block: n.Block, mark: n.CacheMark) -> n.Block:
    return block if isinstance(block, n.Reasoning) else replace(block, cache=mark)


def _block(block: Members, losses: Losses, states: StateReader) -> list[n.Block]:
    if block.has("text"):
        return [n.Text(block.text("text") or "")]
    for kind in ("image", "audio", "video"):
        if (found := block.members(kind)) is not None:
            return [_media(found, kind)]
    if (document := block.members("document")) is not None:
        return [_document(document)]
    if (use := block.members("toolUse")) is not None:
        arguments = use.raw("input")
        if use.has("type"):
            OWN_TOOLS.refuse(losses, use.at("type"), "messages.content.toolUse", use.text("type") or "")
        text = bytes(arguments).decode() if arguments is not None else "{}"
        return [n.ToolCall(use.needed_text("toolUseId"), use.needed_text("name"), text)]
    if (result := block.members("toolResult")) is not None:
        if result.has("type"):
            OWN_TOOLS.refuse(losses, result.at("type"), "messages.content.toolResult", result.text("type") or "")
        return [_result(result)]
    if (reasoning := block.members("reasoningContent")) is not None:
        if (text_block := reasoning.members("reasoningText")) is not None:
            bare = n.Reasoning(text_block.text("text"), issuer=n.ModelMaker.CLAUDE)
            return list(states.read(text_block.text("signature") or "", bare))
        redacted = _redacted(reasoning)
        return list(states.read(redacted.state or "", redacted))
    if (cited := block.members("citationsContent")) is not None:
        losses.drop("messages.content.citationsContent.citations")
        cited.ignore("citations")
        return [n.Text("".join(part.text("text") or "" for part in cited.objects("content")))]
    kind = next(iter(block.values), "block")
    OWN_TOOLS.refuse(losses, block.place, "messages.content", kind)
    block.ignore_all()
    return []


def _redacted(reasoning: Members) -> n.Reasoning:
    data = standard_base64(reasoning.text("redactedContent") or "", reasoning.at("redactedContent"))
    return redacted_reasoning(base64.b64decode(data))


def _media(found: Members, kind: str) -> n.Media:
    form = found.needed_text("format")
    if kind == "image":
        return n.Media("image", f"image/{form}", data=_bytes(found))
    if kind == "audio":
        return n.Media("audio", "audio/mpeg" if form == "mp3" else f"audio/{form}", data=_bytes(found))
    return n.Media("video", f"video/{form}", data=_bytes(found))


def _bytes(found: Members) -> str:
    source = found.members("source")
    if source is None or not source.has("bytes"):
        raise cannot_translate(found.at("source"), "it is stored at AWS; send its bytes")
    return standard_base64(source.needed_text("bytes"), source.at("bytes"))


def _document(found: Members) -> n.Document:
    kind = DOCUMENT_FORMATS.get(found.text("format") or "txt", "application/octet-stream")
    name, context, citations = found.text("name"), found.text("context"), found.raw("citations")
    source = found.members("source")
    if source is not None and (text := source.text("text")) is not None:
        return n.Document("text/plain", text=text, name=name, context=context, citations=citations)
    data = _bytes(found)
    if kind == "text/plain":
        text = text_of_base64(data, found.at("source.bytes"))
        return n.Document(kind, text=text, name=name, context=context, citations=citations)
    return n.Document(kind, data=data, name=name, context=context, citations=citations)


def _result(result: Members) -> n.ToolResult:
    content: list[n.Text | n.Media | n.Document] = []
    for part in result.objects("content"):
        if part.has("text"):
            content.append(n.Text(part.text("text") or ""))
        elif (json := part.raw("json")) is not None:
            content.append(n.Text(bytes(json).decode()))
        elif (image := part.members("image")) is not None:
            content.append(_media(image, "image"))
        elif (video := part.members("video")) is not None:
            content.append(_media(video, "video"))
        elif (document := part.members("document")) is not None:
            content.append(_document(document))
        else:
            raise cannot_translate(part.place, "only Bedrock has results of this type")
    return n.ToolResult(result.needed_text("toolUseId"), tuple(content), result.text("status") == "error")


def _tools(config: Members, losses: Losses) -> tuple[n.Tool, ...]:
    found: list[n.Tool] = []
    for tool in config.objects("tools"):
        if (point := tool.members("cachePoint")) is not None:
            if found:
                found[-1] = _marked_tool(found[-1], n.CacheMark(_ttl(point)))
        elif (spec := tool.members("toolSpec")) is not None:
            schema = spec.members("inputSchema")
            raw = schema.raw("json") if schema else None
            found.append(n.Tool(spec.needed_text("name"), spec.text("description"), raw, spec.flag("strict")))
            spec.drop_unread(losses)
        else:
            kind = next(iter(tool.values), "tool")
            OWN_TOOLS.refuse(losses, tool.place, "toolConfig.tools", kind)
            tool.ignore_all()
    return tuple(found)


def _marked_tool(tool: n.Tool, mark: n.CacheMark) -> n.Tool:
    return n.Tool(tool.name, tool.description, tool.schema, tool.strict, tool.custom, mark)


def _choice(config: Members) -> n.ToolChoice | None:
    found = config.members("toolChoice")
    if found is None:
        return None
    if (tool := found.members("tool")) is not None:
        return n.ToolChoice("one", (tool.needed_text("name"),))
    found.members("auto")
    return n.ToolChoice("required" if found.members("any") else "auto")


def _output(config: Members) -> n.OutputFormat | None:
    found = config.members("textFormat")
    if found:
        found.ignore("type")
    structure = found.members("structure") if found else None
    schema = structure.members("jsonSchema") if structure else None
    if schema is None:
        return None
    text = schema.needed_text("schema")
    return n.OutputFormat("schema", Raw(text.encode()), schema.text("name"), schema.text("description"))
