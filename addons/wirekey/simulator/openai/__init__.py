"""OpenAI's answers. Source: platform.openai.com/docs/api-reference."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wirekey.simulator.exchange import Answer, BadRequest, Request, json_answer
from wirekey.simulator.openai import chat, completions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from wirekey.simulator.behaviour import Behaviour
    from wirekey.simulator.state import State

ROUTES: dict[str, dict[str, Callable[..., Answer]]] = {
    "/v1/chat/completions": {"POST": chat.create},
    "/v1/completions": {"POST": completions.create},
}
"""Path → method → what answers it. `{}` is one part of a path, given to the function after the state."""

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


def answer(request: Request, behaviour: Behaviour, state: State) -> Answer:
    """Answer a request as api.openai.com does. Raises no BadRequest: its field and code are in the answer."""
    return answer_at(request.path, request, behaviour, state)


def answer_at(path: str, request: Request, behaviour: Behaviour, state: State) -> Answer:
    """Answer as if the request had come for this path, which begins with /v1/."""
    try:
        function, ids = _function(request.method, path)
        given = function(request, behaviour, state, *ids)
    except BadRequest as error:
        given = _failure(error.status, error.message, error.code, error.field)
    number = state.new_id("req_", 32)
    given.headers += [("x-request-id", number), ("openai-version", "2020-10-01"), ("openai-processing-ms", "3")]
    return given


def failure(status: int, message: str, behaviour: Behaviour) -> Answer:  # noqa: ARG001  # others need it
    return _failure(status, message)


def check_credentials(request: Request, keys: Collection[str] | None) -> str | None:
    scheme, _, key = request.header("authorization").partition(" ")
    if scheme != "Bearer" or not key:
        return (
            "You didn't provide an API key. You need to provide your API key in an Authorization header using "
            "Bearer auth (i.e. Authorization: Bearer YOUR_KEY)."
        )
    if keys is not None and key not in keys:
        return "Incorrect API key provided. You can find your API key at https://platform.openai.com/account/api-keys."
    return None


def _failure(status: int, message: str, code: str | None = None, field: str | None = None) -> Answer:
    kind, usual = ERRORS.get(status, ("server_error" if status >= 500 else "invalid_request_error", None))
    return json_answer({"error": {"message": message, "type": kind, "param": field, "code": code or usual}}, status)


def _function(method: str, path: str) -> tuple[Callable[..., Answer], tuple[str, ...]]:
    ids: tuple[str, ...] = ()
    methods = ROUTES.get(path)
    if methods is None or "{}" in path:
        match, methods = next(
            ((match, methods) for pattern, methods in PATTERNS if (match := pattern.fullmatch(path))), (None, None)
        )
        ids = match.groups() if match else ()
    if methods is None:
        raise BadRequest(f"Invalid URL ({method} {path})", status=404)
    if method not in methods:
        raise BadRequest(f"Not allowed to {method} on {path}.", status=405, code="method_not_supported")
    return methods[method], ids
