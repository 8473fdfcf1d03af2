"""Writes a request of Anthropic's Messages, also in the envelope of Bedrock's InvokeModel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.features.translation import neutral as n
from wirekey.features.translation.claude import claude_thinking, output_schema
from wirekey.features.translation.identifiers import call_id
from wirekey.features.translation.losses import cannot_translate
from wirekey.features.translation.media import IMAGE_TYPES, text_of_base64
from wirekey.features.translation.members import raw_list
from wirekey.features.translation.options import fit_options
from wirekey.features.translation.schemas import EMPTY_OBJECT, tool_schema
from wirekey.features.translation.turns import arguments_object, declared_tools, ordered

if TYPE_CHECKING:
    from wirekey.features.translation.context import Context

type Json = dict[str, object]

_PLACES = {"stop": "stop_sequences"}
_CHOICES = {"auto": "auto", "required": "any", "none": "none"}


def write_request(conversation: n.Conversation, context: Context) -> Json:
    """Return the members of the body. Raises Refusal for what Claude cannot be asked."""
    body = {"model": context.model, **write_members(conversation, context)}
    if conversation.stream:
        body["stream"] = True
    return body


def write_members(conversation: n.Conversation, context: Context) -> Json:
    """Return the members of the body without the model, which InvokeModel has in the path."""
    options = fit_options(conversation, context.fitting)
    turns = ordered(conversation, context.upstream, context.traits.issuer, context.name("messages"))
    thinking = claude_thinking(conversation, turns, options, context)
    body: Json = {"max_tokens": options.pop("max_tokens")}
    tools = [_tool(tool, context) for tool in declared_tools(conversation, context)]
    if system := [_text(text, context) for text in conversation.system if text.text.strip()]:
        body["system"] = system
    body["messages"] = raw_list(_message(turn, context, last=turn is turns[-1]) for turn in turns)
    if tools:
        body["tools"] = tools
        if choice := _choice(conversation, context):
            body["tool_choice"] = choice
    if thinking.thinking:
        body["thinking"] = thinking.thinking
    if config := _output_config(conversation, thinking.effort, context):
        body["output_config"] = config
    body.update({_PLACES.get(name, name): value for name, value in options.items()})
    return body


def _marked(block: Json, mark: n.CacheMark | None, context: Context) -> Json:
    mark = context.cache_mark(mark)
    if mark:
        block["cache_control"] = {"type": "ephemeral", **({"ttl": mark.ttl} if mark.ttl else {})}
    return block


def _text(text: n.Text, context: Context) -> Json:
    return _marked({"type": "text", "text": text.text}, text.cache, context)


def _message(turn: n.Turn, context: Context, *, last: bool) -> Json:
    blocks = [_block(block, context) for block in turn.blocks]
    if last and turn.role == "assistant" and blocks and blocks[-1].get("type") == "text":
        text = str(blocks[-1]["text"])
        if text != text.rstrip():
            blocks[-1]["text"] = text.rstrip()
            context.adjust("messages")
    return {"role": turn.role, "content": blocks}


def _block(block: n.Block, context: Context) -> Json:
    match block:
        case n.Text():
            return _text(block, context)
        case n.Media():
            return _marked(_image(block, context), block.cache, context)
        case n.Document():
            return _marked(_document(block), block.cache, context)
        case n.Reasoning(redacted=True):
            return {"type": "redacted_thinking", "data": block.state}
        case n.Reasoning():
            return {"type": "thinking", "thinking": block.text or "", "signature": block.state}
        case n.ToolCall():
            found: Json = {
                "type": "tool_use",
                "id": call_id(block.id, context.upstream),
                "name": context.tool_names.outgoing(block.name),
                "input": arguments_object(block, context.losses, context.name("arguments")),
            }
            return _marked(found, block.cache, context)
        case n.ToolResult():
            return _result(block, context)


def _image(media: n.Media, context: Context) -> Json:
    if media.kind != "image":
        raise cannot_translate(context.name("messages"), f"Claude takes no {media.kind}")
    if media.detail:
        context.drop("detail")
    if media.url is not None:
        return {"type": "image", "source": {"type": "url", "url": media.url}}
    if media.media_type not in IMAGE_TYPES:
        raise cannot_translate(context.name("messages"), "Claude takes png, jpeg, gif and webp images")
    return {"type": "image", "source": {"type": "base64", "media_type": media.media_type, "data": media.data}}


def _document(document: n.Document) -> Json:
    if document.url is not None:
        source: Json = {"type": "url", "url": document.url}
    elif document.media_type == "application/pdf":
        source = {"type": "base64", "media_type": "application/pdf", "data": document.data}
    elif document.text is not None:
        source = {"type": "text", "media_type": "text/plain", "data": document.text}
    elif document.media_type.startswith("text/"):
        text = text_of_base64(document.data or "", "document")
        source = {"type": "text", "media_type": "text/plain", "data": text}
    else:
        raise cannot_translate("document", "Claude takes PDF and text documents")
    found: Json = {"type": "document", "source": source}
    if document.name:
        found["title"] = document.name
    if document.context:
        found["context"] = document.context
    if document.citations is not None:
        found["citations"] = document.citations
    return found


def _result(result: n.ToolResult, context: Context) -> Json:
    found: Json = {"type": "tool_result", "tool_use_id": call_id(result.call, context.upstream)}
    content = [_block(block, context) for block in result.content if not (isinstance(block, n.Text) and not block.text)]
    if len(content) == 1 and content[0].keys() == {"type", "text"}:
        found["content"] = content[0]["text"]
    elif content:
        found["content"] = content
    if result.failed:
        found["is_error"] = True
    return _marked(found, result.cache, context)


def _tool(tool: n.Tool, context: Context) -> Json:
    found: Json = {"name": context.tool_names.outgoing(tool.name)}
    if tool.description:
        found["description"] = tool.description
    found["input_schema"] = tool_schema(tool.schema, EMPTY_OBJECT)
    if tool.strict:
        found["strict"] = True
    return _marked(found, tool.cache, context)


def _choice(conversation: n.Conversation, context: Context) -> Json | None:
    choice = conversation.choice
    if choice is None:
        return {"type": "auto", "disable_parallel_tool_use": True} if conversation.parallel is False else None
    if choice.mode == "one":
        found: Json = {"type": "tool", "name": context.tool_names.outgoing(choice.names[0])}
    else:
        found = {"type": _CHOICES[choice.mode]}
    if conversation.parallel is False and choice.mode != "none":
        found["disable_parallel_tool_use"] = True
    return found


def _output_config(conversation: n.Conversation, effort: str | None, context: Context) -> Json:
    found: Json = {"effort": effort} if effort else {}
    if (schema := output_schema(conversation, context)) is not None:
        found["format"] = {"type": "json_schema", "schema": schema}
    return found
