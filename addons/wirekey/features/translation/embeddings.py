"""Embeddings: OpenAI's `embeddings`, Gemini's `embedContent` and `batchEmbedContents`, and Bedrock's Titan and Cohere.

The numbers of a vector stay as the provider wrote them, unless the client wants them as base64 of 32-bit floats.

Sources: https://platform.openai.com/docs/api-reference/embeddings, https://ai.google.dev/api/embeddings,
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html,
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-embed.html.
"""

from __future__ import annotations

import base64
import sys
from array import array
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
from msgspec import Raw

from wirekey.core.errors import Refusal
from wirekey.core.operation import MOST_TOKENS
from wirekey.features.translation import neutral as n
from wirekey.features.translation.context import Context
from wirekey.features.translation.failures import UNREADABLE, read_failure
from wirekey.features.translation.formats import FORMATS
from wirekey.features.translation.losses import Losses, cannot_translate
from wirekey.features.translation.members import Members, encode
from wirekey.features.translation.requests import Options, TranslatedRequest
from wirekey.features.translation.responses import TranslatedResponse, error_response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wirekey.core.body import RequestBody
    from wirekey.features.translation.reply import Reply

type Json = dict[str, object]

MOST_COHERE_TEXTS = 96


@dataclass(frozen=True, slots=True)
class Texts:
    """A request for vectors: its texts, and how many numbers each vector shall have (as JSON).

    `single` is True if the response has one vector and no list. `packed` is True if the client wants base64.
    """

    texts: tuple[str, ...]
    dimensions: Raw | None = None
    single: bool = False
    packed: bool = False


@dataclass(frozen=True, slots=True)
class AskedVectors:
    """The form in which programs ask for vectors, and get them."""

    texts: str
    """The member of a request that has the texts."""
    read_request: Callable[[RequestBody, Losses], Texts]
    write_response: Callable[[list[object], int | None, Texts, Reply], Json]
    """Returns the body for vectors and the tokens of the texts."""


@dataclass(frozen=True, slots=True)
class VectorFormat:
    """A format of embeddings. No attribute has a default, so none can be forgotten."""

    name: str
    """The name that headers and the audit use."""
    conversations: str
    """The format whose errors and headers of a response it has."""
    asked: AskedVectors | None
    """None: programs of this format are not translated."""
    write_request: Callable[[Texts, str, Losses, str], tuple[str, Json]]
    """Returns the path and the members for texts and a model, with the client's name of the texts. Raises Refusal."""
    read_vectors: Callable[[bytes, Mapping[str, str]], tuple[list[Raw], int | None]]
    """Returns the vectors of a body, and the tokens as the body or the headers say them. Raises DecodeError."""


def translate_embeddings(
    client: VectorFormat, upstream: VectorFormat, model: str, body: RequestBody, options: Options
) -> TranslatedRequest:
    """Return a request for vectors in the upstream's format. Raises Refusal if it cannot be translated."""
    losses = Losses(strict=options.strict, allowed=options.allowed, route=options.route)
    assert client.asked
    texts = client.asked.read_request(body, losses)
    path, request = upstream.write_request(texts, model, losses, client.asked.texts)
    return TranslatedRequest(
        path,
        "",
        {"content-type": "application/json"},
        encode(request),
        n.Conversation(),
        Context(FORMATS[client.conversations], FORMATS[upstream.conversations], model, losses),
        label=f"{client.name}>{upstream.name}",
        respond=partial(translate_vectors, client.asked, upstream, replace(texts, texts=())),
    )


# Requests.


def _read_openai(body: RequestBody, losses: Losses) -> Texts:
    top = Members.of(body, losses)
    top.ignore("model")
    if top.has("user"):
        losses.drop("user")
    only = top.text_alone("input")
    if only is None:
        try:
            texts = tuple(top.texts("input"))
        except Refusal:
            raise cannot_translate("input", "tokens of one provider mean nothing to another; send text") from None
    else:
        texts = (only,)
    if not texts:
        raise cannot_translate("input", "it is missing")
    encoding = top.text("encoding_format")
    found = Texts(texts, top.raw("dimensions"), packed=encoding == "base64")
    top.refuse_unread(losses)
    return found


def _read_gemini(body: RequestBody, losses: Losses) -> Texts:
    top = Members.of(body, losses, either_spelling=True)
    top.ignore("model")
    if not top.has("requests"):
        text, dimensions = _gemini_text(top, losses)
        top.refuse_unread(losses)
        return Texts((text,), dimensions, single=True)
    asked = []
    for request in top.objects("requests"):
        request.ignore("model")
        asked.append(_gemini_text(request, losses))
        request.drop_unread(losses)
    if not asked:
        raise cannot_translate("requests", "it is empty")
    if len({bytes(dimensions or b"") for _, dimensions in asked}) > 1:
        raise cannot_translate("requests.outputDimensionality", "it must be the same in all requests")
    top.refuse_unread(losses)
    return Texts(tuple(text for text, _ in asked), asked[0][1])


def _gemini_text(request: Members, losses: Losses) -> tuple[str, Raw | None]:
    for hint in ("taskType", "title"):
        if request.has(hint):
            losses.drop(hint)
    content = request.members("content")
    if content is None:
        raise cannot_translate(request.at("content"), "it is missing")
    texts = [part.needed_text("text") for part in content.objects("parts")]
    content.ignore("role")
    return "".join(texts), request.raw("outputDimensionality")


def _write_openai(asked: Texts, model: str, _: Losses, __: str) -> tuple[str, Json]:
    given: object = asked.texts[0] if len(asked.texts) == 1 else asked.texts
    found: Json = {"model": model, "input": given, "encoding_format": "float"}
    if asked.dimensions is not None:
        found["dimensions"] = asked.dimensions
    return "/v1/embeddings", found


def _write_gemini(asked: Texts, model: str, _: Losses, __: str) -> tuple[str, Json]:
    size: Json = {} if asked.dimensions is None else {"outputDimensionality": asked.dimensions}
    requests = [{"model": f"models/{model}", "content": {"parts": [{"text": text}]}, **size} for text in asked.texts]
    return f"/v1beta/models/{quote(model, safe='')}:batchEmbedContents", {"requests": requests}


def _write_titan(asked: Texts, model: str, _: Losses, name: str) -> tuple[str, Json]:
    if len(asked.texts) > 1:
        raise cannot_translate(name, "Titan makes one vector for each request")
    size: Json = {} if asked.dimensions is None else {"dimensions": asked.dimensions}
    return f"/model/{quote(model, safe='')}/invoke", {"inputText": asked.texts[0], **size}


def _write_cohere(asked: Texts, model: str, losses: Losses, name: str) -> tuple[str, Json]:
    if len(asked.texts) > MOST_COHERE_TEXTS:
        raise cannot_translate(name, f"Cohere makes at most {MOST_COHERE_TEXTS} vectors for each request")
    losses.adjust(name)  # Cohere demands to know what the texts are for
    found: Json = {"texts": asked.texts, "input_type": "search_document"}
    if asked.dimensions is not None:
        if "embed-v4" not in model:
            losses.refuse("dimensions", "this model makes vectors of one size")
        else:
            found |= {"output_dimension": asked.dimensions, "embedding_types": ["float"]}
    return f"/model/{quote(model, safe='')}/invoke", found


# Responses.


class _OpenAiVector(msgspec.Struct):
    embedding: Raw


class _OpenAi(msgspec.Struct):
    data: list[_OpenAiVector]
    usage: Any = None


_open_ai_decoder = msgspec.json.Decoder(_OpenAi)


class _GeminiVector(msgspec.Struct):
    values: Raw


class _Gemini(msgspec.Struct):
    embeddings: list[_GeminiVector]


_gemini_decoder = msgspec.json.Decoder(_Gemini)


class _Titan(msgspec.Struct, rename="camel"):
    embedding: Raw
    input_text_token_count: Any = None


_titan_decoder = msgspec.json.Decoder(_Titan)


class _CohereByType(msgspec.Struct):
    float: list[Raw]


_cohere_by_type_decoder = msgspec.json.Decoder(_CohereByType)


class _Cohere(msgspec.Struct):
    embeddings: Raw


_cohere_decoder = msgspec.json.Decoder(_Cohere)


def _openai_vectors(body: bytes, _: Mapping[str, str]) -> tuple[list[Raw], int | None]:
    found = _open_ai_decoder.decode(body)
    return [one.embedding for one in found.data], n.token_count(found.usage, "prompt_tokens")


def _gemini_vectors(body: bytes, _: Mapping[str, str]) -> tuple[list[Raw], int | None]:
    return [one.values for one in _gemini_decoder.decode(body).embeddings], None


def _titan_vectors(body: bytes, _: Mapping[str, str]) -> tuple[list[Raw], int | None]:
    found = _titan_decoder.decode(body)
    return [found.embedding], n.token_count(found.input_text_token_count)


def _cohere_vectors(body: bytes, headers: Mapping[str, str]) -> tuple[list[Raw], int | None]:
    given = _cohere_decoder.decode(body).embeddings
    if memoryview(given)[0] == ord("{"):
        vectors = _cohere_by_type_decoder.decode(given).float
    else:
        vectors = msgspec.json.decode(given, type=list[Raw])
    count = headers.get("x-amzn-bedrock-input-token-count", "")
    is_short = len(count) <= len(str(MOST_TOKENS)) and count.isascii() and count.isdigit()
    return vectors, n.token_count(int(count)) if is_short else None


def translate_vectors(  # noqa: PLR0917  # the request comes first, then the response as it is known
    client: AskedVectors,
    upstream: VectorFormat,
    asked: Texts,
    status: int,
    body: bytes,
    reply: Reply,
    headers: Mapping[str, str] | None = None,
) -> TranslatedResponse:
    """Return the vectors, or the error, in the client's format."""
    if status >= 400:
        return error_response(read_failure(reply.context.upstream.name, status, body, headers), reply)
    try:
        vectors, tokens = upstream.read_vectors(body, headers or {})
        written: list[object] = [base64_of(vector) if asked.packed else vector for vector in vectors]
    except (msgspec.DecodeError, RecursionError, OverflowError):
        return error_response(UNREADABLE, reply)
    found = client.write_response(written, tokens, asked, reply)
    return TranslatedResponse(200, {"content-type": "application/json"}, encode(found))


def _write_openai_vectors(vectors: list[object], tokens: int | None, _: Texts, reply: Reply) -> Json:
    if tokens is None:
        reply.context.losses.report("usage")
    data = [{"object": "embedding", "index": index, "embedding": one} for index, one in enumerate(vectors)]
    usage = {"prompt_tokens": tokens or 0, "total_tokens": tokens or 0}
    return {"object": "list", "data": data, "model": reply.context.model, "usage": usage}


def _write_gemini_vectors(vectors: list[object], _: int | None, asked: Texts, __: Reply) -> Json:
    values = [{"values": vector} for vector in vectors]
    return {"embedding": values[0]} if asked.single and values else {"embeddings": values}


def base64_of(vector: Raw) -> str:
    """Return a vector as base64 of little-endian 32-bit floats, as OpenAI's `encoding_format: base64` has it."""
    floats = array("f", msgspec.json.decode(vector, type=list[float]))
    if sys.byteorder == "big":
        floats.byteswap()
    return base64.b64encode(floats).decode()


_OPENAI = AskedVectors("input", _read_openai, _write_openai_vectors)
_GEMINI = AskedVectors("content", _read_gemini, _write_gemini_vectors)
VECTORS: Mapping[str, VectorFormat] = {
    form.name: form
    for form in (
        VectorFormat("openai.embeddings", "openai.chat", _OPENAI, _write_openai, _openai_vectors),
        VectorFormat("gemini.embeddings", "gemini", _GEMINI, _write_gemini, _gemini_vectors),
        VectorFormat("titan.embeddings", "converse", None, _write_titan, _titan_vectors),
        VectorFormat("cohere.embeddings", "converse", None, _write_cohere, _cohere_vectors),
    )
}
"""The formats of embeddings, by name."""
