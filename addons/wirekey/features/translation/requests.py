"""Translates one request: reads it in the client's format and writes it in the upstream's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from wirekey.features.translation import anthropic, converse, gemini, openai_chat, openai_responses
from wirekey.features.translation.betas import fit_betas
from wirekey.features.translation.context import Context
from wirekey.features.translation.losses import Losses
from wirekey.features.translation.members import encode
from wirekey.features.translation.neutral import Format

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wirekey.core.body import RequestBody
    from wirekey.features.translation.neutral import Conversation
    from wirekey.features.translation.reply import Reply
    from wirekey.features.translation.responses import TranslatedResponse
    from wirekey.features.translation.state import StateReader

    type Respond = Callable[[int, bytes, Reply, Mapping[str, str] | None], TranslatedResponse]

ANTHROPIC_VERSION = "2023-06-01"


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
    conversation: Conversation
    context: Context = field(repr=False)
    respond: Respond | None = None
    """Translates the response of another operation than a conversation."""
    label: str = ""
    """Both formats, if they are not those of the context."""


def read_request(form: Format, body: RequestBody, losses: Losses, states: StateReader, *, stream: bool) -> Conversation:
    """Read the body of a request in a format. `stream` is what the path says, where the path says it.

    Raises Refusal, with the path of the member, if the body cannot be translated.
    """
    match form:
        case Format.CHAT:
            return openai_chat.read_request(body, losses, states)
        case Format.RESPONSES:
            return openai_responses.read_request(body, losses, states)
        case Format.GEMINI:
            return gemini.read_request(body, losses, states, stream=stream)
        case Format.ANTHROPIC:
            return anthropic.read_request(body, losses, states)
        case Format.INVOKE:
            return anthropic.read_request(body, losses, states, stream=stream)
        case Format.CONVERSE:
            return converse.read_request(body, losses, states, stream=stream)


NAMES = {
    Format.CHAT: openai_chat.NAMES,
    Format.RESPONSES: openai_responses.NAMES,
    Format.GEMINI: gemini.NAMES,
    Format.ANTHROPIC: anthropic.NAMES,
    Format.INVOKE: anthropic.NAMES,
    Format.CONVERSE: converse.NAMES,
}
"""The client's names of neutral members, by format."""

WRITERS = {
    Format.CHAT: openai_chat.write_request,
    Format.RESPONSES: openai_responses.write_request,
    Format.GEMINI: gemini.write_request,
    Format.ANTHROPIC: anthropic.write_request,
    Format.INVOKE: anthropic.write_request,
    Format.CONVERSE: converse.write_request,
}
"""The function that writes a conversation as the members of a request, by format."""


def translate_request(  # noqa: PLR0917  # in the order in which a call is known
    client: Format,
    upstream: Format,
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
    context = Context(client, upstream, model, losses, NAMES[client], options.max_tokens, options.older_limit)
    conversation = read_request(client, body, losses, states, stream=stream)
    fit_betas(context, conversation.betas, options.betas)
    written = WRITERS[upstream](conversation, context)
    path, query = path_of(upstream, model, stream=conversation.stream)
    headers = {"content-type": "application/json"}
    if upstream is Format.ANTHROPIC:
        headers["anthropic-version"] = ANTHROPIC_VERSION
    return TranslatedRequest(path, query, headers, encode(written), conversation, context)


def path_of(upstream: Format, model: str, *, stream: bool) -> tuple[str, str]:
    """Return the path and the query of a request; Bedrock's model ids are percent-encoded as boto3 does it."""
    match upstream:
        case Format.CHAT:
            return "/v1/chat/completions", ""
        case Format.RESPONSES:
            return "/v1/responses", ""
        case Format.ANTHROPIC:
            return "/v1/messages", ""
        case Format.GEMINI:
            action = "streamGenerateContent" if stream else "generateContent"
            return f"/v1beta/models/{quote(model, safe='')}:{action}", "alt=sse" if stream else ""
        case Format.CONVERSE:
            return f"/model/{quote(model, safe='')}/{'converse-stream' if stream else 'converse'}", ""
        case Format.INVOKE:
            action = "invoke-with-response-stream" if stream else "invoke"
            return f"/model/{quote(model, safe='')}/{action}", ""
