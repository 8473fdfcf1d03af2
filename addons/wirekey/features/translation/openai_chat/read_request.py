"""Reads a request of OpenAI's Chat Completions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.features.translation import neutral as n
from wirekey.features.translation.identifiers import made_call_id
from wirekey.features.translation.losses import cannot_translate
from wirekey.features.translation.media import block_of, checked_url, marked, parse_data_url, standard_base64
from wirekey.features.translation.members import Members, raw_json
from wirekey.features.translation.openai import OWN_TOOLS
from wirekey.features.translation.openai_chat.google_extras import google_extras
from wirekey.features.translation.openai_chat.ordinary import ordinary_turn
from wirekey.features.translation.schemas import FREE_TEXT

if TYPE_CHECKING:
    from msgspec import Raw

    from wirekey.core.body import RequestBody
    from wirekey.features.translation.losses import Losses
    from wirekey.features.translation.state import StateReader

NAMES = {
    "messages": "messages",
    "max_tokens": "max_completion_tokens",
    "reasoning": "reasoning_effort",
    "output_description": "response_format.json_schema.description",
    "output": "response_format",
    "choice": "tool_choice",
    "parallel": "parallel_tool_calls",
    "strict": "tools.function.strict",
    "cache": "prompt_cache_breakpoint",
    "arguments": "messages.tool_calls.function.arguments",
    "system_order": "messages.system",
    "detail": "messages.content.image_url.detail",
    "safety_settings": "extra_body.google.safety_settings",
    "cached_content": "extra_body.google.cached_content",
    "gemini_safety_settings": "gemini_safety_settings",
    "gemini_cached_content": "gemini_cached_content",
}
"""The names of neutral members in this format."""

OPTIONS = (
    "temperature", "top_p", "top_k", "n", "seed", "presence_penalty", "frequency_penalty", "logit_bias", "logprobs",
    "top_logprobs", "verbosity", "user", "safety_identifier", "metadata", "store", "service_tier", "prompt_cache_key",
    "prompt_cache_retention", "prompt_cache_options", "prediction",
)  # fmt: skip
"""The members that are options of the same name in the neutral form."""

_REFUSED = {
    "web_search_options": "OpenAI runs this tool, and the upstream cannot",
    "audio": "the response would be audio",
    "moderation": "the upstream does not moderate",
}


def read_request(body: RequestBody, losses: Losses, states: StateReader) -> n.Conversation:
    """Read the body of a request. Raises Refusal, with the path of the member, if it cannot be translated."""
    top = Members.of(body, losses)
    top.ignore("model")
    for name, reason in _REFUSED.items():
        if top.has(name):
            losses.refuse(name, reason)
    _check_modalities(top, losses)
    messages = _Messages(losses, states)
    for index, raw in enumerate(top.elements("messages")):
        if turn := ordinary_turn(raw, index, states):
            messages.turns.append(turn)
        else:
            messages.read(top.element(raw, "messages", index), index)
    stream_options = top.members("stream_options")
    legacy = top.has("functions") or top.has("function_call")
    choice = _choice(top)
    options = _options(top)
    thinking = _thinking(top, options, losses)
    conversation = n.Conversation(
        system=tuple(messages.system),
        turns=tuple(messages.turns),
        tools=_tools(top, losses),
        choice=choice,
        parallel=top.flag("parallel_tool_calls"),
        thinking=thinking,
        output=_output(top, losses),
        options=options,
        stream=bool(top.flag("stream")),
        include_usage=bool(stream_options and stream_options.flag("include_usage")),
        legacy_functions=legacy,
    )
    top.refuse_unread(losses)
    return conversation


def _check_modalities(top: Members, losses: Losses) -> None:
    if not top.has("modalities"):
        return
    if top.texts("modalities") == ["text"]:
        losses.drop("modalities")
    else:
        losses.refuse("modalities", "only text can be translated")


def _options(top: Members) -> dict[str, Raw]:
    found = {name: raw for name in OPTIONS if (raw := top.raw(name)) is not None}
    limit, older = top.raw("max_completion_tokens"), top.raw("max_tokens")
    if (raw := limit or older) is not None:
        found["max_tokens"] = raw
    if stops := [stop for stop in top.texts("stop") if stop]:
        found["stop"] = raw_json(stops)
    return found


def _thinking(top: Members, options: dict[str, Raw], losses: Losses) -> n.Thinking | None:
    effort = top.text("reasoning_effort")
    if found := google_extras(top, effort, options, losses):
        return found
    if (claude := top.members("thinking")) is not None:
        kind = claude.needed_text("type")
        return (
            n.Thinking("none") if kind == "disabled" else n.Thinking(effort, claude.integer("budget_tokens"), show=True)
        )
    return n.Thinking(effort, show=effort != "none") if effort else None


class _Messages:
    """The messages read so far, as system texts and turns."""

    def __init__(self, losses: Losses, states: StateReader) -> None:
        self.losses = losses
        self.states = states
        self.system: list[n.Text] = []
        self.turns: list[n.Turn] = []
        self.last_function_id = ""

    def read(self, message: Members, index: int) -> None:
        """Read one message. Raises Refusal if it cannot be translated."""
        role = message.needed_text("role")
        if message.has("name") and role not in {"tool", "function"}:
            self.losses.drop("messages.name")
        match role:
            case "system" | "developer":
                if self.turns:
                    self.losses.adjust(NAMES["system_order"])
                self.system += [part for part in self.parts(message) if isinstance(part, n.Text)]
            case "user":
                self.turns.append(n.Turn("user", tuple(self.parts(message))))
            case "assistant":
                self.turns.append(n.Turn("assistant", tuple(self.assistant(message, index))))
            case "tool" | "function":
                self.turns.append(n.Turn("user", (self.result(message, role),)))
            case _:
                raise cannot_translate(message.at("role"), "it is no role of Chat Completions")
        message.drop_unread(self.losses)

    def assistant(self, message: Members, index: int) -> list[n.Block]:
        """Return the blocks of the assistant: text, then calls with the reasoning that travels behind their ids."""
        message.ignore("reasoning_content", "reasoning", "annotations", "refusal_details")
        if message.has("audio"):
            raise cannot_translate(message.at("audio"), "it is stored at OpenAI")
        found: list[n.Block] = list(self.parts(message))
        if refusal := message.text("refusal"):
            found.append(n.Text(refusal))
        calls: list[n.Block] = []
        for number, call in enumerate(message.objects("tool_calls")):
            calls += self.call(call, index, number)
        if (legacy := message.members("function_call")) is not None:
            self.last_function_id = made_call_id(index, 0)
            calls.append(n.ToolCall(self.last_function_id, legacy.needed_text("name"), legacy.text("arguments") or ""))
        thoughts = [block for block in calls if isinstance(block, n.Reasoning) and block.attached != "call"]
        return [*thoughts, *found, *(block for block in calls if block not in thoughts)]

    def call(self, call: Members, index: int, number: int) -> list[n.Block]:
        """Return one call, after the reasoning that travels with it."""
        function, custom = call.members("function"), call.members("custom")
        given = call.text("id") or made_call_id(index, number)
        identifier, blocks = self.states.read_id(given)
        extra = call.members("extra_content")
        google = extra.members("google") if extra else None
        if google and not blocks and (signature := google.text("thought_signature")):
            blocks = self.states.read_signature(signature, n.Reasoning(issuer=n.ModelMaker.GEMINI, attached="call"))
        call.ignore("type", "index")
        if custom is not None:
            text = raw_json({"input": custom.text("input") or ""})
            return [*blocks, n.ToolCall(identifier, custom.needed_text("name"), bytes(text).decode())]
        if function is None:
            raise cannot_translate(call.at("function"), "it is missing")
        return [*blocks, n.ToolCall(identifier, function.needed_text("name"), function.text("arguments") or "")]

    def result(self, message: Members, role: str) -> n.ToolResult:
        """Return the result of a call."""
        if role == "function":
            identifier = self.last_function_id
            message.ignore("name")
        else:
            identifier, _ = self.states.read_id(message.needed_text("tool_call_id"))
            message.ignore("name")
        parts = self.parts(message)
        text = "".join(part.text for part in parts if isinstance(part, n.Text))
        media = [part for part in parts if isinstance(part, n.Media)]
        return n.ToolResult(identifier, (n.Text(text), *media) if text or not media else tuple(media))

    def parts(self, message: Members) -> list[n.Block]:
        """Return the content of a message as blocks."""
        if (text := message.text_alone("content")) is not None:
            return [n.Text(text)]
        return [block for part in message.objects("content") for block in self.part(part)]

    def part(self, part: Members) -> list[n.Block]:
        """Return one part of a message as a block."""
        cache = n.CacheMark() if part.has("prompt_cache_breakpoint") else None
        if part.text("type") == "thinking":  # of servers whose models reason in the content
            part.ignore("thinking", "signature", "closed")
            return []
        match part.needed_text("type"):
            case "text":
                found: n.Block = n.Text(part.needed_text("text"), cache)
            case "refusal":
                found = n.Text(part.needed_text("refusal"))
            case "image_url":
                found = self.image(part)
            case "input_audio":
                audio = part.members("input_audio")
                if audio is None:
                    raise cannot_translate(part.at("input_audio"), "it is missing")
                kind = "audio/mpeg" if audio.text("format") == "mp3" else "audio/wav"
                found = n.Media("audio", kind, data=standard_base64(audio.needed_text("data"), audio.at("data")))
            case "file":
                found = self.file(part)
            case _:
                raise cannot_translate(part.at("type"), "this type of part cannot be translated")
        part.drop_unread(self.losses)
        return [marked(found, cache)]

    def image(self, part: Members) -> n.Block:
        """Return an image, from a data URL or an https URL."""
        image = part.members("image_url")
        if image is None:
            raise cannot_translate(part.at("image_url"), "it is missing")
        detail = image.text("detail")
        detail = None if detail == "auto" else detail
        url = image.needed_text("url")
        if data := parse_data_url(url, image.at("url")):
            return n.Media("image", data.media_type, data=data.data, detail=detail)
        return n.Media("image", "", url=checked_url(url, image.at("url")), detail=detail)

    def file(self, part: Members) -> n.Block:
        """Return a document, from a data URL."""
        file = part.members("file")
        if file is None or not file.has("file_data"):
            raise cannot_translate(part.at("file.file_data"), "the file is stored at OpenAI; send its bytes")
        url = file.needed_text("file_data")
        data = parse_data_url(url, file.at("file_data"))
        name = file.text("filename")
        if data is None:
            return block_of("application/pdf", standard_base64(url, file.at("file_data")), file.at("file_data"), name)
        return block_of(data.media_type, data.data, file.at("file_data"), name)


def _tools(top: Members, losses: Losses) -> tuple[n.Tool, ...]:
    found = [_function(function, function, losses) for function in top.objects("functions")]
    for tool in top.objects("tools"):
        kind = tool.text("type") or "function"
        if kind == "function":
            function = tool.members("function")
            if function is None:
                raise cannot_translate(tool.at("function"), "it is missing")
            found.append(_function(function, tool, losses))
        elif kind == "custom" and (custom := tool.members("custom")) is not None:
            if custom.has("format"):
                losses.adjust("tools.custom.format")
            found.append(n.Tool(custom.needed_text("name"), custom.text("description"), FREE_TEXT, custom=True))
        else:
            OWN_TOOLS.refuse(losses, tool.at("type"), "tools", kind)
            tool.ignore_all()
    return tuple(found)


def _function(function: Members, tool: Members, losses: Losses) -> n.Tool:
    tool.ignore("type")
    cache = n.CacheMark() if tool.has("prompt_cache_breakpoint") else None
    found = n.Tool(
        function.needed_text("name"),
        function.text("description"),
        function.raw("parameters"),
        function.flag("strict"),
        cache=cache,
    )
    function.drop_unread(losses)
    return found


def _choice(top: Members) -> n.ToolChoice | None:
    for member in ("tool_choice", "function_call"):
        if top.is_text(member):
            word = top.text(member)
            if word not in {"auto", "required", "none"}:
                raise cannot_translate(member, "it must be auto, required or none, or an object")
            return n.ToolChoice(word)  # type: ignore[arg-type]
        if (found := top.members(member)) is not None:
            if found.text("type") == "allowed_tools" and (allowed := found.members("allowed_tools")) is not None:
                names = tuple(_named(tool) for tool in allowed.objects("tools"))
                return n.ToolChoice("required" if allowed.text("mode") == "required" else "auto", names)
            return n.ToolChoice("one", (_named(found),))
    return None


def _named(found: Members) -> str:
    inner = found.members("function") or found.members("custom") or found
    return inner.needed_text("name")


def _output(top: Members, losses: Losses) -> n.OutputFormat | None:
    found = top.members("response_format")
    if found is None:
        return None
    match found.needed_text("type"):
        case "text":
            return None
        case "json_object":
            return n.OutputFormat("json")
        case "json_schema":
            schema = found.members("json_schema")
            if schema is None:
                raise cannot_translate(found.at("json_schema"), "it is missing")
            return n.OutputFormat(
                "schema", schema.raw("schema"), schema.text("name"), schema.text("description"), schema.flag("strict")
            )
        case _:
            losses.refuse("response_format", "the upstream cannot be held to this format")
            return None
