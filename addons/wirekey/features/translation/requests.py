"""Translates one request: reads it in the client's format and writes it in the upstream's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgspec import structs

from wirekey.features.translation.betas import fit_betas
from wirekey.features.translation.context import Context
from wirekey.features.translation.losses import Losses
from wirekey.features.translation.members import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wirekey.core.body import RequestBody
    from wirekey.features.translation import neutral as n
    from wirekey.features.translation.format import TranslatedFormat
    from wirekey.features.translation.reply import Reply
    from wirekey.features.translation.responses import TranslatedResponse
    from wirekey.features.translation.state import StateReader

    type Respond = Callable[[int, bytes, Reply, Mapping[str, str] | None], TranslatedResponse]


@dataclass(frozen=True, slots=True)
class Options:
    """The settings of the operator and the client for a translation.

    `strict` refuses each loss. `allowed` has the refused members that the operator lets go. `max_tokens` is the limit
    for an upstream that demands one. `older_limit` is True for a server in Chat Completions that may only know
    `max_tokens`. `route` is what messages call the route. `betas` has the flags of the client's header
    `anthropic-beta`.
    """

    strict: bool = False
    allowed: frozenset[str] = frozenset()
    max_tokens: int = 8192
    older_limit: bool = False
    route: str = "the route"
    betas: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TranslatedRequest:
    """A request for the upstream, and what its response needs to be translated back."""

    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    conversation: n.Conversation
    context: Context = field(repr=False)
    respond: Respond | None = None
    """Translates the response of another operation than a conversation."""
    label: str = ""
    """Both formats, if they are not those of the context."""


def read_request(
    form: TranslatedFormat, body: RequestBody, losses: Losses, states: StateReader, *, stream: bool
) -> n.Conversation:
    """Read the body of a request in a format. `stream` is what the path says, where the path says it.

    Raises Refusal, with the path of the member, if the body cannot be translated.
    """
    found = form.read_request(body, losses, states)
    return structs.replace(found, stream=True) if stream and form.wire.paths.say_stream else found


def translate_request(  # noqa: PLR0917  # in the order in which a call is known
    client: TranslatedFormat,
    upstream: TranslatedFormat,
    model: str,
    body: RequestBody,
    states: StateReader,
    options: Options | None = None,
    *,
    stream: bool = False,
) -> TranslatedRequest:
    """Return the request in the upstream's format, with `model` as its model.

    The same arguments give the same bytes. Raises Refusal if a member cannot be translated.
    """
    options = options or Options()
    losses = Losses(strict=options.strict, allowed=options.allowed, route=options.route)
    context = Context(client, upstream, model, losses, options.max_tokens, options.older_limit)
    conversation = read_request(client, body, losses, states, stream=stream)
    fit_betas(context, conversation.betas, options.betas)
    written = upstream.write_request(conversation, context)
    path, query = upstream.wire.paths.of(model, stream=conversation.stream)
    headers = {"content-type": "application/json", **upstream.wire.headers}
    return TranslatedRequest(path, query, headers, encode(written), conversation, context)
