"""The Live API at Vertex AI: Gemini's messages, with the place of the model in `setup`.

https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/multimodal-live. The path names no project and no
location. `setup.model` does: `projects/PROJECT/locations/LOCATION/publishers/google/models/MODEL`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from wirekey.core.body import Body
from wirekey.core.operation import Facts, Kind, Operation
from wirekey.features.vertex.places import LOCATION, MODEL, OWN_PROJECT, PROJECT, Place
from wirekey.providers.gemini.setup import GeminiLiveRequests, setup_of
from wirekey.providers.json_edits import EditableBody
from wirekey.providers.request_json import malformed, read_body

if TYPE_CHECKING:
    from wirekey.core.body import RequestBody
    from wirekey.providers.json_edits import EditableObject
    from wirekey.providers.request_json import JsonObject

OPERATION = Operation("realtime", Body.MESSAGE, Kind.INFERENCE, stream=True)
PATH = re.compile(r"/ws/google\.cloud\.aiplatform\.(?:v1|v1beta1)\.LlmBidiService/BidiGenerateContent")
GATEWAY_PATH = r"//?ws/google\.cloud\.aiplatform\..*"

_NAME = re.compile(
    rf"(projects/(?P<project>{PROJECT})/locations/(?P<location>{LOCATION})/publishers/google/models/)(?P<model>{MODEL})"
)
_FORM = "projects/PROJECT/locations/LOCATION/publishers/google/models/MODEL"


class VertexLiveRequests(GeminiLiveRequests):
    """Reads and edits the first message of a connection."""

    def read_setup(self, message: JsonObject) -> Facts:
        """Return the facts of a `setup`. Raises Refusal(400) if it names no model of a place."""
        return with_bare_model(super().read_setup(message))

    def set_model(self, parent: EditableObject, model: str, key: str = "model", *, add: bool = True) -> bool:
        """Name another model at the place that the client has named."""
        found = _NAME.fullmatch(parent.members.text(key) or "")
        if found is None:
            raise misplaced()
        if found["model"] == model:
            return False
        parent.set({key: msgspec.json.encode(found[1] + model)})
        return True


def with_bare_model(facts: Facts) -> Facts:
    """Return facts whose model is named without its place. Raises Refusal(400) if it has none."""
    found = _NAME.fullmatch(facts.model or "")
    if found is None:
        raise misplaced()
    return replace(facts, model=found["model"])


def misplaced() -> Exception:
    """Return the refusal of a `setup` whose model has no place."""
    return malformed(f"`setup.model` must be {_FORM}")


def place_of_setup(message: RequestBody) -> Place:
    """Return the project and location that the first message of a connection names. Raises Refusal(400)."""
    setup = read_body(message).child("setup")
    found = _NAME.fullmatch((setup.text("model") if setup else None) or "")
    if found is None:
        raise misplaced()
    return Place(found["project"], found["location"])


def setup_in_project(message: RequestBody, project: str) -> RequestBody:
    """Return a first message with this project, if it names that of the credentials. Raises Refusal(400)."""
    editable = EditableBody(message)
    setup = setup_of(editable)
    found = _NAME.fullmatch(setup.members.text("model") or "")
    if found is None:
        raise misplaced()
    if found["project"] == OWN_PROJECT:
        name = f"projects/{project}{found[0].removeprefix(f'projects/{OWN_PROJECT}')}"
        setup.set({"model": msgspec.json.encode(name)})
    return editable.written()
