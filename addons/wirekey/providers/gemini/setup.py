"""The first message of Gemini's Live API, which is read and edited as the body of a request: https://ai.google.dev/api/live.

Its server reads messages as leniently as its other APIs read JSON: a member may be spelt in camel or snake case.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from wirekey.core.body import Body
from wirekey.core.operation import Facts, Kind, Operation
from wirekey.providers.gemini.facts import KEYS, bare, facts_of_contents
from wirekey.providers.gemini.parameters import set_parameters
from wirekey.providers.gemini.requests import GeminiRequests, cap_output, check_query, generation_config
from wirekey.providers.request_edits import as_json, clamp
from wirekey.providers.request_json import malformed, one_of, read_body, read_model, refuse_lookalikes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.core.body import RequestBody
    from wirekey.providers.json_edits import EditableBody, EditableObject
    from wirekey.providers.request_edits import RequestEdits
    from wirekey.providers.request_json import JsonObject

SETUP = "setup"
CONTENT = ("clientContent", "client_content")
ONE_MEMBER = "a message must have one of setup, clientContent, realtimeInput and toolResponse only"
MESSAGE_KEYS = frozenset({SETUP, *CONTENT, "realtimeInput", "realtime_input", "toolResponse", "tool_response"})
_SETTINGS = Operation("realtime.session", Body.MESSAGE, Kind.INFERENCE, stream=True)


class GeminiLiveRequests(GeminiRequests):
    """Reads and edits the first message of a connection as it reads and edits the body of a request."""

    def read_setup(self, message: JsonObject) -> Facts:
        """Return the facts of a `setup`. Raises Refusal(400) if it names no model."""
        return read_setup(message)

    def read_request(
        self, operation: Operation, query: Mapping[str, str], content_type: str, body: RequestBody
    ) -> Facts:
        """Return what a request or a first message asks for. Raises Refusal(400)."""
        if operation.body is not Body.MESSAGE:
            return super().read_request(operation, query, content_type, body)
        check_query(query)
        message = read_body(body)
        refuse_lookalikes(message, MESSAGE_KEYS)
        if len(MESSAGE_KEYS & message.values.keys()) > 1:
            raise malformed(ONE_MEMBER)
        return self.read_setup(message)

    def edit_body(self, operation: Operation, body: EditableBody, edits: RequestEdits) -> bool:
        """Set model, parameters and limit in a body or a first message, and return whether the model changed."""
        if operation.body is not Body.MESSAGE:
            return super().edit_body(operation, body, edits)
        setup = setup_of(body)
        changed = edits.model is not None and self.set_model(setup, edits.model)
        if edits.parameters:
            set_parameters(setup, as_json(edits.parameters), edits.model or "")
        if edits.max_tokens is not None:
            cap_output(setup, edits.max_tokens)
        return changed

    def clamp_temperature(self, operation: Operation, body: EditableBody) -> None:
        """Set a temperature above 1 to 1."""
        if operation.body is Body.MESSAGE:
            clamp(generation_config(setup_of(body)))
        else:
            super().clamp_temperature(operation, body)


def setup_of(body: EditableBody) -> EditableObject:
    """Return the settings of a connection in the message that has them. Raises Refusal(400) if it has none."""
    setup = body.root.child(SETUP)
    if setup is None:
        raise malformed("the first message must have a `setup`")
    return setup


def read_setup(message: JsonObject) -> Facts:
    """Return the facts of a `setup`. Raises Refusal(400) if it names no model."""
    setup = message.child(SETUP)
    if setup is None:
        raise malformed("the first message must have a `setup`")
    refuse_lookalikes(setup, KEYS)
    model = bare(read_model(setup))
    if not model:
        raise malformed("`setup.model` must name a model")
    facts = facts_of_contents(_SETTINGS, setup, model)
    resumed = setup.child(one_of(setup, "sessionResumption", "session_resumption"))
    return replace(facts, reads_elsewhere=True) if resumed and resumed.filled("handle") else facts
