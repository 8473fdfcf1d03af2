"""Makes a request ask for another model, in each provider's shape. Pure.

Only the bytes of the model's name differ: prompt caches and hashes of clients survive. Where a request leaves the
choice to the provider, the name is added; where it asks for that model already, not one byte differs. A body that
names the model besides the path is rewritten in both, as a provider may believe either.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from wirekey.errors import Fault, Refusal
from wirekey.providers.bedrock.services import read_model_segment
from wirekey.providers.edits import with_edits
from wirekey.providers.gemini.requests import MODEL
from wirekey.providers.multipart import field_edit, read_fields
from wirekey.providers.openai.requests import MODEL_IN_BODY
from wirekey.providers.paths import SEGMENT
from wirekey.providers.protocol import Body, Kind
from wirekey.providers.request_json import JsonObject, check_model, one_of, read_body, read_object

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey.providers.edits import Edit
    from wirekey.providers.protocol import Operation
    from wirekey.wire.request_body import RequestBody

# Of Gemini with its collection, as a tuned model is in another one.
_IN_PATH = {
    "openai": re.compile(rb"/models/([^/]+)"),
    "anthropic": re.compile(rb"/models/([^/]+)"),
    "gemini": re.compile(rb"/((?:models|tunedModels)/[^/:]+)"),
    "bedrock": re.compile(rb"/(?:model|foundation-models|inference-profiles)/([^/]+)"),
}
_SEGMENT = re.compile(SEGMENT)
_GEMINI = re.compile(rf"(?:tunedModels/)?{MODEL}")
_OPENAI_AT_GEMINI = ("chat.completions", "embeddings", "images.generations")
_OUT_OF_REACH = {
    ("openai", "batches.create"): "a batch, whose requests are in a file",
    # Another one would be deleted than the caller named.
    ("openai", "models.delete"): "the deletion of a model",
}


class Place(NamedTuple):
    """Where a JSON body may name the model: a member of an object that begins at `offset` of the body."""

    parent: JsonObject
    offset: int
    key: str = "model"
    added: bool = False
    """Whether it is added where it is absent or null."""


def with_model(  # noqa: PLR0917  # a request's parts, in the order in which they are known
    provider: str, operation: Operation, target: bytes, content_type: str, body: RequestBody, model: str
) -> tuple[bytes, RequestBody]:
    """Give target and body of a recognised, well-formed request that asks for `model` instead.

    `target` is the raw path with its query. The content-length is the caller's to set. An operation without a model
    is left as it is. Raises Refusal(403, cannot_override) where the name cannot stand in this request, or where the
    request names its model out of reach.
    """
    if what := _OUT_OF_REACH.get((provider, operation.name)):
        raise _unreachable(what)
    if operation.model not in (None, model):
        target = with_edits(target, [_path_edit(provider, operation, target, model)])
    if operation.body is Body.MULTIPART:
        return target, with_edits(body, _form_edits(content_type, body, model))
    if operation.body is Body.JSON:
        edits = (_member_edit(provider, operation, place, model) for place in _places(provider, operation, body))
        return target, with_edits(body, (edit for edit in edits if edit))
    return target, body


def _path_edit(provider: str, operation: Operation, target: bytes, model: str) -> Edit:
    _check_name(provider, model)
    found = _IN_PATH[provider].search(target.partition(b"?")[0])
    assert found, "the path of the operation names its model"
    written = model
    if provider == "bedrock":
        # As boto3 encodes it; no other character of these names is ever encoded.
        written = model.replace(":", "%3A").replace("/", "%2F")
    elif provider == "gemini" and operation.kind is Kind.INFERENCE:
        written = model if "/" in model else f"models/{model}"
    elif not _SEGMENT.fullmatch(model):
        raise _misnamed(model, "in the path of a request")
    elif provider == "gemini":
        written = f"models/{model}"
    return (*found.span(1), written.encode())


def _form_edits(content_type: str, body: RequestBody, model: str) -> Iterator[Edit]:
    if read_fields(content_type, body, ("model",)).get("model") == model:
        return
    _check_name("openai", model)
    try:
        yield field_edit(content_type, body, "model", model)
    except ValueError as error:
        raise _misnamed(model, f"in this form, as {error}") from None


def _member_edit(provider: str, operation: Operation, place: Place, model: str) -> Edit | None:
    parent, offset, key, added = place
    asked = parent.text(key)
    if asked is None and not added:
        return None
    if asked is not None and model == (asked.removeprefix("models/") if provider == "gemini" else asked):
        return None
    _check_name(provider, model)
    value = msgspec.json.encode(_spelled(operation, asked, model) if provider == "gemini" else model)
    if key in parent.values:
        start, end = parent.spans[key]
        return offset + start, offset + end, value
    start = offset + parent.data.index(b"{") + 1
    return start, start, b'"%s":%s' % (key.encode(), value) + (b"," if parent.values else b"")


def _spelled(operation: Operation, asked: str | None, model: str) -> str:
    """Spell a name of Gemini's as the client did: with its collection or without."""
    collected = operation.name == "cachedContents.create" if asked is None else "/" in asked
    return f"models/{model}" if collected and "/" not in model else model


def _places(provider: str, operation: Operation, data: RequestBody) -> Iterator[Place]:
    if provider == "gemini":
        yield from _gemini_places(operation, data)
    elif provider == "bedrock":
        yield from _bedrock_places(operation, data)
    elif operation.name == "messages.batches.create":
        for request, offset in _items(Place(read_body(data), 0, "requests")):
            if params := _child(Place(request, offset, "params")):
                yield Place(*params, added=True)
    elif provider != "openai" or operation.name in MODEL_IN_BODY:
        yield Place(read_body(data), 0, added=True)


def _gemini_places(operation: Operation, data: RequestBody) -> Iterator[Place]:
    if operation.name == "cachedContents.create" or operation.name in _OPENAI_AT_GEMINI:
        yield Place(read_body(data), 0, added=True)
    if operation.model is None:
        return
    body = read_body(data)
    yield Place(body, 0)
    if operation.name == "batchEmbedContents":
        yield from (Place(*request) for request in _items(Place(body, 0, "requests")))
    if operation.name == "countTokens":
        whole = _child(Place(body, 0, one_of(body, "generateContentRequest", "generate_content_request")))
        if whole:
            yield Place(*whole)


def _bedrock_places(operation: Operation, data: RequestBody) -> Iterator[Place]:
    if operation.name in ("invoke", "invoke-with-response-stream"):
        body = read_body(data)
        # OpenAI's models are refused there where their body names another one than the path.
        if body.starts("model", b'"') and body.text("model") == operation.model:
            yield Place(body, 0)
    elif operation.name == "retrieve-and-generate":
        configuration = _child(Place(read_body(data), 0, "retrieveAndGenerateConfiguration"))
        source = None
        if configuration:
            kind = one_of(configuration[0], "knowledgeBaseConfiguration", "externalSourcesConfiguration")
            source = _child(Place(*configuration, kind))
        if not source:
            raise _unreachable("a request of a session, which names no model")
        yield Place(*source, "modelArn", added=True)


def _child(place: Place) -> tuple[JsonObject, int] | None:
    """Find the object that a member holds, and where it begins; None where it is absent or null."""
    inner = place.parent.child(place.key)
    return (inner, place.offset + place.parent.spans[place.key][0]) if inner else None


def _items(place: Place) -> Iterator[tuple[JsonObject, int]]:
    """Find the objects of an array, and where they begin; one may stand alone, as Google's servers allow."""
    parent, offset, key, _ = place
    if key not in parent.values:
        return
    start = parent.spans[key][0]
    alone = parent.starts(key, b"{")
    for raw in [parent.values[key]] if alone else parent.array(key) or ():
        item = read_object(bytes(raw), parent.where(key))
        # Between two objects of an array stand a comma and white space only.
        start = parent.data.index(b"{", start)
        yield item, offset + start
        start += len(item.data)


def _check_name(provider: str, model: str) -> None:
    try:
        check_model(model)
    except Refusal:
        raise _misnamed(model, "anywhere: it is empty, too long or not printable") from None
    if provider == "gemini" and not _GEMINI.fullmatch(model):
        raise _misnamed(model, "in a request to Gemini; write it without `models/`")
    if provider == "bedrock" and read_model_segment(model) != model:
        raise _misnamed(model, "in a request to Bedrock: it is neither a model's id nor an ARN")


def _misnamed(model: str, where: str) -> Refusal:
    return Refusal(
        403,
        "cannot_override",
        f"This call is to go to the model {model[:64]!r}, a name that cannot stand {where}. "
        "The operator corrects it in model_override, in the route or in the policy.",
        Fault.OPERATOR,
    )


def _unreachable(what: str) -> Refusal:
    return Refusal(
        403,
        "cannot_override",
        f"This call is to go to another model than it asks for, and Wirekey cannot change the model of {what}.",
    )
