"""Requests of Google's programs to Code Assist: their operations, facts and edits.

A request of Gemini's API is in an envelope: `{"model", "project", "user_prompt_id", "request": {…}}`. Requests that
sign a program in carry its login in their body, which is not read.
"""

from __future__ import annotations

import re
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from wirekey.core.model_name import GENERATE_PARAMETERS
from wirekey.providers.gemini.facts import KEYS, bare, facts_of_contents
from wirekey.providers.gemini.head import check_head
from wirekey.providers.gemini.parameters import set_parameters
from wirekey.providers.gemini.requests import (
    METHOD_OVERRIDES,
    GeminiRequests,
    cap_output,
    check_query,
    generation_config,
)
from wirekey.providers.paths import PathTable, read_rows
from wirekey.providers.request_edits import RequestEditor, as_json, clamp
from wirekey.providers.request_json import (
    check_json_type,
    malformed,
    read_body,
    read_model,
    refuse_lookalikes,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.core.body import RequestBody
    from wirekey.core.operation import Facts, Operation
    from wirekey.providers.json_edits import EditableBody
    from wirekey.providers.request_edits import RequestEdits

PREFIX = "/v1internal"
GENERATE, STREAM, COUNT = "codeAssist.generateContent", "codeAssist.streamGenerateContent", "codeAssist.countTokens"
TOKEN_PATHS = ("/token", "/tokeninfo")
ROUTES = PathTable(read_rows(__file__))

_MEMBERS = frozenset({"model", "project", "user_prompt_id", "request"})
_ANY_CALL = re.compile(rf"{PREFIX}.*:(?:stream)?(?:generate|count).*", re.IGNORECASE)
_GEMINI = GeminiRequests()


class CodeAssistRequests(RequestEditor):
    """Reads and edits requests in Code Assist's envelope."""

    name = "code_assist"
    model_in_path = re.compile(rb"(?!)")
    parameters = MappingProxyType({GENERATE: GENERATE_PARAMETERS, STREAM: GENERATE_PARAMETERS})

    def match_operation(self, method: str, path: str, headers: Mapping[str, str]) -> Operation | None:
        """Return the operation of a method and raw path, or None."""
        if any(name in headers for name in METHOD_OVERRIDES):
            return None
        if operation := ROUTES.find(method, path):
            return replace(operation, stream=True) if operation.name == STREAM else operation
        # A call of a model is never read as anything else. The token server has no other operations here: they carry
        # tokens in their query.
        is_plain = path.startswith(PREFIX) and not _ANY_CALL.fullmatch(path)
        return ROUTES.find_other(method, path) if is_plain else None

    def check_head(self, operation: Operation, query: Mapping[str, str], headers: Mapping[str, str]) -> None:
        """Raise Refusal(400) if a call of a model hides its token counts, or names a second model in the query."""
        check_head(operation, query, headers)

    def read_request(
        self, operation: Operation, query: Mapping[str, str], content_type: str, body: RequestBody
    ) -> Facts:
        """Return what a request asks for. Raises Refusal(400)."""
        check_query(query)
        check_json_type(content_type)
        data = read_body(body)
        refuse_lookalikes(data, _MEMBERS)
        inner = data.child("request")
        if inner is None:
            raise malformed("`request` is missing, which has the contents")
        refuse_lookalikes(inner, KEYS)
        model = bare(read_model(inner if operation.name == COUNT else data))
        return facts_of_contents(operation, inner, model)

    def check_model_name(self, model: str) -> None:
        """Raise Refusal(403) if this is no name of a model of Google's."""
        _GEMINI.check_model_name(model)

    def edit_body(self, operation: Operation, body: EditableBody, edits: RequestEdits) -> bool:
        """Set model, parameters and limit in the envelope, and return whether the model changed."""
        inner = body.root.child("request")
        assert inner is not None, "the request was read before"
        holder = inner if operation.name == COUNT else body.root
        changed = edits.model is not None and _GEMINI.set_model(holder, edits.model)
        if edits.parameters:
            set_parameters(inner, as_json(edits.parameters), edits.model or "")
        if edits.max_tokens is not None and operation.name != COUNT:
            cap_output(inner, edits.max_tokens)
        return changed

    def clamp_temperature(self, operation: Operation, body: EditableBody) -> None:
        """Set a temperature above 1 to 1 in the generation's configuration."""
        if inner := body.root.child("request"):
            clamp(generation_config(inner))
