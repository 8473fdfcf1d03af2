"""A format as one value: its reader, its writer, and each decision that depends on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from wirekey.features.translation.format_rules import FormatRules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from msgspec import Raw

    from wirekey.core.body import RequestBody
    from wirekey.features.translation import neutral as n
    from wirekey.features.translation.context import Context
    from wirekey.features.translation.event_writer import EventWriter
    from wirekey.features.translation.losses import Losses
    from wirekey.features.translation.models import Traits
    from wirekey.features.translation.reply import Reply
    from wirekey.features.translation.state import StateReader

type Json = dict[str, object]


class EventReader(Protocol):
    """Reads the bytes of a stream as neutral events.

    It raises one of `WRONG_TYPES` at an event with members of other types, after it has yielded those before it.
    """

    def text_of(self, data: bytes) -> n.Delta | None:
        """Return the event of bytes that are one whole event with text and nothing else, as most chunks are.

        None: the bytes are something else, or the reader cannot tell. Then `feed` must get them.
        """

    def feed(self, data: bytes) -> Iterable[n.Event]:
        """Yield the events that the next bytes complete."""

    def end(self) -> Iterable[n.Event]:
        """Yield the last events of a stream that ended cleanly."""


@dataclass(frozen=True, slots=True)
class TokenCounting:
    """The operation that counts the tokens of a format."""

    form: str
    """The format of its requests. InvokeModel has no such operation: its tokens are counted in Converse."""
    path: str
    members: frozenset[str]
    """The members of a request that the operation accepts."""
    inner: Callable[[RequestBody], RequestBody]
    """Returns the request that a client wants counted, which may be inside another object. Raises Refusal."""
    request: Callable[[str, Json], Json]
    """Returns the body for a model and the members of a request."""
    number: str
    """The member of a response that has the number of tokens."""
    beside: Mapping[str, object]
    """The members of a response beside the number."""


@dataclass(frozen=True, slots=True)
class StatePlaces:
    """The places of reasoning state in a request.

    They are in the list of turns, or in the list `blocks` of each turn. `edit` edits one for a model with some traits,
    and returns whether it stays. Without one of the `marks` in it, a request has no state. `in_each`: what all marks
    have in common, which one search finds.
    """

    blocks: str | None
    marks: tuple[bytes, ...]
    edit: Callable[[dict[str, Raw], Traits], bool]
    in_each: bytes = b""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TranslatedFormat(FormatRules):
    """A wire format as translation needs it. No attribute has a default, so none can be forgotten."""

    usual_model: str
    read_request: Callable[[RequestBody, Losses, StateReader], n.Conversation]
    """Reads a body. Raises Refusal, with the path of the member, if it cannot be translated."""
    write_request: Callable[[n.Conversation, Context], Json]
    """Returns the members of a body. Raises Refusal for what the upstream cannot be asked."""
    counting: TokenCounting | None
    state_places: StatePlaces
    read_response: Callable[[bytes], n.Answer | n.ProviderError]
    write_response: Callable[[n.Answer, Reply], Json]
    event_reader: Callable[[], EventReader]
    event_writer: Callable[[Reply], EventWriter]
    stream_type: Callable[[str], str]
    """Returns the content type of a stream, for the query of the request."""
    interleaves: bool
    """Whether several blocks of a stream may be open at once."""
    cites: bool
    """Whether a response can cite web sources of another provider."""
    error: Callable[[n.ProviderError], tuple[int, Json]]
    """Returns the status and the body of an error."""
    error_headers: Callable[[n.ProviderError], Mapping[str, str]]
    """Returns the headers of an error beside its content type and `retry-after`."""
