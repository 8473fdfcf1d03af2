"""Reads a request of Anthropic's Messages, also in the envelope of Bedrock's InvokeModel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.features.translation import neutral as n
from wirekey.features.translation.anthropic.ordinary import ordinary_turn
from wirekey.features.translation.claude import asked_thinking
from wirekey.features.translation.losses import cannot_translate
from wirekey.features.translation.media import checked_url, media_type, standard_base64
from wirekey.features.translation.members import Members, raw_json
from wirekey.features.translation.own_tools import OwnTools

if TYPE_CHECKING:
    from msgspec import Raw

    from wirekey.core.body import RequestBody
    from wirekey.features.translation.losses import Losses
    from wirekey.features.translation.state import StateReader

OWN_TOOLS = OwnTools("Anthropic", (
    "web_search", "web_fetch", "code_execution", "bash_code_execution", "text_editor_code_execution", "computer",
    "bash", "text_editor", "memory", "tool_search_tool_bm25", "tool_search_tool_regex", "tool_search", "mcp_toolset",
    "mcp_tool_use", "mcp_tool_result", "mcp", "advisor", "server_tool_use", "search_result", "container_upload",
    "compaction", "fallback",
))  # fmt: skip
NAMES = {
    "messages": "messages",
    "max_tokens": "max_tokens",
    "stop": "stop_sequences",
    "end_user": "metadata.user_id",
    "reasoning": "thinking",
    "effort": "output_config.effort",
    "output": "output_config.format",
    "choice": "tool_choice",
    "parallel": "tool_choice.disable_parallel_tool_use",
    "strict": "tools.strict",
    "cache": "cache_control",
    "failed": "messages.content.is_error",
    "arguments": "messages.content.input",
    "system_order": "messages.system",
    "betas": "anthropic_beta",
}
"""The names of neutral members in this format."""

_STORED = {
    "container": "it is stored at Anthropic",
    "mcp_servers": "Anthropic runs these tools, and the upstream cannot",
    "inference_geo": "it promises where the model runs",
}
_HINTS = ("context_management", "speed", "cache_control", "diagnostics")
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_OWN_BLOCKS = "only Anthropic has blocks of this type"


def read_request(body: RequestBody, losses: Losses, states: StateReader) -> n.Conversation:
    """Read the body of a request. Raises Refusal, with the path of the member, if it cannot be translated."""
    top = Members.of(body, losses)
    top.ignore("model", "anthropic_version")
    for name, reason in _STORED.items():
        if top.has(name):
            losses.refuse(name, reason)
    for name in _HINTS:
        if top.has(name):
            losses.drop(name)
    choice, parallel = _choice(top)
    system, turns = _turns(top, losses, states)
    config = top.members("output_config")
    thinking, own = asked_thinking(top.members("thinking"), config.text("effort") if config else None, losses)
    conversation = n.Conversation(
        system=system,
        turns=turns,
        tools=tuple(_tool(tool, losses) for tool in top.objects("tools")),
        choice=choice,
        parallel=parallel,
        thinking=thinking,
        claude=own,
        output=_output(top, config, losses),
        options=_options(top, losses),
        stream=bool(top.flag("stream")),
        betas=tuple(top.texts("anthropic_beta")),
    )
    top.refuse_unread(losses)
    return conversation


def _options(top: Members, losses: Losses) -> dict[str, Raw]:
    found = {}
    for name in ("max_tokens", "temperature", "top_p", "top_k"):
        if (raw := top.raw(name)) is not None:
            found[name] = raw
    if stops := top.texts("stop_sequences"):
        found["stop"] = raw_json(stops)
    if tier := top.text("service_tier"):
        found["service_tier"] = raw_json("default" if tier == "standard_only" else tier)
    if metadata := top.members("metadata"):
        if metadata.has("user_id"):
            losses.drop(NAMES["end_user"])
        metadata.drop_unread(losses)
    return found


def _cache(members: Members) -> n.CacheMark | None:
    found = members.members("cache_control")
    if found is None:
        return None
    found.ignore("type")
    return n.CacheMark(found.text("ttl"))


def _turns(top: Members, losses: Losses, states: StateReader) -> tuple[tuple[n.Text, ...], tuple[n.Turn, ...]]:
    """Return the system texts and the turns. System messages among the turns are moved to the other system texts."""
    system, turns = _system(top, "system", losses), []
    for index, raw in enumerate(top.elements("messages")):
        if turn := ordinary_turn(raw, states):
            turns.append(turn)
            continue
        message = top.element(raw, "messages", index)
        if message.text("role") != "system":
            turns.append(_turn(message, losses, states))
            continue
        if turns:
            losses.adjust(NAMES["system_order"])
        system += _system(message, "content", losses)
        message.drop_unread(losses)
    return system, tuple(turns)


def _system(members: Members, name: str, losses: Losses) -> tuple[n.Text, ...]:
    if (text := members.text_alone(name)) is not None:
        return (n.Text(text),)
    found = []
    for block in members.objects(name):
        block.ignore("type")
        if block.has("citations"):
            losses.drop("system.citations")
        found.append(n.Text(block.needed_text("text"), _cache(block)))
    return tuple(found)


def _turn(message: Members, losses: Losses, states: StateReader) -> n.Turn:
    role = message.needed_text("role")
    if role not in {"user", "assistant"}:
        raise cannot_translate(message.at("role"), "it must be user, assistant or system")
    blocks: tuple[n.Block, ...]
    if (text := message.text_alone("content")) is not None:
        blocks = (n.Text(text),)
    else:
        blocks = tuple(found for block in message.objects("content") for found in _block(block, losses, states))
    message.drop_unread(losses)
    return n.Turn("assistant" if role == "assistant" else "user", blocks)


def _block(block: Members, losses: Losses, states: StateReader) -> list[n.Block]:
    kind = block.needed_text("type")
    match kind:
        case "text":
            if block.has("citations"):
                losses.drop("messages.content.citations")
            found: list[n.Block] = [n.Text(block.needed_text("text"), _cache(block))]
        case "image":
            found = [_image(block)]
        case "document":
            found = [_document(block)]
        case "thinking":
            text = block.text("thinking")
            found = [*states.read(block.text("signature") or "", n.Reasoning(text, issuer=n.ModelMaker.CLAUDE))]
        case "redacted_thinking":
            found = [*states.read(block.text("data") or "", n.Reasoning(issuer=n.ModelMaker.CLAUDE, redacted=True))]
        case "tool_use":
            block.ignore("caller")
            arguments = block.raw("input")
            text = bytes(arguments).decode() if arguments is not None else "{}"
            found = [n.ToolCall(block.needed_text("id"), block.needed_text("name"), text, _cache(block))]
        case "tool_result":
            found = [_result(block)]
        case _:
            OWN_TOOLS.refuse(losses, f"{block.place}.type", "messages.content", kind)
            block.ignore_all()
            return []
    block.drop_unread(losses)
    return found


def _image(block: Members) -> n.Media:
    source = block.members("source")
    if source is None:
        raise cannot_translate(block.at("source"), "it is missing")
    cache = _cache(block)
    match source.needed_text("type"):
        case "base64":
            data = standard_base64(source.needed_text("data"), source.at("data"))
            return n.Media("image", media_type(source.needed_text("media_type")), data=data, cache=cache)
        case "url":
            return n.Media("image", "", url=checked_url(source.needed_text("url"), source.at("url")), cache=cache)
        case _:
            raise cannot_translate(source.at("type"), "the image is stored at Anthropic; send its bytes")


def _document(block: Members) -> n.Document:
    source = block.members("source")
    if source is None:
        raise cannot_translate(block.at("source"), "it is missing")
    name, context, citations, cache = block.text("title"), block.text("context"), block.raw("citations"), _cache(block)
    match source.needed_text("type"):
        case "base64":
            found = media_type(source.needed_text("media_type"))
            data = standard_base64(source.needed_text("data"), source.at("data"))
            return n.Document(found, data=data, name=name, context=context, citations=citations, cache=cache)
        case "text":
            text = source.needed_text("data")
            return n.Document("text/plain", text=text, name=name, context=context, citations=citations, cache=cache)
        case "url":
            url = checked_url(source.needed_text("url"), source.at("url"))
            return n.Document("application/pdf", url=url, name=name, context=context, citations=citations, cache=cache)
        case _:
            raise cannot_translate(source.at("type"), "only base64, text and URLs can be translated")


def _result(block: Members) -> n.ToolResult:
    content: list[n.Text | n.Media | n.Document] = []
    if (text := block.text_alone("content")) is not None:
        content.append(n.Text(text))
    else:
        for part in block.objects("content"):
            match part.needed_text("type"):
                case "text":
                    content.append(n.Text(part.needed_text("text"), _cache(part)))
                case "image":
                    content.append(_image(part))
                case "document":
                    content.append(_document(part))
                case _:
                    raise cannot_translate(part.at("type"), _OWN_BLOCKS)
    return n.ToolResult(block.needed_text("tool_use_id"), tuple(content), bool(block.flag("is_error")), _cache(block))


def _tool(tool: Members, losses: Losses) -> n.Tool:
    kind = tool.text("type")
    if kind not in {None, "custom"}:
        OWN_TOOLS.refuse(losses, tool.at("type"), "tools", kind or "")
        tool.ignore_all()
    for hint in ("defer_loading", "input_examples", "eager_input_streaming", "allowed_callers"):
        if tool.has(hint):
            losses.drop(f"tools.{hint}")
    found = n.Tool(
        tool.needed_text("name"),
        tool.text("description"),
        tool.raw("input_schema"),
        tool.flag("strict"),
        cache=_cache(tool),
    )
    tool.drop_unread(losses)
    return found


def _choice(top: Members) -> tuple[n.ToolChoice | None, bool | None]:
    found = top.members("tool_choice")
    if found is None:
        return None, None
    kind = found.needed_text("type")
    parallel = False if found.flag("disable_parallel_tool_use") else None
    if kind == "tool":
        return n.ToolChoice("one", (found.needed_text("name"),)), parallel
    if kind not in _CHOICES:
        raise cannot_translate(found.at("type"), "it must be auto, any, tool or none")
    return n.ToolChoice(_CHOICES[kind]), parallel  # type: ignore[arg-type]


def _output(top: Members, config: Members | None, losses: Losses) -> n.OutputFormat | None:
    found = config.members("format") if config else None
    if config:
        config.refuse_unread(losses)
    found = found or top.members("output_format")
    if found is None:
        return None
    if found.needed_text("type") != "json_schema":
        raise cannot_translate(found.at("type"), "it must be json_schema")
    schema = found.raw("schema")
    if schema is None:
        raise cannot_translate(found.at("schema"), "it is missing")
    return n.OutputFormat("schema", schema)
