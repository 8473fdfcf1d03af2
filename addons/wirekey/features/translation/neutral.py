"""The neutral form of a conversation, a response and the events of a stream.

Every format reads its requests into a `Conversation` and writes its requests from one; the same holds for `Answer` and
for the events of a stream. JSON that a program wrote itself, such as the schema of a tool or the arguments of a call,
stays text: it is never decoded and encoded again, so that digits and the order of members survive.

The values are structs of msgspec, as a large request makes hundreds of them: one takes a tenth of the time of a frozen
dataclass. None of them refers back to another, so the garbage collector need not look at them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec
from msgspec import Raw

from wirekey.core.operation import MOST_TOKENS


class ModelMaker(StrEnum):
    """The maker of a reasoning state. Only models of the same maker can read it."""

    OPENAI = "openai"
    GEMINI = "gemini"
    CLAUDE = "claude"
    OTHER = "other"


class CacheMark(msgspec.Struct, frozen=True, gc=False):
    """The end of a part of the prompt that the provider is asked to cache. `ttl` is such as `5m` or `1h`."""

    ttl: str | None = None


class Text(msgspec.Struct, frozen=True, gc=False):
    """A block of text."""

    text: str
    cache: CacheMark | None = None
    annotations: tuple[Citation, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()


class TokenLogprob(msgspec.Struct, frozen=True, gc=False):
    """A token of a response, its log probability, and the likeliest tokens in its place."""

    token: str
    logprob: float
    top: tuple[TokenLogprob, ...] = ()


class Citation(msgspec.Struct, frozen=True, gc=False):
    """A web source that a response cites, for the characters `start` to `end` of its block; None: for the whole."""

    url: str
    title: str = ""
    start: int | None = None
    end: int | None = None


class Media(msgspec.Struct, frozen=True, gc=False):
    """An image, audio or video: either `data`, which is standard base64, or `url`."""

    kind: Literal["image", "audio", "video"]
    media_type: str
    data: str | None = None
    url: str | None = None
    cache: CacheMark | None = None
    detail: str | None = None
    """OpenAI's word for how closely an image is looked at."""


class Document(msgspec.Struct, frozen=True, gc=False):
    """A document: one of `data` (standard base64), `text` and `url`. `citations` is the JSON of that option."""

    media_type: str
    data: str | None = None
    text: str | None = None
    url: str | None = None
    name: str | None = None
    context: str | None = None
    citations: Raw | None = None
    cache: CacheMark | None = None


class Reasoning(msgspec.Struct, frozen=True, gc=False):
    """Reasoning of a model: text that may be shown, and the state that the model wants back.

    `attached` says which block the state belongs to: a Gemini signature stands on the part that follows it. `issuer` is
    None if nobody wants the block back.
    """

    text: str | None = None
    state: str | None = None
    issuer: ModelMaker | None = None
    redacted: bool = False
    attached: Literal["", "text", "call"] = ""
    item: str | None = None
    """The id of the item, in OpenAI's Responses."""
    binary: bool = False
    """True if the state is base64 of bytes that are no text. Only Converse has such states."""


class ToolCall(msgspec.Struct, frozen=True, gc=False):
    """A call of a tool. `arguments` is the JSON text of an object, or what there is of it if the call was cut off."""

    id: str
    name: str
    arguments: str
    cache: CacheMark | None = None


class ToolResult(msgspec.Struct, frozen=True, gc=False):
    """The result of the call with the id `call`."""

    call: str
    content: tuple[Text | Media | Document, ...]
    failed: bool = False
    cache: CacheMark | None = None


type Block = Text | Media | Document | Reasoning | ToolCall | ToolResult
type Role = Literal["user", "assistant"]


class Turn(msgspec.Struct, frozen=True, gc=False):
    """The blocks that the user or the assistant says before the other one speaks."""

    role: Role
    blocks: tuple[Block, ...]


class Tool(msgspec.Struct, frozen=True, gc=False):
    """A function that the model may call. `schema` is the JSON Schema of its arguments, as the program wrote it.

    A `custom` tool takes free text instead of an object.
    """

    name: str
    description: str | None = None
    schema: Raw | None = None
    strict: bool | None = None
    custom: bool = False
    cache: CacheMark | None = None


class ToolChoice(msgspec.Struct, frozen=True, gc=False):
    """Which tools the model may or must call. `names` limits it; `one` names a single tool that it must call."""

    mode: Literal["auto", "required", "none", "one"]
    names: tuple[str, ...] = ()


class OutputFormat(msgspec.Struct, frozen=True, gc=False):
    """The form that the text of the response must have: any JSON, JSON of a schema, or one word of an enumeration."""

    kind: Literal["json", "schema", "enum"]
    schema: Raw | None = None
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


class Thinking(msgspec.Struct, frozen=True, gc=False):
    """How much the model should reason: by `effort`, by `budget` in tokens, or as it likes.

    `show` is True if the client can show the text of the reasoning.
    """

    effort: str | None = None
    budget: int | None = None
    show: bool = False


class ClaudeThinking(msgspec.Struct, frozen=True, gc=False):
    """How Claude should reason, as its own formats say it: two members that do not depend on each other.

    `kind` is the type of `thinking`, with its budget and display, or None without that member. `effort` stands apart.
    """

    kind: str | None = None
    budget: int | None = None
    display: str | None = None
    effort: str | None = None


class Conversation(msgspec.Struct, frozen=True, gc=False):
    """A request in the neutral form.

    `options` has the members that need no thought, by their neutral names (`temperature`, `seed`, …), as the JSON that
    the program wrote. `include_usage` is False if the client streams and did not ask for usage.
    """

    system: tuple[Text, ...] = ()
    turns: tuple[Turn, ...] = ()
    tools: tuple[Tool, ...] = ()
    choice: ToolChoice | None = None
    parallel: bool | None = None
    thinking: Thinking | None = None
    claude: ClaudeThinking | None = None
    """The same as a client of a format of Claude says it, for a Claude that is called in a different format."""
    output: OutputFormat | None = None
    options: dict[str, Raw] = {}
    stream: bool = False
    include_usage: bool = True
    legacy_functions: bool = False
    """True if the client uses `functions` of OpenAI's Chat Completions, and expects `function_call` in the response."""
    repeated: dict[str, Raw] = {}
    """Members of the request that the response repeats, in OpenAI's Responses."""
    betas: tuple[str, ...] = ()
    """Beta flags of Anthropic's API in the body."""


class Finish(StrEnum):
    """Why a response ended."""

    END = "end"
    STOP_SEQUENCE = "stop_sequence"
    CALLS = "calls"
    LIMIT = "limit"
    WINDOW = "window"
    FILTERED = "filtered"
    OTHER = "other"


class TokenUsage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one response. `input` counts all input, the cached and written parts included. None is unknown.

    `input_audio` and `output_audio` are the parts of both that are audio.
    """

    input: int | None = None
    cached: int | None = None
    written: int | None = None
    output: int | None = None
    reasoning: int | None = None
    input_audio: int | None = None
    output_audio: int | None = None


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A whole response in the neutral form."""

    id: str | None
    model: str | None
    blocks: tuple[Block, ...]
    finish: Finish
    usage: TokenUsage
    stop_sequence: str | None = None
    native_finish: str | None = None
    others: tuple[tuple[tuple[Block, ...], Finish], ...] = ()
    """Further responses to the same request, if the client asked for several."""


class Begin(msgspec.Struct, frozen=True, gc=False):
    """The start of a streamed response, with the usage as far as it is known."""

    id: str | None
    model: str | None
    usage: TokenUsage = TokenUsage()


class BlockBegin(msgspec.Struct, frozen=True, gc=False):
    """The start of a block. A call has an `id` and a `name`."""

    index: int
    kind: Literal["text", "reasoning", "call"]
    id: str | None = None
    name: str | None = None


class Delta(msgspec.Struct, frozen=True, gc=False):
    """Text of the open block: text, text of reasoning, or the next piece of the arguments of a call."""

    index: int
    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


class StateDelta(msgspec.Struct, frozen=True, gc=False):
    """The reasoning state of the open block."""

    index: int
    reasoning: Reasoning


class CitationDelta(msgspec.Struct, frozen=True, gc=False):
    """A source of the open block of text."""

    index: int
    citation: Citation


class BlockEnd(msgspec.Struct, frozen=True, gc=False):
    """The end of a block."""

    index: int


class UsageUpdate(msgspec.Struct, frozen=True, gc=False):
    """The tokens counted so far. Each update replaces the members that it knows."""

    usage: TokenUsage


class Stop(msgspec.Struct, frozen=True, gc=False):
    """The reason why the response ends."""

    finish: Finish
    stop_sequence: str | None = None
    native: str | None = None


class ProviderError(msgspec.Struct, frozen=True, gc=False):
    """An error of the provider. `status` is the HTTP status that it has or stands for."""

    status: int
    message: str
    code: str = ""
    retry_after: float | None = None
    """Seconds."""

    @property
    def is_callers(self) -> bool:
        """Whether it is the caller's fault."""
        return 400 <= self.status < 500 and self.status != 424


class Ping(msgspec.Struct, frozen=True, gc=False):
    """A sign of life without content."""


class End(msgspec.Struct, frozen=True, gc=False):
    """The end of the stream, after its reason and its usage."""


type Event = (
    Begin | BlockBegin | Delta | StateDelta | CitationDelta | BlockEnd | UsageUpdate | Stop | ProviderError | Ping | End
)


def token_count(usage: object, *names: str) -> int | None:
    """Return the count under these names of a `usage` member, one inside the other. None: it is absent or absurd."""
    found = usage
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return found if type(found) is int and 0 <= found <= MOST_TOKENS else None


def merge_usage(known: TokenUsage, update: TokenUsage) -> TokenUsage:
    """Return `known` with each member that `update` knows."""
    return TokenUsage(
        *(new if new is not None else old for old, new in zip(_members(known), _members(update), strict=True))
    )


def _members(usage: TokenUsage) -> tuple[int | None, ...]:
    return (
        usage.input,
        usage.cached,
        usage.written,
        usage.output,
        usage.reasoning,
        usage.input_audio,
        usage.output_audio,
    )
