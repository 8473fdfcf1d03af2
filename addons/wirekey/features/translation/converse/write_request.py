"""Writes a request of Bedrock's Converse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.features.translation import neutral as n
from wirekey.features.translation.claude import claude_thinking, output_schema, redacted_content
from wirekey.features.translation.identifiers import call_id
from wirekey.features.translation.losses import cannot_translate
from wirekey.features.translation.media import CONVERSE_DOCUMENTS, IMAGE_TYPES, base64_of_text
from wirekey.features.translation.members import raw_list
from wirekey.features.translation.options import fit_options
from wirekey.features.translation.schemas import EMPTY_OBJECT, tool_schema
from wirekey.features.translation.thinking import effort_of
from wirekey.features.translation.turns import arguments_object, declared_tools, ordered

if TYPE_CHECKING:
    from msgspec import Raw

    from wirekey.features.translation.context import Context

type Json = dict[str, object]

_INFERENCE = {"max_tokens": "maxTokens", "temperature": "temperature", "top_p": "topP", "stop": "stopSequences"}
_AUDIO = {"audio/mpeg": "mp3", "audio/mp3": "mp3", "audio/wav": "wav", "audio/x-wav": "wav", "audio/ogg": "ogg",
          "audio/flac": "flac", "audio/aac": "aac", "audio/mp4": "mp4", "audio/webm": "webm"}  # fmt: skip
_VIDEO = {"video/mp4": "mp4", "video/quicktime": "mov", "video/webm": "webm", "video/x-matroska": "mkv",
          "video/mpeg": "mpeg", "video/x-flv": "flv"}  # fmt: skip


def write_request(conversation: n.Conversation, context: Context) -> Json:
    """Return the members of the body. Raises Refusal for what Converse cannot be asked."""
    options = fit_options(conversation, context.fitting)
    turns = ordered(conversation, context.upstream, context.traits.issuer, context.name("messages"))
    tools = _tool_config(conversation, context)
    fields: Json = {}
    effort = _thinking(conversation, turns, options, fields, context)
    body: Json = {}
    if system := [block for text in conversation.system if text.text.strip()
                  for block in _followed({"text": text.text}, text.cache, context)]:  # fmt: skip
        body["system"] = system
    body["messages"] = raw_list(_message(turn, context) for turn in turns)
    if config := {name: options[option] for option, name in _INFERENCE.items() if option in options}:
        body["inferenceConfig"] = config
    if tools:
        body["toolConfig"] = tools
    if "top_k" in options:
        if context.traits.issuer is n.ModelMaker.CLAUDE:
            fields["top_k"] = options["top_k"]
        elif context.traits.thinking == "nova":
            fields["inferenceConfig"] = {"topK": options["top_k"]}
        else:
            context.drop("top_k")
    if context.betas:
        fields["anthropic_beta"] = context.betas
    if fields:
        body["additionalModelRequestFields"] = fields
    if output := _output_config(conversation, effort, context):
        body["outputConfig"] = output
    if "service_tier" in options:
        body["serviceTier"] = {"type": options["service_tier"]}
    return body


def _thinking(
    conversation: n.Conversation, turns: list[n.Turn], options: dict[str, Raw], fields: Json, context: Context
) -> str | None:
    """Add how the model should reason to its own fields, and return the effort for `outputConfig`."""
    if context.traits.thinking == "nova" and conversation.thinking:
        effort = effort_of(conversation.thinking) or "medium"
        if effort != "none":
            if effort not in {"low", "medium", "high"}:
                context.adjust("reasoning")
                effort = "low" if effort == "minimal" else "high"
            fields["reasoningConfig"] = {"type": "enabled", "maxReasoningEffort": effort}
        return None
    found = claude_thinking(conversation, turns, options, context)
    if found.thinking:
        fields["thinking"] = found.thinking
    return found.effort


def _followed(block: Json, mark: n.CacheMark | None, context: Context) -> list[Json]:
    """Return a block, and the cache point after it if it is marked."""
    mark = context.cache_mark(mark)
    if not mark:
        return [block]
    return [block, {"cachePoint": {"type": "default", **({"ttl": mark.ttl} if mark.ttl else {})}}]


def _message(turn: n.Turn, context: Context) -> Json:
    content = [found for block in turn.blocks for found in _followed(_block(block, context), _mark(block), context)]
    return {"role": turn.role, "content": content}


def _mark(block: n.Block) -> n.CacheMark | None:
    return None if isinstance(block, n.Reasoning) else block.cache


def _block(block: n.Block, context: Context) -> Json:
    match block:
        case n.Text():
            return {"text": block.text}
        case n.Media():
            return _media(block, context)
        case n.Document():
            return _document(block, context)
        case n.Reasoning(redacted=True):
            return {"reasoningContent": {"redactedContent": redacted_content(block)}}
        case n.Reasoning():
            return {"reasoningContent": {"reasoningText": {"text": block.text or "", "signature": block.state}}}
        case n.ToolCall():
            return {
                "toolUse": {
                    "toolUseId": call_id(block.id, context.upstream),
                    "name": context.tool_names.outgoing(block.name),
                    "input": arguments_object(block, context.losses, context.name("arguments")),
                }
            }
        case n.ToolResult():
            return _result(block, context)


def _media(media: n.Media, context: Context) -> Json:
    if media.url is not None:
        raise cannot_translate(context.name("messages"), "Converse takes bytes, and Wirekey fetches no URL")
    if media.detail:
        context.drop("detail")
    forms = _AUDIO if media.kind == "audio" else _VIDEO
    if media.kind == "image":
        form = media.media_type.removeprefix("image/") if media.media_type in IMAGE_TYPES else None
    else:
        form = forms.get(media.media_type)
    if form is None:
        raise cannot_translate(context.name("messages"), "Converse does not take this media type")
    return {media.kind: {"format": form, "source": {"bytes": media.data}}}


def _document(document: n.Document, context: Context) -> Json:
    if document.url is not None:
        raise cannot_translate(context.name("messages"), "Converse takes bytes, and Wirekey fetches no URL")
    form = CONVERSE_DOCUMENTS.get(document.media_type)
    if form is None:
        raise cannot_translate(context.name("messages"), "Converse does not take this media type")
    data = document.data if document.text is None else base64_of_text(document.text)
    name = context.document_names.name((document.name or "").rpartition(".")[0] or document.name)
    found: Json = {"format": form, "name": name, "source": {"bytes": data}}
    if document.context:
        found["context"] = document.context
    if document.citations is not None:
        found["citations"] = document.citations
    return {"document": found}


def _result(result: n.ToolResult, context: Context) -> Json:
    for part in result.content:
        context.drop_mark(part.cache)
    content = [_block(part, context) for part in result.content if not (isinstance(part, n.Text) and not part.text)]
    found: Json = {"toolUseId": call_id(result.call, context.upstream), "content": content}
    if result.failed:
        found["status"] = "error"
    return {"toolResult": found}


def _tool_config(conversation: n.Conversation, context: Context) -> Json | None:
    choice = conversation.choice
    off = choice is not None and choice.mode == "none"
    in_history = any(isinstance(block, n.ToolCall) for turn in conversation.turns for block in turn.blocks)
    if off and not in_history:
        return None
    if off:
        context.adjust("choice")
    declared = declared_tools(conversation, context)
    if not declared:
        return None
    tools = [found for tool in declared for found in _followed(_tool(tool, context), tool.cache, context)]
    config: Json = {"tools": tools}
    if choice and not off:
        if choice.mode == "one":
            config["toolChoice"] = {"tool": {"name": context.tool_names.outgoing(choice.names[0])}}
        else:
            config["toolChoice"] = {"any" if choice.mode == "required" else "auto": {}}
    if conversation.parallel is False:
        context.drop("parallel")
    return config


def _tool(tool: n.Tool, context: Context) -> Json:
    found: Json = {"name": context.tool_names.outgoing(tool.name)}
    if tool.description:
        found["description"] = tool.description
    found["inputSchema"] = {"json": tool_schema(tool.schema, EMPTY_OBJECT)}
    if tool.strict:
        found["strict"] = True
    return {"toolSpec": found}


def _output_config(conversation: n.Conversation, effort: str | None, context: Context) -> Json:
    found: Json = {"effort": effort} if effort else {}
    output, schema = conversation.output, output_schema(conversation, context)
    if output is not None and schema is not None:
        member: Json = {"schema": bytes(schema).decode(), "name": output.name or "output"}
        if output.description:
            member["description"] = output.description
        found["textFormat"] = {"type": "json_schema", "structure": {"jsonSchema": member}}
    return found
