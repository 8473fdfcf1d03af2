"""A wire format as one value, and the requests for vectors that have a format of their own.

The facts, edits, usage and errors of a format are the `ProviderOperations` of the same folder, with a method for each.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.providers.description import LimitHeaders
    from wirekey.providers.said import Places


@dataclass(frozen=True, slots=True)
class CallPaths:
    """The paths of a whole and of a streamed response, with `{model}` in them."""

    whole: str
    streamed: str

    @property
    def say_stream(self) -> bool:
        """Whether the path of a call says that its response is streamed."""
        return self.whole != self.streamed

    def of(self, model: str, *, stream: bool) -> tuple[str, str]:
        """Return the path and the query of a call."""
        path, _, query = filled(self.streamed if stream else self.whole, model).partition("?")
        return path, query


def filled(path: str, model: str) -> str:
    """Return a path with a model in place of `{model}`. Ids are percent-encoded as boto3 does it."""
    return path.replace("{model}", quote(model, safe=""))


class SystemPrompt(StrEnum):
    """The place of the system prompt in a request."""

    MESSAGE = "a message"
    INSTRUCTIONS = "a text in `instructions`"
    CONTENT = "a content in `systemInstruction`"
    TEXT_OR_BLOCKS = "a text or blocks in `system`"
    BLOCKS = "blocks in `system`"
    OF_MODEL = "what the model's maker has"


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A wire format: its operations and its names. No attribute has a default, so none can be forgotten."""

    name: str
    """The name that configuration, headers and the audit use."""
    called: str | None
    """The provider whose API it is. None: a path of this provider does not say that the call is in the format."""
    conversations: tuple[str, ...]
    """Operations that continue a conversation."""
    counts: tuple[str, ...]
    """Operations that count the tokens of a conversation."""
    counted_in: str | None
    """The format in which its provider counts tokens, if a server that has only this format cannot count them."""
    connections: tuple[str, ...]
    """Operations that open a connection whose messages have the requests of this format."""
    others: tuple[str, ...]
    vectors: str | None
    """Its own format of requests for vectors. None: if it has such requests, they are in OpenAI's format."""
    turns: str
    """The member of a request with the messages."""
    system: SystemPrompt
    said: Places
    """The places in a response, and in the events of a stream, of what the model says."""
    paths: CallPaths
    headers: Mapping[str, str]
    """The headers of a request beside its content type."""
    request_id: str | None
    """The header of a response with the id of its request."""
    limits: LimitHeaders | None
    """The headers of a response with rate limits."""
    otel_operation: str | None
    """`gen_ai.operation.name` of its conversations. None: the name of the operation itself."""


@dataclass(frozen=True, slots=True)
class VectorOperations:
    """A format of requests for vectors, and its operations."""

    name: str
    operations: tuple[str, ...]
