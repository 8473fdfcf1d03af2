"""Counts of tokens: the same translation as of the request that is counted, without its limits and sampling options.

Each provider has an operation that counts. A server that is spoken to in Chat Completions has none.

Sources: https://platform.openai.com/docs/api-reference/responses/input-tokens,
https://ai.google.dev/api/tokens, https://docs.claude.com/en/api/messages-count-tokens,
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_CountTokens.html.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw, structs

from wirekey.features.translation import neutral as n
from wirekey.features.translation.betas import fit_betas
from wirekey.features.translation.context import Context
from wirekey.features.translation.failures import UNREADABLE, read_failure
from wirekey.features.translation.formats import FORMATS, format_of
from wirekey.features.translation.losses import Losses
from wirekey.features.translation.members import encode
from wirekey.features.translation.requests import Options, TranslatedRequest, read_request
from wirekey.features.translation.responses import TranslatedResponse, error_response
from wirekey.providers.format import filled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.core.body import RequestBody
    from wirekey.features.translation.format import TranslatedFormat
    from wirekey.features.translation.reply import Reply
    from wirekey.features.translation.state import StateReader

_LIMIT = Raw(b"1000000")
"""A limit that leaves room for any reasoning. It is not sent."""


def translate_count(  # noqa: PLR0917  # in the order in which a call is known
    client: TranslatedFormat,
    upstream: TranslatedFormat,
    model: str,
    body: RequestBody,
    states: StateReader,
    options: Options,
) -> TranslatedRequest:
    """Return a request that counts tokens in the upstream's format. Raises Refusal if it cannot be translated."""
    losses = Losses(strict=options.strict, allowed=options.allowed, route=options.route)
    assert client.counting
    assert upstream.counting
    counting, upstream = upstream.counting, FORMATS[upstream.counting.form]
    context = Context(client, upstream, model, losses)
    conversation = read_request(client, client.counting.inner(body), losses, states, stream=False)
    fit_betas(context, conversation.betas, options.betas)
    # Limits and sampling do not count, so nothing is lost with them.
    counted: n.Conversation = structs.replace(conversation, options={"max_tokens": _LIMIT}, stream=False)
    written = upstream.write_request(counted, context)
    members = {name: value for name, value in written.items() if name in counting.members}
    request = counting.request(model, members)
    headers = {"content-type": "application/json", **upstream.wire.headers}
    path = filled(counting.path, model)
    return TranslatedRequest(path, "", headers, encode(request), counted, context, respond=translate_count_response)


def translate_count_response(
    status: int, body: bytes, reply: Reply, headers: Mapping[str, str] | None = None
) -> TranslatedResponse:
    """Return the number of tokens, or the error, in the client's format."""
    upstream, client = format_of(reply.context.upstream).counting, format_of(reply.context.client).counting
    assert upstream
    assert client
    if status >= 400:
        return error_response(read_failure(upstream.form, status, body, headers), reply)
    try:
        count = n.token_count(msgspec.json.decode(body), upstream.number)
    except (msgspec.DecodeError, RecursionError):
        count = None
    if count is None:
        return error_response(UNREADABLE, reply)
    found = {**client.beside, client.number: count}
    return TranslatedResponse(200, {"content-type": "application/json"}, encode(found))
