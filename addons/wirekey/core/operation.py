"""Values that describe a call: its operation, the facts of its request, and the usage of its response.

An *operation* is what an endpoint does (`chat.completions`, `generateContent`, `converse`). *Facts* are what audit and
policy learn from a request: names and counts, never content. *Usage* is what a `ResponseReader` learns from the bytes
of a response as they pass.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from wirekey.core.body import Body


MOST_TOKENS = 100_000_000
"""A larger count of a provider is ignored. It is ten times the largest context of any model."""


type Modifiers = tuple[tuple[str, str], ...]
"""Modifiers of the price of tokens, by name: `("service_tier", "priority")`, `("speed", "fast")`. Each name once."""
LONG_CACHE = ("cache_ttl", "1h")
"""The modifier of a request that may write tokens to a cache for an hour."""
type ToolUses = tuple[tuple[str, int | None], ...]
"""Tools of the provider that cost a fee for each use, with the number of uses. None: no limit is known."""


class Kind(StrEnum):
    """The effect of an operation on the account, for permissions and policy."""

    INFERENCE = "inference"
    LISTING = "listing"  # reads what is public to the account: models
    COMPANION = "companion"  # settings and telemetry of coding agents, on a provider's host
    LOGIN = "login"  # signs a program in with an account of its own: its tokens, and the project of the account
    STORAGE = "storage"  # files, batches, stored responses, caches: shared by all who use the account
    ADMINISTRATION = "administration"  # members, keys, limits and settings of the account; keys for clients
    OTHER = "other"  # a path of the provider that is not documented; its body is not read


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a provider, as found by method and path."""

    name: str
    body: Body
    kind: Kind
    model: str | None = None
    """The model that the path names, decoded. None if the body names it, or the operation has no model."""
    stream: bool = False
    """True if the path alone says that the response is a stream (streamGenerateContent, converse-stream)."""


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts of one request. None means that the operation has no such thing."""

    model: str | None = None
    stream: bool = False
    message_count: int | None = None
    has_system: bool | None = None
    has_tools: bool | None = None
    tool_count: int | None = None
    max_tokens: int | None = None
    tools: tuple[str, ...] = ()
    """Names of the tools offered, for policy; not in the audit event."""
    other_models: tuple[str, ...] = ()
    """Other models that the request names and that may respond or help. For policy; not in the audit event."""
    choices: int | None = None
    """How many responses are generated, if the request says so. For quotas; not in the audit event."""
    asks_usage: bool = True
    """False only if the client streams and did not ask for the usage event that the provider can send."""
    modifiers: Modifiers = ()
    """The modifiers of the price that the request asks for."""
    paid_tools: ToolUses = ()
    """The tools with a fee that the request offers, with the most uses that it allows."""
    reads_elsewhere: bool = False
    """Whether the provider may read input that is not in the request: earlier responses, files, pages, what its own
    tools find. For quotas; not in the audit event."""
    reasoning: str | int | None = None
    """The effort of reasoning that the request asks for, or its limit of tokens. For quotas; not in the audit event."""


@dataclass(slots=True)
class Usage:
    """The usage of one response, in tokens. None means that the provider did not report it.

    A reader records the provider's own counts. In a `Call`, `input_tokens` has all input, for every provider.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    reasoning_tokens: int | None = None
    finish_reason: str | None = None
    model: str | None = None
    """The model that the response names, for the price."""
    cache_write_tokens: int | None = None
    """Input tokens that the provider wrote to its cache."""
    audio_input_tokens: int | None = None
    audio_output_tokens: int | None = None
    image_input_tokens: int | None = None
    image_output_tokens: int | None = None
    video_input_tokens: int | None = None
    video_output_tokens: int | None = None
    long_cache_write_tokens: int | None = None
    """Those of `cache_write_tokens` that stay in the cache for an hour, which costs more."""
    modifiers: Modifiers = ()
    """The modifiers of the price that the response reports."""
    tool_uses: ToolUses = ()
    """The uses of tools with a fee, as far as responses report them. None: their number is not known."""

    def plus(self, other: Usage) -> Usage:
        """Return the sum of two parts of one response. Of reasons and models, the first that is known stays."""
        return Usage(
            added(self.input_tokens, other.input_tokens),
            added(self.output_tokens, other.output_tokens),
            added(self.cached_input_tokens, other.cached_input_tokens),
            added(self.reasoning_tokens, other.reasoning_tokens),
            self.finish_reason or other.finish_reason,
            self.model or other.model,
            added(self.cache_write_tokens, other.cache_write_tokens),
            added(self.audio_input_tokens, other.audio_input_tokens),
            added(self.audio_output_tokens, other.audio_output_tokens),
            added(self.image_input_tokens, other.image_input_tokens),
            added(self.image_output_tokens, other.image_output_tokens),
            added(self.video_input_tokens, other.video_input_tokens),
            added(self.video_output_tokens, other.video_output_tokens),
            added(self.long_cache_write_tokens, other.long_cache_write_tokens),
            tuple((dict(other.modifiers) | dict(self.modifiers)).items()),
            tuple(
                (name, added(dict(self.tool_uses).get(name), dict(other.tool_uses).get(name)))
                for name in dict(self.tool_uses) | dict(other.tool_uses)
            ),
        )

    def with_cached_input(self) -> Usage:
        """Return the usage of a provider that counts cached and written tokens apart, with them in `input_tokens`."""
        if self.input_tokens is None:
            return self
        return replace(
            self, input_tokens=self.input_tokens + (self.cached_input_tokens or 0) + (self.cache_write_tokens or 0)
        )


def with_modifier(modifiers: Modifiers, name: str, value: str) -> Modifiers:
    """Return modifiers with one of them set."""
    return tuple((dict(modifiers) | {name: value}).items())


def added(first: int | None, second: int | None) -> int | None:
    """Return the sum of two counts; None only if both are unknown."""
    return None if first is None and second is None else (first or 0) + (second or 0)


class ResponseReader(Protocol):
    """Learns from the bytes of one response as they pass, with its Content-Encoding removed.

    It holds at most one unfinished event, of limited length, never raises, whatever the provider sends, and keeps no
    content. `finished` is True once a stream came to its end, or a JSON body was parsed. `error_type` is the provider's
    type of an error inside a stream.
    """

    usage: Usage
    finished: bool
    error_type: str | None

    def feed(self, data: bytes) -> None:
        """Read the next bytes of the response."""

    def end(self) -> None:
        """Read what is left once the response has ended."""
