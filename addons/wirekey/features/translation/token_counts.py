"""Counts of tokens: the same translation as of the request that is counted, without its limits and sampling options.

Each provider has an operation that counts. A server that is spoken to in Chat Completions has none.

Sources: https://platform.openai.com/docs/api-reference/responses/input-tokens,
https://ai.google.dev/api/tokens, https://docs.claude.com/en/api/messages-count-tokens,
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_CountTokens.html.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec
from msgspec import Raw, structs

from wirekey.features.translation import anthropic, converse, gemini, openai_responses
from wirekey.features.translation.betas import fit_betas
from wirekey.features.translation.context import Context
from wirekey.features.translation.failures import UNREADABLE, read_failure
from wirekey.features.translation.losses import Losses, cannot_translate
from wirekey.features.translation.members import Members, encode
from wirekey.features.translation.neutral import Format, token_count
from wirekey.features.translation.requests import ANTHROPIC_VERSION, NAMES, Options, TranslatedRequest, read_request
from wirekey.features.translation.responses import TranslatedResponse, error_response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.core.body import RequestBody
    from wirekey.features.translation.neutral import Conversation
    from wirekey.features.translation.reply import Reply
    from wirekey.features.translation.state import StateReader

_LIMIT = Raw(b"1000000")
"""A limit that leaves room for any reasoning. It is not sent."""
_COUNTED = {
    Format.RESPONSES: {"model", "input", "instructions", "parallel_tool_calls", "reasoning", "text", "tool_choice",
                       "tools"},
    Format.GEMINI: {"contents", "systemInstruction", "tools", "toolConfig"},
    Format.ANTHROPIC: {"model", "messages", "system", "thinking", "tool_choice", "tools", "output_config"},
    Format.CONVERSE: {"messages", "system", "toolConfig", "additionalModelRequestFields"},
}  # fmt: skip
"""The members of a request that an operation of counting accepts."""
_WRITERS = {
    Format.RESPONSES: openai_responses.write_request,
    Format.GEMINI: gemini.write_request,
    Format.ANTHROPIC: anthropic.write_request,
    Format.CONVERSE: converse.write_request,
}
_NUMBERS = {
    Format.RESPONSES: "input_tokens",
    Format.GEMINI: "totalTokens",
    Format.ANTHROPIC: "input_tokens",
    Format.CONVERSE: "inputTokens",
}
"""The member of a response that has the number of tokens."""
COUNTING_FORMAT = {Format.INVOKE: Format.CONVERSE}
"""The format in which tokens are counted for a format, if it is another one."""


def translate_count(  # noqa: PLR0917  # in the order in which a call is known
    client: Format, upstream: Format, model: str, body: RequestBody, states: StateReader, options: Options
) -> TranslatedRequest:
    """Return a request that counts tokens in the upstream's format. Raises Refusal if it cannot be translated."""
    losses = Losses(strict=options.strict, allowed=options.allowed, route=options.route)
    upstream = COUNTING_FORMAT.get(upstream, upstream)
    context = Context(client, upstream, model, losses, NAMES[client])
    conversation = read_request(client, counted_request(client, body), losses, states, stream=False)
    fit_betas(context, conversation.betas, options.betas)
    # Limits and sampling do not count, so nothing is lost with them.
    counted: Conversation = structs.replace(conversation, options={"max_tokens": _LIMIT}, stream=False)
    written = _WRITERS[upstream](counted, context)
    members = {name: value for name, value in written.items() if name in _COUNTED[upstream]}
    path, request = _request_of(upstream, model, members)
    headers = {"content-type": "application/json"}
    if upstream is Format.ANTHROPIC:
        headers["anthropic-version"] = ANTHROPIC_VERSION
    return TranslatedRequest(path, "", headers, encode(request), counted, context, respond=translate_count_response)


def counted_request(client: Format, body: RequestBody) -> RequestBody:
    """Return the request that a client wants counted. Gemini and Bedrock can have it inside another object."""
    if client is Format.GEMINI:
        inner = Members.of(body, either_spelling=True).raw("generateContentRequest")
        return body if inner is None else bytes(inner)
    if client is Format.CONVERSE:
        given = Members.of(body).members("input")
        inner = given.raw("converse") if given else None
        if inner is None:
            raise cannot_translate("input", "only a request of Converse can be counted here; send `input.converse`")
        return bytes(inner)
    return body


def _request_of(upstream: Format, model: str, members: dict[str, object]) -> tuple[str, dict[str, object]]:
    match upstream:
        case Format.RESPONSES:
            return "/v1/responses/input_tokens", members
        case Format.GEMINI:
            request = {"model": f"models/{model}", **members}
            return f"/v1beta/models/{quote(model, safe='')}:countTokens", {"generateContentRequest": request}
        case Format.ANTHROPIC:
            return "/v1/messages/count_tokens", members
        case _:
            return f"/model/{quote(model, safe='')}/count-tokens", {"input": {"converse": members}}


def translate_count_response(
    status: int, body: bytes, reply: Reply, headers: Mapping[str, str] | None = None
) -> TranslatedResponse:
    """Return the number of tokens, or the error, in the client's format."""
    upstream, client = reply.context.upstream, reply.context.client
    if status >= 400:
        return error_response(read_failure(upstream, status, body, headers), reply)
    try:
        count = token_count(msgspec.json.decode(body), _NUMBERS[upstream])
    except (msgspec.DecodeError, RecursionError):
        count = None
    if count is None:
        return error_response(UNREADABLE, reply)
    found: dict[str, object] = {_NUMBERS[client]: count}
    if client is Format.RESPONSES:
        found = {"object": "response.input_tokens", **found}
    return TranslatedResponse(200, {"content-type": "application/json"}, encode(found))
