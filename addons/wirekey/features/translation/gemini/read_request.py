"""Reads a request of Gemini's generateContent. Google accepts two spellings of a name, and one element for a list."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from wirekey.features.translation import neutral as n
from wirekey.features.translation.gemini.ordinary import ordinary_content
from wirekey.features.translation.gemini.read_tools import OWN_TOOLS, read_choice, read_tools
from wirekey.features.translation.identifiers import made_call_id
from wirekey.features.translation.losses import cannot_translate
from wirekey.features.translation.media import block_of, by_ending, checked_url, kind_of, media_type, standard_base64
from wirekey.features.translation.members import Members, is_text, raw_json
from wirekey.features.translation.schemas import from_google

if TYPE_CHECKING:
    from msgspec import Raw

    from wirekey.core.body import RequestBody
    from wirekey.features.translation.gemini.ordinary import OrdinaryContent
    from wirekey.features.translation.losses import Losses
    from wirekey.features.translation.state import StateReader

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
}
NAMES = {
    "messages": "contents",
    "system_order": "systemInstruction",
    "reasoning": "generationConfig.thinkingConfig",
    "output": "generationConfig.responseJsonSchema",
    "stop": "generationConfig.stopSequences",
    "choice": "toolConfig.functionCallingConfig",
    "arguments": "contents.parts.functionCall.args",
    "failed": "contents.parts.functionResponse.response.error",
    "service_tier": "serviceTier",
    **{neutral: f"generationConfig.{name}" for neutral, name in _GENERATION.items()},
}
"""The names of neutral members in this format."""

_NO_CALL = "no call of the turn before has this name"
_OWN_PARTS = frozenset({"executableCode", "codeExecutionResult", "toolCall", "toolResponse"})
_HINTS = frozenset({"videoMetadata", "mediaResolution", "partMetadata"})
_SPECIAL = _OWN_PARTS | _HINTS
PLACEHOLDERS = frozenset({"skip_thought_signature_validator", "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="})
"""Google's documented signature for history that no Gemini model made, as it stands and in base64."""


def read_request(body: RequestBody, losses: Losses, states: StateReader) -> n.Conversation:
    """Read the body of a request. Raises Refusal, with the path of the member, if it cannot be translated."""
    top = Members.of(body, losses, either_spelling=True)
    top.ignore("model")
    if top.has("cachedContent"):
        losses.refuse("cachedContent", "a part of the prompt is in Google's cache")
    for name in ("safetySettings", "labels", "store"):
        if top.has(name):
            losses.drop(name)
    system = top.members("systemInstruction")
    contents = _Contents(losses, states)
    for index, raw in enumerate(top.elements("contents")):
        if ordinary := ordinary_content(raw):
            contents.add(ordinary)
        else:
            contents.read(top.element(raw, "contents", index))
    tools, choice = read_tools(top, losses), read_choice(top, losses)
    config = top.members("generationConfig")
    options = _options(config, losses) if config else {}
    if tier := top.text("serviceTier"):
        options["service_tier"] = raw_json(tier.lower().replace("standard", "default"))
    conversation = n.Conversation(
        system=_system(system, losses) if system else (),
        turns=tuple(contents.turns),
        tools=tools,
        choice=choice,
        thinking=_thinking(config),
        output=_output(config, losses),
        options=options,
    )
    if config:
        config.refuse_unread(losses)
    top.refuse_unread(losses)
    return conversation


def _system(system: Members, losses: Losses) -> tuple[n.Text, ...]:
    system.ignore("role")
    found = []
    for part in system.objects("parts"):
        if part.has("text"):
            found.append(n.Text(part.text("text") or ""))
        else:
            losses.refuse(part.place, "a system instruction can only have text", "systemInstruction.parts")
            part.ignore_all()
    return tuple(found)


def _options(config: Members, losses: Losses) -> dict[str, Raw]:
    found = {neutral: raw for neutral, name in _GENERATION.items() if (raw := config.raw(name)) is not None}
    if stops := config.texts("stopSequences"):
        found["stop"] = raw_json(stops)
    if config.has("responseModalities"):
        if [modality.upper() for modality in config.texts("responseModalities")] == ["TEXT"]:
            losses.drop("generationConfig.responseModalities")
        else:
            losses.refuse("generationConfig.responseModalities", "only text can be translated")
    for name in ("speechConfig", "imageConfig"):
        if config.has(name):
            losses.refuse(f"generationConfig.{name}", "only text can be translated")
    for name in ("mediaResolution", "enableEnhancedCivicAnswers", "audioTimestamp"):
        if config.has(name):
            losses.drop(f"generationConfig.{name}")
    return found


def _thinking(config: Members | None) -> n.Thinking | None:
    found = config.members("thinkingConfig") if config else None
    if found is None:
        return None
    level, budget = found.text("thinkingLevel"), found.integer("thinkingBudget")
    word = level.lower() if level and not level.upper().endswith("UNSPECIFIED") else None
    return n.Thinking(word, None if word else budget, show=bool(found.flag("includeThoughts")))


def _output(config: Members | None, losses: Losses) -> n.OutputFormat | None:
    if config is None:
        return None
    kind = config.text("responseMimeType")
    schema = config.raw("responseJsonSchema")
    if schema is None and (google := config.raw("responseSchema")) is not None:
        schema = from_google(google)
    if kind not in {None, "text/plain", "application/json", "text/x.enum"}:
        losses.refuse("generationConfig.responseMimeType", "the upstream cannot be held to this format")
    if kind == "text/x.enum":
        return n.OutputFormat("enum", schema)
    if schema is not None:
        return n.OutputFormat("schema", schema)
    return n.OutputFormat("json") if kind == "application/json" else None


class _Contents:
    """The contents read so far. Calls without an id get one from their position."""

    def __init__(self, losses: Losses, states: StateReader) -> None:
        self.losses = losses
        self.states = states
        self.turns: list[n.Turn] = []
        self.waiting: dict[str, OrderedDict[str, None]] = {}
        """Ids of the calls of the last turn of the model that have no response yet, by the name of the tool."""

    def add(self, content: OrdinaryContent) -> None:
        """Add an ordinary content. Raises Refusal if a response belongs to no call."""
        if content.role == "model":
            self.waiting = {}
        blocks: list[n.Block] = []
        for index, part in enumerate(content.parts):
            if part.text is not None:
                blocks.append(n.Text(part.text))
            elif (call := part.function_call) is not None:
                blocks.append(self.called(call.name, call.id, call.arguments, index))
            elif (response := part.function_response) is not None:
                identifier = self.answered(response.name, response.id)
                if identifier is None:
                    place = f"contents[{len(self.turns)}].parts[{index}].functionResponse"
                    raise cannot_translate(place, _NO_CALL)
                blocks.append(n.ToolResult(identifier, (n.Text(response.response.output),)))
        self.turns.append(n.Turn("assistant" if content.role == "model" else "user", tuple(blocks)))

    def read(self, content: Members) -> None:
        """Read one content. Raises Refusal if it cannot be translated."""
        role = content.text("role") or "user"
        if role not in {"user", "model", "function", "tool"}:
            raise cannot_translate(content.at("role"), "it must be user or model")
        if role == "model":
            self.waiting = {}
        blocks: list[n.Block] = []
        for index, part in enumerate(content.objects("parts")):
            blocks += self.part(part, index)
        content.drop_unread(self.losses)
        self.turns.append(n.Turn("assistant" if role == "model" else "user", tuple(blocks)))

    def part(self, part: Members, index: int) -> list[n.Block]:
        """Return the blocks of one part: what it holds, after the reasoning state that it carries."""
        names = part.values.keys()
        if len(names) == 1 and names.isdisjoint(_SPECIAL):
            return self.content(part, index)  # most parts
        for name in sorted(part.values.keys() & _OWN_PARTS):
            OWN_TOOLS.refuse(self.losses, part.at(name), "contents.parts", name)
            part.ignore_all()
            return []
        for name in sorted(part.values.keys() & _HINTS):
            part.ignore(name)
            self.losses.drop(f"contents.parts.{name}")
        signature, thought = part.text("thoughtSignature") or "", part.flag("thought")
        if signature in PLACEHOLDERS:
            signature = ""
        if thought and part.has("text"):
            return list(
                self.states.read_signature(signature, n.Reasoning(part.text("text"), issuer=n.ModelMaker.GEMINI))
            )
        blocks = self.content(part, index)
        if blocks and not isinstance(blocks[0], n.Text | n.ToolCall):
            return blocks
        bare = n.Reasoning(issuer=n.ModelMaker.GEMINI, attached="text" if part.has("text") else "call")
        return [*self.states.read_signature(signature, bare), *blocks]

    def content(self, part: Members, index: int) -> list[n.Block]:
        """Return what a part holds, without its reasoning state."""
        if (text := part.text("text")) is not None:
            return [n.Text(text)]
        if (call := part.members("functionCall")) is not None:
            return [self.call(call, index)]
        if (response := part.members("functionResponse")) is not None:
            return [self.response(response)]
        if (inline := part.members("inlineData")) is not None:
            found = media_type(inline.needed_text("mimeType"))
            place = inline.at("data")
            name = inline.text("displayName")
            block = block_of(found, standard_base64(inline.needed_text("data"), place), place, name)
            if name is not None and not isinstance(block, n.Document):
                self.losses.drop("contents.parts.inlineData.displayName")
            return [block]
        if (file := part.members("fileData")) is not None:
            return [self.file(file)]
        return []

    def call(self, call: Members, index: int) -> n.ToolCall:
        """Return a call of a tool."""
        name, arguments = call.needed_text("name"), call.raw("args")
        return self.called(name, call.text("id"), bytes(arguments).decode() if arguments is not None else "{}", index)

    def called(self, name: str, given: str | None, arguments: str, index: int) -> n.ToolCall:
        """Return a call with its id or one from its position, and wait for its response."""
        identifier = self.states.read_id(given)[0] if given else made_call_id(len(self.turns), index)
        self.waiting.setdefault(name, OrderedDict())[identifier] = None
        return n.ToolCall(identifier, name, arguments)

    def response(self, response: Members) -> n.ToolResult:
        """Return the result of a call."""
        identifier = self.answered(response.needed_text("name"), response.text("id"))
        if identifier is None:
            raise cannot_translate(response.place, _NO_CALL)
        text, failed = _response_text(response)
        content: list[n.Text | n.Media | n.Document] = [n.Text(text)]
        for part in response.objects("parts"):
            if (inline := part.members("inlineData")) is not None:
                place = inline.at("data")
                found = media_type(inline.needed_text("mimeType"))
                content.append(block_of(found, standard_base64(inline.needed_text("data"), place), place))
        for name in ("willContinue", "scheduling"):
            if response.has(name):
                self.losses.drop(f"contents.parts.functionResponse.{name}")
        return n.ToolResult(identifier, tuple(content), failed)

    def answered(self, name: str, given: str | None) -> str | None:
        """Return the id of the call that a response belongs to: the one with its id, or the next of its name."""
        waiting = self.waiting.get(name, OrderedDict())
        if given is not None:
            waiting.pop(given, None)
            return given
        return waiting.popitem(last=False)[0] if waiting else None

    def file(self, file: Members) -> n.Media | n.Document:
        """Return a medium that the provider fetches by its URL."""
        url = checked_url(file.needed_text("fileUri"), file.at("fileUri"))
        if "generativelanguage.googleapis.com" in url:
            raise cannot_translate(file.at("fileUri"), "the file is stored at Google; send its bytes")
        found = media_type(file.text("mimeType") or by_ending(url) or "")
        kind = kind_of(found)
        return n.Media(kind, found, url=url) if kind else n.Document(found or "application/pdf", url=url)


def _response_text(response: Members) -> tuple[str, bool]:
    found = response.members("response")
    if found is None:
        return "", False
    names = [*found.values]
    if len(names) == 2 and names[0] == "name" and found.text("name") == response.text("name"):
        del names[0]  # the Vercel AI SDK repeats the name of the function
    if len(names) == 1 and names[0] in {"output", "result", "content", "error"}:
        value = found.values[names[0]]
        text = found.text(names[0]) if is_text(value) else bytes(value).decode()
        return text or "", names[0] == "error"
    raw = response.raw("response")
    return (bytes(raw).decode() if names and raw is not None else ""), False
