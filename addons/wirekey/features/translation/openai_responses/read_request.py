"""Reads a request of OpenAI's Responses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Raw

from wirekey.features.translation import neutral as n
from wirekey.features.translation.losses import cannot_translate
from wirekey.features.translation.media import block_of, checked_url, marked, parse_data_url, standard_base64
from wirekey.features.translation.members import Members, raw_json
from wirekey.features.translation.openai import OWN_TOOLS
from wirekey.features.translation.openai_responses.ordinary import ordinary_item
from wirekey.features.translation.schemas import FREE_TEXT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wirekey.core.body import RequestBody
    from wirekey.features.translation.losses import Losses
    from wirekey.features.translation.state import StateReader

NAMES = {
    "messages": "input",
    "max_tokens": "max_output_tokens",
    "reasoning": "reasoning.effort",
    "output": "text.format",
    "output_description": "text.format.description",
    "choice": "tool_choice",
    "parallel": "parallel_tool_calls",
    "strict": "tools.strict",
    "cache": "prompt_cache_breakpoint",
    "verbosity": "text.verbosity",
    "arguments": "input.arguments",
    "system_order": "input.system",
    "detail": "input.content.detail",
}
"""The names of neutral members in this format."""

OPTIONS = (
    "temperature", "top_p", "top_logprobs", "user", "safety_identifier", "metadata", "store", "service_tier",
    "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options", "truncation", "context_management",
)  # fmt: skip
"""The members that are options of the same name in the neutral form."""

REPEATED = (
    "instructions", "max_output_tokens", "metadata", "parallel_tool_calls", "reasoning", "temperature", "text",
    "tool_choice", "tools", "top_p", "truncation",
)  # fmt: skip
"""The members that the response repeats."""

_STORED = {
    "previous_response_id": "the earlier turns are stored at OpenAI; send them in `input`",
    "conversation": "the earlier turns are stored at OpenAI; send them in `input`",
    "prompt": "the prompt is stored at OpenAI; send its text",
    "max_tool_calls": "only OpenAI counts the calls of its own tools",
    "moderation": "the upstream does not moderate",
}
_LOGPROBS = "message.output_text.logprobs"


def read_request(body: RequestBody, losses: Losses, states: StateReader) -> n.Conversation:
    """Read the body of a request. Raises Refusal, with the path of the member, if it cannot be translated."""
    top = Members.of(body, losses)
    top.ignore("model", "stream_options")
    for name, reason in _STORED.items():
        if top.has(name):
            losses.refuse(name, reason)
    if top.has("client_metadata"):  # of Codex, about itself
        losses.drop("client_metadata")
    if top.flag("background"):
        losses.refuse("background", "only OpenAI stores responses that run in the background")
    items = _Items(losses, states)
    if instructions := top.text("instructions"):
        items.system.append(n.Text(instructions))
    if (only := top.text_alone("input")) is not None:
        items.add("user", [n.Text(only)])
    else:
        for index, item in enumerate(top.elements("input")):
            if found := ordinary_item(item):
                items.add(*found)
            else:
                items.read(top.element(item, "input", index))
    text = top.members("text")
    conversation = n.Conversation(
        system=tuple(items.system),
        turns=items.turns,
        tools=tuple(found for tool in top.objects("tools") for found in _tool(tool, losses)),
        choice=_choice(top, losses),
        parallel=top.flag("parallel_tool_calls"),
        thinking=_thinking(top, losses),
        output=_output(text, losses) if text else None,
        options=_options(top, text, losses),
        stream=bool(top.flag("stream")),
        repeated={name: raw for name in REPEATED if (raw := top.values.get(name)) is not None},
    )
    top.refuse_unread(losses)
    return conversation


def _options(top: Members, text: Members | None, losses: Losses) -> dict[str, Raw]:
    found = {name: raw for name in OPTIONS if (raw := top.raw(name)) is not None}
    if (limit := top.raw("max_output_tokens")) is not None:
        found["max_tokens"] = limit
    if text and (verbosity := text.raw("verbosity")) is not None:
        found["verbosity"] = verbosity
    for included in top.texts("include"):
        if included == _LOGPROBS:
            found["logprobs"] = Raw(b"true")
        elif included != "reasoning.encrypted_content":
            losses.drop("include")
    return found


def _thinking(top: Members, losses: Losses) -> n.Thinking | None:
    found = top.members("reasoning")
    if found is None:
        return None
    effort = found.text("effort")
    show = found.has("summary") or found.has("generate_summary")
    found.drop_unread(losses)
    return n.Thinking(effort, show=show) if effort or show else None


class _Items:
    """The items read so far, as system texts and turns. All items between two of the user are one assistant turn."""

    def __init__(self, losses: Losses, states: StateReader) -> None:
        self.losses = losses
        self.states = states
        self.system: list[n.Text] = []
        self.roles: list[n.Role] = []
        self.blocks: list[list[n.Block]] = []

    @property
    def turns(self) -> tuple[n.Turn, ...]:
        """The turns so far."""
        return tuple(n.Turn(role, tuple(blocks)) for role, blocks in zip(self.roles, self.blocks, strict=True))

    def read(self, item: Members) -> None:
        """Read one item. Raises Refusal if it cannot be translated."""
        item.ignore("id", "status", "phase")
        match item.text("type") or "message":
            case "message":
                self.message(item)
            case "function_call":
                arguments = item.text("arguments") or ""
                self.add("assistant", [n.ToolCall(item.needed_text("call_id"), item.needed_text("name"), arguments)])
            case "custom_tool_call":
                text = bytes(raw_json({"input": item.text("input") or ""})).decode()
                self.add("assistant", [n.ToolCall(item.needed_text("call_id"), item.needed_text("name"), text)])
            case "function_call_output" | "custom_tool_call_output":
                self.add("user", [self.result(item)])
            case "reasoning":
                if blocks := self.reasoning(item):
                    self.add("assistant", blocks)
            case "item_reference":
                self.losses.refuse(item.place, "the item is stored at OpenAI; send it whole", "input.item_reference")
            case kind:
                OWN_TOOLS.refuse(self.losses, item.at("type"), "input", kind)
                item.ignore_all()
                return
        item.drop_unread(self.losses)

    def add(self, role: n.Role, blocks: Iterable[n.Block]) -> None:
        """Append blocks to the turn of a role, or begin one."""
        if self.roles and self.roles[-1] == role:
            self.blocks[-1] += blocks
        else:
            self.roles.append(role)
            self.blocks.append(list(blocks))

    def message(self, item: Members) -> None:
        """Read a message."""
        role = item.needed_text("role")
        blocks: list[n.Block]
        if (text := item.text_alone("content")) is not None:
            blocks = [n.Text(text)]
        else:
            blocks = [self.part(part) for part in item.objects("content")]
        match role:
            case "system" | "developer":
                if self.roles:
                    self.losses.adjust(NAMES["system_order"])
                self.system += [block for block in blocks if isinstance(block, n.Text)]
            case "user" | "assistant":
                self.add("user" if role == "user" else "assistant", blocks)
            case _:
                raise cannot_translate(item.at("role"), "it is no role of Responses")

    def part(self, part: Members) -> n.Block:
        """Return one part of a message."""
        cache = n.CacheMark() if part.has("prompt_cache_breakpoint") else None
        match part.needed_text("type"):
            case "input_text" | "output_text" | "text":
                part.ignore("annotations", "logprobs")
                found: n.Block = n.Text(part.needed_text("text"), cache)
            case "refusal":
                found = n.Text(part.needed_text("refusal"))
            case "input_image":
                found = self.image(part)
            case "input_file":
                found = self.file(part)
            case _:
                raise cannot_translate(part.at("type"), "this type of part cannot be translated")
        part.drop_unread(self.losses)
        return marked(found, cache)

    def image(self, part: Members) -> n.Media:
        """Return an image, from a data URL or an https URL."""
        detail = part.text("detail")
        detail = None if detail == "auto" else detail
        url = part.text("image_url")
        if url is None:
            raise cannot_translate(part.at("file_id"), "the image is stored at OpenAI; send its bytes")
        if data := parse_data_url(url, part.at("image_url")):
            return n.Media("image", data.media_type, data=data.data, detail=detail)
        return n.Media("image", "", url=checked_url(url, part.at("image_url")), detail=detail)

    def file(self, part: Members) -> n.Media | n.Document:
        """Return a document, from a data URL or an https URL."""
        name, place = part.text("filename"), part.at("file_data")
        if (data := part.text("file_data")) is not None:
            found = parse_data_url(data, place)
            if found is None:
                return block_of("application/pdf", standard_base64(data, place), place, name)
            return block_of(found.media_type, found.data, place, name)
        if (url := part.text("file_url")) is not None:
            return n.Document("application/pdf", url=checked_url(url, part.at("file_url")), name=name)
        raise cannot_translate(part.at("file_id"), "the file is stored at OpenAI; send its bytes")

    def result(self, item: Members) -> n.ToolResult:
        """Return the result of a call."""
        if (text := item.text_alone("output")) is not None:
            content: list[n.Block] = [n.Text(text)]
        else:
            content = [self.part(part) for part in item.objects("output")]
        return n.ToolResult(item.needed_text("call_id"), tuple(content))  # type: ignore[arg-type]

    def reasoning(self, item: Members) -> list[n.Reasoning]:
        """Return the reasoning of an item, with the state that it carries."""
        text = "\n\n".join(part.text("text") or "" for part in item.objects("summary"))
        item.ignore("content")
        bare = n.Reasoning(text or None, issuer=n.ModelMaker.OPENAI, item=item.text("id"))
        return self.states.read(item.text("encrypted_content") or "", bare)


def _tool(tool: Members, losses: Losses) -> list[n.Tool]:
    match tool.needed_text("type"):
        case "function":
            found = n.Tool(
                tool.needed_text("name"),
                tool.text("description"),
                tool.raw("parameters"),
                # Without it OpenAI makes a schema strict if it can, which no other provider does.
                tool.flag("strict"),
                cache=n.CacheMark() if tool.has("prompt_cache_breakpoint") else None,
            )
        case "custom":
            if (form := tool.members("format")) and form.text("type") != "text":
                losses.adjust("tools.format")
            found = n.Tool(tool.needed_text("name"), tool.text("description"), FREE_TEXT, custom=True)
        case kind:
            OWN_TOOLS.refuse(losses, tool.at("type"), "tools", kind)
            tool.ignore_all()
            return []
    tool.drop_unread(losses)
    return [found]


def _choice(top: Members, losses: Losses) -> n.ToolChoice | None:
    if top.is_text("tool_choice"):
        word = top.text("tool_choice")
        if word not in {"auto", "required", "none"}:
            raise cannot_translate("tool_choice", "it must be auto, required or none, or an object")
        return n.ToolChoice(word)  # type: ignore[arg-type]
    found = top.members("tool_choice")
    if found is None:
        return None
    match found.needed_text("type"):
        case "function" | "custom":
            return n.ToolChoice("one", (found.needed_text("name"),))
        case "allowed_tools":
            names = tuple(tool.needed_text("name") for tool in found.objects("tools"))
            return n.ToolChoice("required" if found.text("mode") == "required" else "auto", names)
        case kind:
            OWN_TOOLS.refuse(losses, "tool_choice.type", "tool_choice", kind, name="tool_choice.type")
            found.ignore_all()
            return None


def _output(text: Members, losses: Losses) -> n.OutputFormat | None:
    found = text.members("format")
    if found is None:
        return None
    match found.needed_text("type"):
        case "text":
            return None
        case "json_object":
            return n.OutputFormat("json")
        case "json_schema":
            return n.OutputFormat(
                "schema", found.raw("schema"), found.text("name"), found.text("description"), found.flag("strict")
            )
        case _:
            losses.refuse("text.format", "the upstream cannot be held to this format")
            return None
