"""`/v1/models`."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

from wirekey_simulator.exchange import BadRequest, Json, SimulatedResponse, json_response
from wirekey_simulator.state import CREATED

if TYPE_CHECKING:
    from wirekey_simulator.openai.call import OpenAICall

NAMES = (
    "gpt-5", "gpt-5-mini", "gpt-4.1", "gpt-4.1-mini", "gpt-4o", "gpt-4o-mini", "o3", "o4-mini",
    "gpt-3.5-turbo-instruct", "text-embedding-3-small", "text-embedding-3-large", "omni-moderation-latest",
    "gpt-image-1", "dall-e-3", "tts-1", "gpt-4o-mini-tts", "whisper-1", "gpt-4o-transcribe",
)  # fmt: skip


def list_all(call: OpenAICall) -> SimulatedResponse:  # noqa: ARG001  # as the table calls them all
    """Return the list of models."""
    return json_response({"object": "list", "data": [_model(name) for name in NAMES]})


def get(call: OpenAICall) -> SimulatedResponse:
    """Return one model."""
    return json_response(_model(_known(call.key)))


def delete(call: OpenAICall) -> SimulatedResponse:
    """Delete a fine-tuned model. Any name is accepted."""
    name = unquote(call.key)
    if not name.startswith("ft:"):
        raise BadRequest("You have insufficient permissions to delete this model.", status=403)
    return json_response({"id": name, "object": "model", "deleted": True})


def _known(key: str) -> str:
    name = unquote(key)
    if name not in NAMES and "sim-" not in name:
        raise BadRequest(f"The model '{name}' does not exist", status=404, code="model_not_found", field="model")
    return name


def _model(name: str) -> Json:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "simulator"}
