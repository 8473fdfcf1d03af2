"""Azure OpenAI: OpenAI's API below /openai, with deployments in the path, and errors of its own.

https://learn.microsoft.com/azure/ai-foundry/openai/reference
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from wirekey_simulator import openai
from wirekey_simulator.exchange import BadRequest, SimulatedRequest, SimulatedResponse, json_response

if TYPE_CHECKING:
    from collections.abc import Collection

    from wirekey_simulator.behaviour import Behaviour
    from wirekey_simulator.state import State

PREFIX = "/openai"
DEPLOYMENT = re.compile(rf"{PREFIX}/deployments/([A-Za-z0-9][A-Za-z0-9._-]*)(/.+)")
API_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(?:-preview)?|preview|latest|v1")
WRONG_KEY = (
    "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an "
    "active subscription and use a correct regional API endpoint for your resource."
)


def respond(request: SimulatedRequest, behaviour: Behaviour, state: State) -> SimulatedResponse:
    """Return the response to a request. A path without the version v1 needs `api-version`. Raises BadRequest."""
    found, path = DEPLOYMENT.fullmatch(request.path), request.path.removeprefix(PREFIX)
    if path.startswith("/v1/"):
        return openai.respond_at(path, request, behaviour, state)
    if not API_VERSION.fullmatch(request.parameter("api-version")):
        raise BadRequest("Resource not found", status=404)
    if found is None:
        return openai.respond_at(f"/v1{path}", request, behaviour, state)
    return openai.respond_at(f"/v1{found[2]}", of_deployment(request, found[1]), behaviour, state)


def of_deployment(request: SimulatedRequest, deployment: str) -> SimulatedRequest:
    """Return a request whose model is that of the path. The one in the body means nothing."""
    if "json" not in request.header("content-type"):
        return request
    body = msgspec.json.encode({**request.json(), "model": deployment})
    return replace(request, body=body, size=len(body))


def check_credentials(request: SimulatedRequest, keys: Collection[str] | None) -> str | None:
    """Check the key in `api-key`, or the token of Entra in `authorization`. Return None if it is right."""
    key = request.header("api-key")
    if not key:
        scheme, _, key = request.header("authorization").partition(" ")
        if scheme != "Bearer" or not key:
            return WRONG_KEY
    return None if keys is None or key in keys else WRONG_KEY


def failure(status: int, message: str, behaviour: Behaviour) -> SimulatedResponse:  # noqa: ARG001  # others need it
    """Return an error in Azure's shape."""
    return json_response({"error": {"code": str(status), "message": message}}, status)
