"""Requests to Vertex AI: their operations, facts and edits.

A path names project, location, publisher and model. The body has the publisher's format, without the model: Google's,
Anthropic's, or OpenAI's at `endpoints/openapi`, whose model is in the body.
"""

from __future__ import annotations

import re
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from wirekey.core.body import Body
from wirekey.core.model_name import CHAT_PARAMETERS, GENERATE_PARAMETERS, MESSAGE_PARAMETERS
from wirekey.core.operation import Facts, Kind, Operation
from wirekey.features.vertex import live
from wirekey.features.vertex.places import LOCATION, MODEL, PROJECT, Place
from wirekey.providers.anthropic.requests import AnthropicRequests
from wirekey.providers.gemini.head import check_head
from wirekey.providers.gemini.requests import DOUBLE_SLASH, METHOD_OVERRIDES, RPC, GeminiRequests, check_query
from wirekey.providers.openai.requests import OpenAiRequests, set_usage_option
from wirekey.providers.paths import PathTable, Row
from wirekey.providers.request_edits import RequestEditor, misnamed
from wirekey.providers.request_json import malformed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wirekey.core.body import RequestBody
    from wirekey.providers.json_edits import EditableBody
    from wirekey.providers.request_edits import RequestEdits

VERSION = r"/(?:v1|v1beta1)"
PLACE = rf"{VERSION}/projects/(?P<project>{PROJECT})/locations/(?P<location>{LOCATION})"
GOOGLE_ACTIONS = (
    *("generateContent", "streamGenerateContent", "countTokens", "computeTokens"),
    *("embedContent", "predict", "predictLongRunning"),
)
CLAUDE_ACTIONS = ("rawPredict", "streamRawPredict")
COUNT = "rawPredict.count_tokens"
CLAUDE = (*CLAUDE_ACTIONS, COUNT)
"""The operations in Anthropic's format."""
OPENAI = {"/endpoints/openapi/chat/completions": "chat.completions", "/endpoints/openapi/embeddings": "embeddings"}
COUNTER = "count-tokens"
"""The model in the path of a request that counts the tokens of a message."""
TRANSLATED_BY_GEMINI = ("generateContent", "streamGenerateContent", "countTokens")

_PLACE = re.compile(rf"{PLACE}(?P<rest>/.*)")
_GOOGLE = re.compile(rf"/publishers/google/models/({MODEL}):({'|'.join(GOOGLE_ACTIONS)})")
_ANTHROPIC = re.compile(rf"/publishers/anthropic/models/({MODEL}):({'|'.join(CLAUDE_ACTIONS)})")
_ANY_CALL = re.compile(rf".*(?::[a-z]*|/endpoints/openapi(?:/.*)?|/endpoints/[^/]+/chat/.*)|{RPC}", re.IGNORECASE)
_AT_GEMINI = re.compile(rb".*/publishers/google/(models/[^/?]+)")

_GEMINI, _MESSAGES, _CHAT = GeminiRequests(), AnthropicRequests(), OpenAiRequests()
_LIVE = live.VertexLiveRequests()


def place_of(path: str) -> Place | None:
    """Return the project and location that a raw path names, or None."""
    found = _PLACE.fullmatch(path)
    return Place(found["project"], found["location"]) if found else None


def _lists() -> Iterator[Row]:
    for version in ("v1", "v1beta1"):
        models = f"/{version}/publishers/google/models"
        yield "GET", models, "models.list", Body.NONE, Kind.LISTING
        yield "GET", f"{models}/{{model}}", "models.get", Body.NONE, Kind.LISTING


ROUTES = PathTable(_lists(), {"model": MODEL})


class VertexRequests(RequestEditor):
    """Reads and edits requests in the formats of Vertex AI."""

    name = "vertex"
    model_in_path = re.compile(rb"/publishers/(?:google|anthropic)/models/([^/:]+)")
    parameters = MappingProxyType(
        {
            "generateContent": GENERATE_PARAMETERS,
            "streamGenerateContent": GENERATE_PARAMETERS,
            "rawPredict": MESSAGE_PARAMETERS,
            "streamRawPredict": MESSAGE_PARAMETERS,
            "chat.completions": CHAT_PARAMETERS,
            "realtime": GENERATE_PARAMETERS,
        }
    )

    def plain_target(self, target: str) -> str:
        """Return a target with one slash in front: SDKs write two if their base URL ends with one."""
        return target[1:] if target.startswith(DOUBLE_SLASH) else target

    def match_operation(self, method: str, path: str, headers: Mapping[str, str]) -> Operation | None:
        """Return the operation of a method and raw path, or None."""
        # Google's servers let these headers replace the method: the operation would differ.
        if any(name in headers for name in METHOD_OVERRIDES):
            return None
        if method == "GET" and live.PATH.fullmatch(path):
            return live.OPERATION
        if operation := ROUTES.find(method, path):
            return operation
        place = _PLACE.fullmatch(path)
        if method == "POST" and place and (operation := _call(place["rest"])):
            return operation
        # A call of a model is never read as anything else, in whatever version or case it is written.
        return None if _ANY_CALL.fullmatch(path) else ROUTES.find_other(method, path)

    def check_head(self, operation: Operation, query: Mapping[str, str], headers: Mapping[str, str]) -> None:
        """Raise Refusal(400) if a call of a model hides its token counts, or names a second model in the query."""
        check_head(operation, query, headers)

    def read_request(
        self, operation: Operation, query: Mapping[str, str], content_type: str, body: RequestBody
    ) -> Facts:
        """Return what a request or a first message asks for. Raises Refusal(400)."""
        if operation.body is Body.MESSAGE:
            return _LIVE.read_request(operation, query, content_type, body)
        if operation.name in CLAUDE:
            return _read_message(operation, query, content_type, body)
        if operation.name in OPENAI.values():
            check_query(query)
            return _CHAT.read_request(operation, query, content_type, body)
        facts = _GEMINI.read_request(operation, query, content_type, body)
        return facts if facts.model else replace(facts, model=operation.model)

    def equivalent_target(self, target: bytes, operation: Operation, provider: str) -> bytes | None:
        """Return the target that means the same at another provider: the Gemini API has some operations, too."""
        path, mark, query = target.partition(b"?")
        found = _AT_GEMINI.fullmatch(path)
        if provider == _GEMINI.name and operation.name in TRANSLATED_BY_GEMINI and found:
            return b"/v1beta/" + found[1] + mark + query
        return super().equivalent_target(target, operation, provider)

    def check_model_name(self, model: str) -> None:
        """Raise Refusal(403) if this is no name of a model at Vertex AI."""
        super().check_model_name(model)
        if not re.fullmatch(rf"(?:[a-z0-9-]+/)?{MODEL}", model):
            raise misnamed(model, "in a request to Vertex AI; write it without `publishers/` and `models/`")

    def model_segment(self, operation: Operation, model: str) -> str:
        """Return a model's name as a segment of a path. Raises Refusal(403)."""
        if "/" in model:
            raise misnamed(model, "in the path of a request to Vertex AI")
        return model

    def edit_body(self, operation: Operation, body: EditableBody, edits: RequestEdits) -> bool:
        """Set model, parameters and limit in a JSON body, and return whether the model changed."""
        if operation.body is Body.MESSAGE:
            return _LIVE.edit_body(operation, body, replace(edits, provider=None))
        if operation.name in OPENAI.values():
            return _CHAT.edit_body(operation, body, replace(edits, provider=None, google_reads=True))
        if operation.name in CLAUDE:
            in_body = edits if operation.name == COUNT else replace(edits, model=None)
            return _MESSAGES.edit_body(as_message(operation), body, in_body)
        return _GEMINI.edit_body(operation, body, replace(edits, provider=None))

    def request_usage(self, body: EditableBody, edits: RequestEdits) -> bool:
        """Ask a stream in OpenAI's format for its token counts, and return whether that was possible."""
        return edits.provider in (None, self.name) and set_usage_option(body)

    def clamp_temperature(self, operation: Operation, body: EditableBody) -> None:
        """Set a temperature above 1 to 1, where the format has it."""
        if operation.name in (*CLAUDE, *OPENAI.values()):
            super().clamp_temperature(operation, body)
        elif operation.body is Body.MESSAGE:
            _LIVE.clamp_temperature(operation, body)
        else:
            _GEMINI.clamp_temperature(operation, body)


def _call(rest: str) -> Operation | None:
    """Return the operation of the part of a path that follows the location, or None."""
    if name := OPENAI.get(rest):
        return Operation(name, Body.JSON, Kind.INFERENCE)
    if found := _GOOGLE.fullmatch(rest):
        model, action = found.groups()
        return Operation(action, Body.JSON, Kind.INFERENCE, model, action == "streamGenerateContent")
    if found := _ANTHROPIC.fullmatch(rest):
        model, action = found.groups()
        if model == COUNTER:
            return Operation(COUNT, Body.JSON, Kind.INFERENCE) if action == "rawPredict" else None
        return Operation(action, Body.JSON, Kind.INFERENCE, model, action == "streamRawPredict")
    return None


def as_message(operation: Operation) -> Operation:
    """Return the operation of Anthropic's API that has the same body."""
    return replace(operation, name="messages.count_tokens" if operation.name == COUNT else "messages")


def _read_message(operation: Operation, query: Mapping[str, str], content_type: str, body: RequestBody) -> Facts:
    check_query(query)
    facts = _MESSAGES.read_request(as_message(operation), query, content_type, body)
    if operation.name == COUNT:
        return facts
    if facts.model not in (None, operation.model):
        raise malformed("its model is not the one that the path names; name one model, or only in the path")
    # The path decides alone at Google; a body that says otherwise would be read in two ways.
    if facts.stream and not operation.stream:
        raise malformed("it asks for a stream, and the path does not; call streamRawPredict")
    return replace(facts, model=operation.model, stream=operation.stream)
