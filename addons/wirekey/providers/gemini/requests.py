"""Requests to Gemini's API: its own operations, and OpenAI's below /openai/; their facts and edits.

Google's servers read JSON leniently: a member may be spelt in camel or snake case, and where an array is wanted
a single element may stand alone. Both are read here as the server reads them; a member in both spellings at once
is refused. Described at https://ai.google.dev/api.
"""

from __future__ import annotations

import re
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import msgspec

from wirekey.core.body import Body
from wirekey.core.model_name import CHAT_PARAMETERS, GENERATE_PARAMETERS, PREFIX, has_unknown_prefix
from wirekey.core.operation import Facts, Kind, Operation
from wirekey.providers.gemini.facts import (
    KEYS,
    as_gemini,
    bare,
    check_model,
    count_of,
    facts_of_batch,
    facts_of_contents,
    facts_of_interaction,
    objects_of,
)
from wirekey.providers.gemini.head import check_head
from wirekey.providers.gemini.parameters import set_parameters
from wirekey.providers.gemini.responses import OPENAI_NAMES
from wirekey.providers.openai.google_extras import move_google_extras, set_chat_parameters
from wirekey.providers.openai.requests import AT_GOOGLE, CHAT_LIMITS, OpenAiRequests
from wirekey.providers.paths import SEGMENT, PathTable, Row, plain_segment, read_rows
from wirekey.providers.request_edits import (
    RequestEditor,
    as_json,
    cap_tokens,
    cap_tokens_in_group,
    clamp,
    misnamed,
    out_of_reach,
    uncapped,
)
from wirekey.providers.request_json import (
    check_json_type,
    malformed,
    one_of,
    read_body,
    read_model,
    refuse_lookalikes,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wirekey.core.body import RequestBody
    from wirekey.providers.json_edits import EditableBody, EditableObject
    from wirekey.providers.request_edits import EditedRequest, RequestEdits

VERSION = r"/(?:v1beta|v1alpha|v1)"
MODEL = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
ACTIONS = (
    "generateContent",
    "streamGenerateContent",
    "countTokens",
    "embedContent",
    "batchEmbedContents",
    "predict",
    "predictLongRunning",
    "generateAnswer",
)
DYNAMIC_ACTIONS = ("generateContent", "streamGenerateContent")
"""The actions of a model that Google chooses, by an id of its own: `dynamic/ID`."""
BATCH_ACTIONS = ("batchGenerateContent", "asyncBatchEmbedContent")
READABLE_RESPONSES = ("json", "sse", "json;enum-encoding=int")
"""Values of `alt`. The last one is that of Google's generated REST clients, such as google-generativeai."""
UNREADABLE_PARAMETERS = ("$httpMethod", "$httpHeaders", "$ct", "$req")
DOUBLE_SLASH = "//ws/"
"""The beginning of the Live API's path as SDKs write it whose base URL ends with a slash."""
METHOD_OVERRIDES = ("x-http-method-override", "x-http-method", "x-method-override")

# A model string has a backend in front and parameters behind, encoded: `gemini%3Agemini-2.5-pro%3Ftemperature%3D0.7`.
_NAMED = rf"(?:(?:{PREFIX})%3A(?:google%2F)?)?{MODEL}(?:%3F[A-Za-z0-9_.%-]{{1,256}})?"
_WRITTEN = re.compile(
    rf"({VERSION}/models/)((?:(?:{PREFIX})(?::|%3A)(?:google(?:/|%2F))?)?{MODEL}(?:\?[A-Za-z0-9_.=&-]{{1,256}}|%3F[A-Za-z0-9_.%-]{{1,256}})?)"
    rf":({'|'.join(ACTIONS)})(\?.*)?"
)
_ACTION = re.compile(
    rf"{VERSION}/(?:models/({_NAMED})|(tunedModels/{MODEL})):({'|'.join((*ACTIONS, *BATCH_ACTIONS))})"
    rf"|{VERSION}/(dynamic/{MODEL}):({'|'.join(DYNAMIC_ACTIONS)})"
)
RPC = r"/google\.[^/]*/.*"
"""The paths of gRPC, at which Google's servers offer the same calls in another format."""
_ANY_ACTION = re.compile(rf".*:(?:{'|'.join((*ACTIONS, *BATCH_ACTIONS))})|{RPC}", re.IGNORECASE)
_BELOW_OPENAI = re.compile(rb"/(?:v1beta|v1alpha|v1)/openai(?=/)")
_NAME = re.compile(rf"(?:tunedModels/|dynamic/)?{MODEL}")


_OPENAI = OpenAiRequests()


def _rows_of_all_versions() -> Iterator[Row]:
    for method, path, name, body, kind in read_rows(__file__):
        for version in ("v1beta", "v1alpha", "v1"):
            whole = path.replace("VERSION", version) if "VERSION" in path else f"/{version}{path}"
            yield method, whole, name, body, kind


# A colon begins an action, and is no part of any name.
ROUTES = PathTable(_rows_of_all_versions(), dict.fromkeys(("id", "model"), SEGMENT.replace(":", "")))


class GeminiRequests(RequestEditor):
    """Reads and edits requests in Gemini's format, and in OpenAI's as Google reads it."""

    name = "gemini"
    # With its collection, as tuned and dynamic models are in others.
    model_in_path = re.compile(rb"/((?:models|tunedModels|dynamic)/[^/:]+)")
    parameters = MappingProxyType(
        {
            "chat.completions": (*CHAT_PARAMETERS, "thinking_budget"),
            "generateContent": GENERATE_PARAMETERS,
            "streamGenerateContent": GENERATE_PARAMETERS,
            "realtime": GENERATE_PARAMETERS,
        }
    )

    def match_operation(self, method: str, path: str, headers: Mapping[str, str]) -> Operation | None:
        """Return the operation of a method and raw path, or None."""
        # Google's servers let these headers replace the method: the operation would differ.
        if any(name in headers for name in METHOD_OVERRIDES):
            return None
        if method == "POST" and (match := _ACTION.fullmatch(path)):
            model, tuned, action = match[1], match[2] or match[4], match[3] or match[5]
            if action in BATCH_ACTIONS:
                return None if model and "%" in model else Operation(action, Body.JSON, Kind.STORAGE, model or tuned)
            name = unquote(model or tuned)
            if has_unknown_prefix(name.partition("?")[0]):
                return None
            return Operation(action, Body.JSON, Kind.INFERENCE, name, action == "streamGenerateContent")
        if operation := ROUTES.find(method, path):
            return operation
        # An action of a model is never read as anything else, in whatever version or case it is written.
        return None if _ANY_ACTION.fullmatch(path) else ROUTES.find_other(method, path)

    def check_head(self, operation: Operation, query: Mapping[str, str], headers: Mapping[str, str]) -> None:
        """Raise Refusal(400) if a call of a model hides its token counts, or names a second model in the query."""
        check_head(operation, query, headers)

    def plain_target(self, target: str) -> str:
        """Return a path with the provider and the parameters of its model's name encoded, and with one slash in front.

        SDKs put a name into the path as it is, or encode a part of it: `gemini-2.5-pro?temperature=0.7` becomes
        `/v1beta/models/gemini-2.5-pro?temperature=0.7:generateContent`.
        """
        if target.startswith(DOUBLE_SLASH):
            return target[1:]
        found = _WRITTEN.fullmatch(target)
        if found is None or not {"?", ":", "/"} & set(found[2]):
            return target
        if has_unknown_prefix(unquote(found[2]).partition("?")[0]):
            return target
        return f"{found[1]}{quote(found[2], safe='%')}:{found[3]}{found[4] or ''}"

    def read_request(
        self, operation: Operation, query: Mapping[str, str], content_type: str, body: RequestBody
    ) -> Facts:
        """Return what a request asks for. Raises Refusal(400)."""
        check_query(query)
        if operation.name in OPENAI_NAMES:
            return as_gemini(_OPENAI.read_request(operation, query, content_type, body))
        check_json_type(content_type)
        if not body and operation.kind is not Kind.INFERENCE:
            return Facts(model=operation.model)
        data = read_body(body)
        if operation.kind is Kind.ADMINISTRATION:
            return Facts()
        refuse_lookalikes(data, KEYS)
        if operation.name == "cachedContents.create":
            return facts_of_contents(operation, data, bare(read_model(data)))
        if operation.name in BATCH_ACTIONS:
            return facts_of_batch(operation, data)
        if operation.kind is not Kind.INFERENCE:
            return Facts(model=operation.model)
        if operation.name == "interactions.create":
            return facts_of_interaction(data)
        check_model(operation, data)
        if operation.name == "embedContent":
            return Facts(model=operation.model, message_count=1 if data.filled("content") else None)
        if operation.name == "batchEmbedContents":
            requests = objects_of(data, "requests")
            return Facts(model=operation.model, message_count=sum(check_model(operation, each) for each in requests))
        if operation.name in ("predict", "predictLongRunning"):
            return Facts(model=operation.model, message_count=count_of(data, "instances") or 0)
        if operation.name == "countTokens":
            whole = data.child(one_of(data, "generateContentRequest", "generate_content_request"))
            if whole is not None:
                check_model(operation, whole)
                data = whole
        return facts_of_contents(operation, data, operation.model)

    def edit_request(  # as in the base class
        self, operation: Operation, target: bytes, content_type: str, body: RequestBody, edits: RequestEdits
    ) -> EditedRequest:
        """Return a recognised, well-formed request with all edits; in OpenAI's format if OpenAI answers it."""
        if edits.provider != _OPENAI.name:
            return super().edit_request(operation, target, content_type, body, edits)
        edited = _OPENAI.edit_request(operation, target, content_type, body, replace(edits, provider=None))
        elsewhere = self.equivalent_target(edited.target, operation, edits.provider)
        assert elsewhere is not None, "the route leads to a provider that answers this operation"
        return replace(edited, target=elsewhere)

    def equivalent_target(self, target: bytes, operation: Operation, provider: str) -> bytes | None:
        """Return the target that means the same at another provider: OpenAI, for what is in its format."""
        if provider == _OPENAI.name and operation.name in AT_GOOGLE and (found := _BELOW_OPENAI.match(target)):
            return b"/v1" + target[found.end() :]
        return super().equivalent_target(target, operation, provider)

    def check_reach(self, operation: Operation) -> None:
        """Raise Refusal(403) for a batch, and where another model would be changed than the caller named."""
        if operation.name in BATCH_ACTIONS:
            raise out_of_reach("a batch, whose requests may be in a file")
        if operation.name in ("models.patch", "models.delete"):
            raise out_of_reach("a change of a model itself")

    def check_model_name(self, model: str) -> None:
        """Raise Refusal(403) if this is no name of a model of Google's, without its collection unless it is tuned."""
        super().check_model_name(model)
        if not _NAME.fullmatch(model):
            raise misnamed(model, "in a request to Gemini; write it without `models/`")

    def model_segment(self, operation: Operation, model: str) -> str:
        """Return a model's name with its collection."""
        if operation.kind is Kind.INFERENCE:
            return model if "/" in model else f"models/{model}"
        return f"models/{plain_segment(model)}"

    def set_model(self, parent: EditableObject, model: str, key: str = "model", *, add: bool = True) -> bool:
        """Name the model in an object as the client did: with its collection or without."""
        asked = parent.members.text(key)
        if (asked is None and not add) or bare(asked) == model:
            return False
        self.check_model_name(model)
        with_collection = asked is not None and "/" in asked and "/" not in model
        parent.set({key: msgspec.json.encode(f"models/{model}" if with_collection else model)})
        return True

    def edit_body(self, operation: Operation, body: EditableBody, edits: RequestEdits) -> bool:
        """Set model, parameters and limit in a JSON body, and return whether the model changed."""
        changed = edits.model is not None and self._edit_model(operation, body, edits.model)
        in_openai_format = operation.name in OPENAI_NAMES
        if operation.name == "chat.completions":
            move_google_extras(body)
        if edits.parameters:
            parameters = as_json(edits.parameters)
            if in_openai_format:
                set_chat_parameters(body.root, parameters)
            else:
                set_parameters(body.root, parameters, edits.model or operation.model or "")
        if edits.max_tokens is None:
            return changed
        if operation.name in BATCH_ACTIONS:
            raise uncapped("a batch, which may name its requests by a file")
        if operation.name == "interactions.create":
            group = one_of(body.root.members, "generation_config", "generationConfig")
            inner = body.root.child(group)
            key = one_of(inner.members, "max_output_tokens", "maxOutputTokens") if inner else "max_output_tokens"
            cap_tokens_in_group(body.root, group, key, edits.max_tokens)
        elif operation.name == "chat.completions":
            cap_tokens(body.root, CHAT_LIMITS, "max_tokens", edits.max_tokens)
        elif operation.name in ("generateContent", "streamGenerateContent"):
            cap_output(body.root, edits.max_tokens)
        return changed

    def clamp_temperature(self, operation: Operation, body: EditableBody) -> None:
        """Set a temperature above 1 to 1: in the generation's configuration, or in OpenAI's format at the top."""
        if operation.name in OPENAI_NAMES:
            clamp(body.root)
        else:
            clamp(generation_config(body.root))

    def _edit_model(self, operation: Operation, body: EditableBody, model: str) -> bool:
        if operation.name == "cachedContents.create":
            asks = body.root.members.text("model") is not None
            if asks or "/" in model:
                return self.set_model(body.root, model)
            self.check_model_name(model)
            body.root.set({"model": msgspec.json.encode(f"models/{model}")})
            return True
        if operation.name in (*OPENAI_NAMES, "interactions.create"):
            return self.set_model(body.root, model)
        if operation.model is None:
            return False
        changed = self.set_model(body.root, model, add=False)
        if operation.name == "batchEmbedContents":
            for request in body.root.items("requests"):
                changed = self.set_model(request, model, add=False) or changed
        if operation.name == "countTokens":
            key = one_of(body.root.members, "generateContentRequest", "generate_content_request")
            if whole := body.root.child(key):
                changed = self.set_model(whole, model, add=False) or changed
        return changed


def generation_config(request: EditableObject) -> EditableObject | None:
    """Return the generation's configuration in a request, or None."""
    return request.child(one_of(request.members, "generationConfig", "generation_config"))


def cap_output(request: EditableObject, most: int) -> None:
    """Lower the limit of output tokens in a request, or set it."""
    group = one_of(request.members, "generationConfig", "generation_config")
    inner = request.child(group)
    key = one_of(inner.members, "maxOutputTokens", "max_output_tokens") if inner else "maxOutputTokens"
    cap_tokens_in_group(request, group, key, most)


def check_query(query: Mapping[str, str]) -> None:
    """Raise Refusal(400) for parameters that change what a request means, or how its response is read."""
    for name in UNREADABLE_PARAMETERS:
        if name in query:
            raise malformed(f"the query parameter {name} changes what the request means; leave it out")
    for name in ("alt", "$alt"):
        if query.get(name, "json").lower() not in READABLE_RESPONSES:
            raise malformed(f"{name}={query[name]!r} asks for a response that cannot be metered; ask for json or sse")
