"""The responses of OpenAI's API: https://platform.openai.com/docs/api-reference."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from wirekey_simulator.exchange import BadRequest, SimulatedRequest, SimulatedResponse, json_response
from wirekey_simulator.openai import (
    audio,
    batches,
    chat,
    completions,
    embeddings,
    files,
    images,
    models,
    moderations,
    organization,
    realtime,
    responses,
    responses_websocket,
    storage,
)
from wirekey_simulator.openai.call import OpenAICall

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from wirekey_simulator.behaviour import Behaviour
    from wirekey_simulator.state import State

ROUTES: dict[str, dict[str, Callable[[OpenAICall], SimulatedResponse]]] = {
    "/v1/chat/completions": {"POST": chat.create, "GET": storage.list_of(chat.SHELF)},
    "/v1/chat/completions/{}": {
        "GET": storage.get_of(chat.SHELF, "Chat completion"),
        "POST": storage.update_of(chat.SHELF, "Chat completion"),
        "DELETE": storage.delete_of(chat.SHELF, "Chat completion", "chat.completion.deleted"),
    },
    "/v1/chat/completions/{}/messages": {"GET": chat.messages},
    "/v1/completions": {"POST": completions.create},
    "/v1/responses": {"POST": responses.create, "GET": responses_websocket.connect},
    "/v1/responses/input_tokens": {"POST": responses.count_input},
    "/v1/responses/compact": {"POST": responses.compact},
    "/v1/responses/{}": {
        "GET": storage.get_of(responses.SHELF, "Response"),
        "DELETE": storage.delete_of(responses.SHELF, "Response", "response"),
    },
    "/v1/responses/{}/cancel": {"POST": responses.cancel},
    "/v1/responses/{}/input_items": {"GET": responses.input_items},
    "/v1/embeddings": {"POST": embeddings.create},
    "/v1/moderations": {"POST": moderations.create},
    "/v1/images/generations": {"POST": images.generate},
    "/v1/images/edits": {"POST": images.edit},
    "/v1/images/variations": {"POST": images.edit},
    "/v1/audio/speech": {"POST": audio.speech},
    "/v1/audio/transcriptions": {"POST": audio.transcribe},
    "/v1/audio/translations": {"POST": audio.transcribe},
    "/v1/realtime": {"GET": realtime.connect},
    "/v1/models": {"GET": models.list_all},
    "/v1/models/{}": {"GET": models.get, "DELETE": models.delete},
    "/v1/files": {"POST": files.create, "GET": storage.list_of(files.SHELF)},
    "/v1/files/{}": {"GET": storage.get_of(files.SHELF, "File"), "DELETE": files.delete},
    "/v1/files/{}/content": {"GET": files.content},
    "/v1/uploads": {"POST": files.begin_upload},
    "/v1/uploads/{}/parts": {"POST": files.add_part},
    "/v1/uploads/{}/complete": {"POST": files.complete_upload},
    "/v1/uploads/{}/cancel": {"POST": files.cancel_upload},
    "/v1/organization/costs": {"GET": organization.costs},
    "/v1/organization/usage/completions": {"GET": partial(organization.usage, "completions")},
    "/v1/organization/usage/embeddings": {"GET": partial(organization.usage, "embeddings")},
    "/v1/batches": {"POST": batches.create, "GET": storage.list_of(batches.SHELF)},
    "/v1/batches/{}": {"GET": batches.get},
    "/v1/batches/{}/cancel": {"POST": batches.cancel},
}
"""Path → method → function. `{}` is one part of a path, which the function gets as `call.key`."""

PATTERNS = [
    (re.compile(re.escape(path).replace(r"\{\}", "([^/]+)")), methods)
    for path, methods in ROUTES.items()
    if "{}" in path
]
ERRORS = {
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "unsupported_country_region_territory"),
    429: ("requests", "rate_limit_exceeded"),
    500: ("server_error", None),
    503: ("server_error", "server_overloaded"),
}


def respond(request: SimulatedRequest, behaviour: Behaviour, state: State) -> SimulatedResponse:
    """Return the response to a request. Never raises BadRequest: the error response needs its field and code."""
    return respond_at(request.path, request, behaviour, state)


def respond_at(path: str, request: SimulatedRequest, behaviour: Behaviour, state: State) -> SimulatedResponse:
    """Return the response that a request for this path, which begins with /v1/, would get."""
    try:
        function, key = _function(request.method, path)
        given = function(OpenAICall(request, behaviour, state, key))
    except BadRequest as error:
        given = _failure(error.status, error.message, error.code, error.field)
    number = state.new_id("req_", 32)
    given.headers += [("x-request-id", number), ("openai-version", "2020-10-01"), ("openai-processing-ms", "3")]
    given.headers += [("x-ratelimit-limit-requests", "4000"), ("x-ratelimit-reset-requests", "15ms")]
    return given


def failure(status: int, message: str, behaviour: Behaviour) -> SimulatedResponse:  # noqa: ARG001  # others need it
    """Return an error response in OpenAI's shape."""
    return _failure(status, message)


def check_credentials(request: SimulatedRequest, keys: Collection[str] | None) -> str | None:
    """Check the bearer token. Return None if it is right, else the provider's sentence."""
    scheme, _, key = request.header("authorization").partition(" ")
    if scheme != "Bearer" or not key:
        return (
            "You didn't provide an API key. You need to provide your API key in an Authorization header using "
            "Bearer auth (i.e. Authorization: Bearer YOUR_KEY)."
        )
    if keys is not None and key not in keys:
        return "Incorrect API key provided. You can find your API key at https://platform.openai.com/account/api-keys."
    return None


def _failure(status: int, message: str, code: str | None = None, field: str | None = None) -> SimulatedResponse:
    kind, usual = ERRORS.get(status, ("server_error" if status >= 500 else "invalid_request_error", None))
    return json_response({"error": {"message": message, "type": kind, "param": field, "code": code or usual}}, status)


def _function(method: str, path: str) -> tuple[Callable[[OpenAICall], SimulatedResponse], str]:
    """Return the function for a method and a path, and the id in the path."""
    methods, key = (ROUTES[path], "") if path in ROUTES and "{}" not in path else (None, "")
    if methods is None:
        found = ((match, methods) for pattern, methods in PATTERNS if (match := pattern.fullmatch(path)))
        match, methods = next(found, (None, None))
        key = match[1] if match else ""
    if methods is None:
        raise BadRequest(f"Invalid URL ({method} {path})", status=404)
    if method not in methods:
        raise BadRequest(f"Not allowed to {method} on {path}.", status=405, code="method_not_supported")
    return methods[method], key
