"""Requests in the formats of other providers, moved to Vertex AI: the same body, at the path of the model there.

Vertex has OpenAI's, Google's and Anthropic's formats, each with a difference. The model of Claude is in the path, and
the version of the format in the body. A content must have a role. A chat names the publisher of its model. See
https://cloud.google.com/vertex-ai/generative-ai/docs/partner-models/claude/use-claude and …/start/openai
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from wirekey.features.vertex.places import OWN_PROJECT
from wirekey.providers.anthropic.formats import MESSAGES
from wirekey.providers.gemini.formats import GENERATE_CONTENT
from wirekey.providers.json_edits import EditableBody
from wirekey.providers.openai.formats import CHAT
from wirekey.providers.openai.google_extras import move_google_extras

if TYPE_CHECKING:
    from wirekey.core.body import RequestBody
    from wirekey.core.operation import Operation
    from wirekey.providers.json_edits import EditableObject

CLAUDE_VERSION = b'"vertex-2023-10-16"'
(COUNT_OF_CLAUDE,) = MESSAGES.counts
FORMATS = {
    name: form.name for form in (CHAT, GENERATE_CONTENT, MESSAGES) for name in (*form.conversations, *form.counts)
}
"""Operations of other providers that Vertex answers in their own format → that format."""

_OBJECT: msgspec.json.Decoder[dict[str, msgspec.Raw]] = msgspec.json.Decoder(dict[str, msgspec.Raw])
_WHOLE_REQUEST = ("generateContentRequest", "generate_content_request")
_NO_PROJECT = re.compile(rb"(/(?:v1|v1beta1)/projects/)-(?=/locations/)")
_LOCATION = re.compile(rb"(/(?:v1|v1beta1)/projects/[^/]+/locations/)[^/]+(?=/)")


def format_of_model(model: str) -> str:
    """Return the format in which a model is called first: of Claude, of Google, or OpenAI's for other publishers."""
    if model.startswith("claude"):
        return "anthropic"
    return "openai.chat" if "/" in model.removeprefix("google/") else "gemini"


def answers(form: str, model: str) -> bool:
    """Return whether a model is called in a format."""
    own = format_of_model(model)
    # Google's models have both; Claude is not served at the path of OpenAI's format.
    return form == own or (form == "openai.chat" and own == "gemini")


def with_publisher(model: str) -> str:
    """Return the name of a model as OpenAI's format has it at Vertex."""
    return model if "/" in model else f"google/{model}"


def moved(  # a request's parts, in the order in which they are known
    operation: Operation, target: bytes, body: RequestBody, location: str, model: str, *, stream: bool
) -> tuple[bytes, RequestBody]:
    """Return target and body of a request of another provider at Vertex, in the project of the credentials.

    `model`: the one to ask for. Raises Refusal(400) if the body is not what its format says.
    """
    place = f"projects/{OWN_PROJECT}/locations/{location}"
    if operation.name == "chat.completions":
        editable = EditableBody(body)
        editable.root.set({"model": msgspec.json.encode(with_publisher(model))})
        move_google_extras(editable)
        return f"/v1/{place}/endpoints/openapi/chat/completions".encode(), editable.written()
    if FORMATS[operation.name] == "anthropic":
        editable = EditableBody(body)
        to_claude(editable.root, counts=operation.name == COUNT_OF_CLAUDE)
        named = "count-tokens" if operation.name == COUNT_OF_CLAUDE else model
        action = "streamRawPredict" if stream else "rawPredict"
        return f"/v1/{place}/publishers/anthropic/models/{named}:{action}".encode(), editable.written()
    editable = EditableBody(counted(body) if operation.name == "countTokens" else body)
    for content in editable.root.items("contents"):
        if content.members.text("role") is None:
            content.set({"role": b'"user"'})
    # Google's own SDK calls this version, which has what `v1beta` of the Gemini API has.
    path = f"/v1beta1/{place}/publishers/google/models/{model.removeprefix('google/')}:{operation.name}"
    return b"".join((path.encode(), *target.partition(b"?")[1:])), editable.written()


def to_claude(root: EditableObject, *, counts: bool) -> None:
    """Change a request for a message to what Vertex reads. `counts`: only its tokens are counted."""
    if not counts and "model" in root.members.values:
        root.remove("model")
    root.set({"anthropic_version": CLAUDE_VERSION})


def counted(body: RequestBody) -> RequestBody:
    """Return what tokens are counted of: Vertex has no whole request inside of a request."""
    if not any(name.encode() in body for name in _WHOLE_REQUEST):
        return body
    members = _OBJECT.decode(body)
    whole = next((members[name] for name in _WHOLE_REQUEST if name in members), None)
    if whole is None or bytes(whole) == b"null":
        return body
    inner = _OBJECT.decode(whole)
    inner.pop("model", None)
    return msgspec.json.encode(inner)


def in_project(target: bytes, project: str) -> bytes:
    """Return a target with this project, if it names that of the credentials."""
    return _NO_PROJECT.sub(rb"\g<1>" + project.encode(), target, count=1)


def in_location(target: bytes, location: str) -> bytes:
    """Return a target at another location."""
    return _LOCATION.sub(rb"\g<1>" + location.encode(), target, count=1)
