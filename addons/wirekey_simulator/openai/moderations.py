"""`/v1/moderations`: flags input that contains the word "violence"."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey_simulator.exchange import Json, SimulatedResponse, encode, json_response
from wirekey_simulator.openai.parameters import optional, required

if TYPE_CHECKING:
    from wirekey_simulator.openai.call import OpenAICall

CATEGORIES = (
    "harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent", "self-harm",
    "self-harm/instructions", "self-harm/intent", "sexual", "sexual/minors", "violence", "violence/graphic",
)  # fmt: skip


def create(call: OpenAICall) -> SimulatedResponse:
    """Return one result for each input."""
    body = call.request.json()
    given = required(body, "input", str, list)
    inputs = given if isinstance(given, list) and isinstance(given[0], str) else [given]
    return json_response(
        {
            "id": call.state.new_id("modr-"),
            "model": optional(body, "model", str) or "omni-moderation-latest",
            "results": [_result("violence" in encode(item).decode().lower()) for item in inputs],
        }
    )


def _result(flagged: bool) -> Json:
    categories = {name: flagged and name == "violence" for name in CATEGORIES}
    return {
        "flagged": flagged,
        "categories": categories,
        "category_scores": {name: 0.9 if hit else 0.0001 for name, hit in categories.items()},
        "category_applied_input_types": {name: ["text"] for name in CATEGORIES},
    }
