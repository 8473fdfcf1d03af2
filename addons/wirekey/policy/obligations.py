"""Caps the output tokens that a request asks for, in each provider's shape. Pure.

Only the bytes of the changed number differ: prompt caches and hashes of clients survive. A limit that is larger, or no
limit at all (zero, negative), becomes the cap; where there is none, one is added. The cap is for each answer of a
request that asks for several (`n`, `candidateCount`). Operations that write no text are left alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.errors import Refusal
from wirekey.providers.edits import with_edits
from wirekey.providers.request_json import malformed, one_of, read_body

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey.providers.edits import Edit
    from wirekey.providers.protocol import Operation
    from wirekey.providers.request_json import JsonObject
    from wirekey.wire.request_body import RequestBody

CHAT_LIMITS = ("max_completion_tokens", "max_tokens")
BATCHES = ("batches.create", "messages.batches.create")

BEDROCK_FAMILIES = {
    "anthropic": ("max_tokens",),
    "ai21": ("max_tokens",),
    "amazon.nova": ("inferenceConfig", "max_new_tokens"),
    "amazon.titan-text": ("textGenerationConfig", "maxTokenCount"),
    "cohere.command": ("max_tokens",),
    "deepseek": ("max_tokens",),
    "meta": ("max_gen_len",),
    "mistral": ("max_tokens",),
    "openai": ("max_completion_tokens",),
    "qwen": ("max_tokens",),
}
"""Beginning of a model's name behind its region → where its body has the limit."""
BEDROCK_LIMITS = ("max_tokens", "max_completion_tokens", "max_tokens_to_sample", "max_gen_len", "maxTokens")
BEDROCK_GROUPS = {
    "inferenceConfig": ("maxTokens", "max_new_tokens"),
    "textGenerationConfig": ("maxTokenCount",),
}
BEDROCK_SILENT = ("embed", "rerank", "image", "canvas", "reel", "stability", "sonic")


def with_cap(provider: str, operation: Operation, body: RequestBody, cap: int) -> RequestBody:
    """Give the body of a recognised, well-formed request in which nothing asks for more than `cap` output tokens.

    Raises Refusal(403) where it is not known how this request says it.
    """
    return with_edits(body, edits_of(provider, operation, body, cap))


def edits_of(provider: str, operation: Operation, body: RequestBody, cap: int) -> Iterator[Edit]:
    name = operation.name
    if name in BATCHES and provider == "openai":
        raise uncapped("a batch, whose requests are in a file")
    if name == "chat.completions":
        added = CHAT_LIMITS[0] if provider == "openai" else CHAT_LIMITS[1]
        yield from limited(read_body(body), 0, CHAT_LIMITS, added, cap)
    elif name == "completions":
        yield from limited(read_body(body), 0, ("max_tokens",), "max_tokens", cap)
    elif name == "messages":
        yield from message_edits(read_body(body), 0, cap)
    elif name == "responses":
        yield from limited(read_body(body), 0, ("max_output_tokens",), "max_output_tokens", cap)
    elif name == "messages.batches.create":
        yield from batch_edits(read_body(body), cap)
    elif name in ("generateContent", "streamGenerateContent"):
        yield from gemini_edits(read_body(body), cap)
    elif name in ("converse", "converse-stream"):
        yield from grouped(read_body(body), "inferenceConfig", ("maxTokens",), "maxTokens", cap)
    elif name in ("invoke", "invoke-with-response-stream"):
        yield from invoke_edits(operation.model or "", read_body(body), cap)


def limited(body: JsonObject, offset: int, keys: tuple[str, ...], added: str, cap: int) -> Iterator[Edit]:
    """Cap these members of an object that begins at `offset`; add one where there is none."""
    spans = body.spans
    found = False
    for key in keys:
        if key not in spans:
            continue
        asked = body.integer(key)
        found = found or asked is not None
        if asked is not None and not 0 < asked <= cap:
            start, end = spans[key]
            yield offset + start, offset + end, b"%d" % cap
    if found:
        return
    null = next((key for key in keys if key in spans), None)
    if null is not None:
        start, end = spans[null]
        yield offset + start, offset + end, b"%d" % cap
    else:
        yield added_member(body, offset, b'"%s":%d' % (added.encode(), cap))


def grouped(body: JsonObject, group: str, keys: tuple[str, ...], added: str, cap: int) -> Iterator[Edit]:
    """Cap a member of the object under `group`, which is added where there is none."""
    inner = body.child(group)
    whole = b'{"%s":%d}' % (added.encode(), cap)
    if inner is not None:
        yield from limited(inner, body.spans[group][0], keys, added, cap)
    elif group in body.values:
        start, end = body.spans[group]
        yield start, end, whole
    else:
        yield added_member(body, 0, b'"%s":%s' % (group.encode(), whole))


def added_member(body: JsonObject, offset: int, member: bytes) -> Edit:
    """Put a member in front of all others."""
    place = offset + body.data.index(b"{") + 1
    return place, place, member + (b"," if body.values else b"")


def gemini_edits(body: JsonObject, cap: int) -> Iterator[Edit]:
    group = one_of(body, "generationConfig", "generation_config")
    inner = body.child(group)
    key = one_of(inner, "maxOutputTokens", "max_output_tokens") if inner else "maxOutputTokens"
    yield from grouped(body, group, (key,), key, cap)


def message_edits(body: JsonObject, offset: int, cap: int) -> Iterator[Edit]:
    """Cap a request for a message, and those of its fallbacks that have a limit of their own."""
    yield from limited(body, offset, ("max_tokens",), "max_tokens", cap)
    if body.starts("fallbacks", b"["):
        for fallback, place in items_of(body, "fallbacks"):
            if fallback.integer("max_tokens") is not None:
                yield from limited(fallback, offset + place, ("max_tokens",), "max_tokens", cap)


def batch_edits(body: JsonObject, cap: int) -> Iterator[Edit]:
    """Cap each request of a batch of messages."""
    for request, place in items_of(body, "requests"):
        params = request.child("params")
        if params is None:
            raise malformed("a request of the batch has no params")
        yield from message_edits(params, place + request.spans["params"][0], cap)


def items_of(body: JsonObject, key: str) -> Iterator[tuple[JsonObject, int]]:
    """Give the objects of an array, and where in the body each begins: found again by their order."""
    place = body.spans[key][0] if key in body.values else 0
    for raw in body.array(key) or ():
        place = body.data.index(bytes(raw), place)
        yield read_body(bytes(raw)), place
        place += len(raw)


def invoke_edits(model: str, body: JsonObject, cap: int) -> Iterator[Edit]:
    """Cap the model's own body: by the member that it has, or else by the model's family."""
    groups = [group for group in BEDROCK_GROUPS if body.starts(group, b"{")]
    written = [key for key in BEDROCK_LIMITS if key in body.values]
    if groups:
        inner = body.child(groups[0])
        assert inner is not None
        keys = BEDROCK_GROUPS[groups[0]]
        key = one_of(inner, *keys) if any(each in inner.values for each in keys) else added_in(groups[0])
        yield from grouped(body, groups[0], (key,), key, cap)
    elif written:
        yield from limited(body, 0, tuple(written), written[0], cap)
    elif not any(word in model for word in BEDROCK_SILENT):
        yield from added_by_family(model, body, cap)


def added_in(group: str) -> str:
    return {"inferenceConfig": "max_new_tokens", "textGenerationConfig": "maxTokenCount"}[group]


def added_by_family(model: str, body: JsonObject, cap: int) -> Iterator[Edit]:
    name = model.rpartition("/")[2]
    for beginning, path in BEDROCK_FAMILIES.items():
        if name.startswith(beginning) or name.partition(".")[2].startswith(beginning):
            if len(path) == 1:
                yield from limited(body, 0, path, path[0], cap)
            else:
                yield from grouped(body, path[0], path[1:], path[1], cap)
            return
    raise uncapped("this model's body, which has no limit that Wirekey knows: set one")


def uncapped(what: str) -> Refusal:
    return Refusal(
        403,
        "cannot_cap",
        f"The policy caps the output tokens of this call, and Wirekey cannot cap {what}.",
    )
