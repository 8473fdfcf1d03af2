"""A host that speaks OpenAI's format below /api, such as OpenRouter: https://openrouter.ai/docs/api-reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey_simulator import openai
from wirekey_simulator.exchange import SimulatedRequest, SimulatedResponse, json_response

if TYPE_CHECKING:
    from collections.abc import Collection

    from wirekey_simulator.behaviour import Behaviour
    from wirekey_simulator.state import State

PREFIX = "/api"


def respond(request: SimulatedRequest, behaviour: Behaviour, state: State) -> SimulatedResponse:
    """Return the response to a request."""
    return openai.respond_at(request.path.removeprefix(PREFIX), request, behaviour, state)


def check_credentials(request: SimulatedRequest, keys: Collection[str] | None) -> str | None:
    """Check the bearer token. Return None if it is right, else the sentence of the host."""
    scheme, _, key = request.header("authorization").partition(" ")
    if scheme != "Bearer" or not key:
        return "No auth credentials found"
    return None if keys is None or key in keys else "User not found."


def failure(status: int, message: str, behaviour: Behaviour) -> SimulatedResponse:  # noqa: ARG001  # others need it
    """Return an error, whose code is the status."""
    return json_response({"error": {"message": message, "code": status}}, status)
