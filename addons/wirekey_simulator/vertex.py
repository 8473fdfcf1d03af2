"""Vertex AI: Google's, Anthropic's and OpenAI's formats below a project and a location.

https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from wirekey_simulator import anthropic, gemini, gemini_live, openai
from wirekey_simulator.exchange import BadRequest, Json, SimulatedRequest, SimulatedResponse, sse

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from wirekey_simulator.behaviour import Behaviour
    from wirekey_simulator.state import State

PLACE = re.compile(r"/v1(?:beta1)?/projects/[a-z][a-z0-9-]+/locations/([a-z0-9-]+)(/.+)")
GOOGLE = re.compile(r"/publishers/google(/models/[A-Za-z0-9._@-]+:[A-Za-z]+)")
CLAUDE = re.compile(r"/publishers/anthropic/models/([A-Za-z0-9._@-]+):(rawPredict|streamRawPredict)")
HOST = re.compile(r"(?:([a-z0-9-]+)-)?aiplatform\.(?:(us|eu)\.rep\.)?googleapis\.com")
ANTHROPIC_VERSION = re.compile(r"(?:vertex-)?\d{4}-\d{2}-\d{2}")
WRONG_CREDENTIAL_STATUS = 401
REFUSED = (
    "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
    "authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project."
)


def location_of_host(host: str) -> str | None:
    """Return the location of a host of Vertex AI, or None for every other name."""
    found = HOST.fullmatch(host)
    return (found[1] or found[2] or "global") if found else None


def respond(request: SimulatedRequest, behaviour: Behaviour, state: State) -> SimulatedResponse:
    """Return the response to a request. Raises BadRequest if the provider would refuse it."""
    if request.method == "GET" and re.fullmatch(r"/v1(?:beta1)?/publishers/google/models(?:/.+)?", request.path):
        return gemini.respond(
            moved(request, "/v1beta" + request.path.partition("/publishers/google")[2]), behaviour, state
        )
    called = location_of_host(request.authority.partition(":")[0])
    if gemini_live.VERTEX_PATH.fullmatch(request.path):
        return gemini_live.connect(request, behaviour, state, at_vertex=called or "")
    place = PLACE.fullmatch(request.path)
    if place is None:
        raise gemini.not_found(request)
    if called not in (None, place[1]):
        raise BadRequest(f"The location {place[1]} is not served by this host.")
    rest = place[2]
    if found := GOOGLE.fullmatch(rest):
        check_google(request)
        return gemini.respond(moved(request, f"/v1beta{found[1]}"), behaviour, state)
    if found := CLAUDE.fullmatch(rest):
        return _claude(found[1], found[2], request, behaviour, state)
    if rest == "/endpoints/openapi/chat/completions":
        model = request.json().get("model")
        if not isinstance(model, str) or "/" not in model:
            raise BadRequest("Malformed publisher model. Expected format: PUBLISHER/MODEL.")
        return with_counts_beside_choices(openai.respond_at("/v1/chat/completions", request, behaviour, state))
    raise gemini.not_found(request)


def with_counts_beside_choices(response: SimulatedResponse) -> SimulatedResponse:
    """Return a chat as Google's servers stream it: with counts in each chunk, all in the last, and none after it."""
    if response.pieces is not None:
        response.pieces = _counted(iter(response.pieces))
    return response


def _counted(pieces: Iterator[bytes]) -> Iterator[bytes]:
    last: Json = {}
    for piece in pieces:
        chunk = msgspec.json.decode(piece[len(b"data: ") :]) if piece.startswith(b"data: {") else None
        if chunk is not None and "usage" in chunk and not chunk["choices"]:
            yield sse({**last, "usage": chunk["usage"]})
            last = {}
            continue
        if last:
            yield sse(last)
        last = {}
        if chunk is None or "usage" not in chunk:
            yield piece
        elif chunk["choices"][0]["finish_reason"] is None:
            yield sse({**chunk, "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}})
        else:
            last = chunk


def check_google(request: SimulatedRequest) -> None:
    """Raise BadRequest for contents without a role, which only the Gemini API accepts."""
    contents = request.json().get("contents")
    for content in contents if isinstance(contents, list) else ():
        if isinstance(content, dict) and content.get("role") not in ("user", "model"):
            raise BadRequest("Please use a valid role: user, model.")


def _claude(
    model: str, action: str, request: SimulatedRequest, behaviour: Behaviour, state: State
) -> SimulatedResponse:
    body = request.json()
    version = body.get("anthropic_version")
    if not isinstance(version, str) or not ANTHROPIC_VERSION.fullmatch(version):
        raise BadRequest("anthropic_version: Field required")
    if model == "count-tokens":
        return anthropic.respond(with_body(request, "/v1/messages/count_tokens", body), behaviour, state)
    if "model" in body:
        raise BadRequest("model: Extra inputs are not permitted")
    if bool(body.get("stream")) != (action == "streamRawPredict"):
        raise BadRequest("stream: Input should be valid for this method")
    return anthropic.respond(with_body(request, "/v1/messages", {**body, "model": model}), behaviour, state)


def moved(request: SimulatedRequest, path: str) -> SimulatedRequest:
    """Return a request with another path."""
    query = request.target.partition("?")[1:]
    return replace(request, target=path + "".join(query))


def with_body(request: SimulatedRequest, path: str, body: Json) -> SimulatedRequest:
    """Return a request to Anthropic's own API, whose version is in a header."""
    content = msgspec.json.encode({name: value for name, value in body.items() if name != "anthropic_version"})
    headers = (*request.headers, (b"anthropic-version", b"2023-06-01"))
    return replace(moved(request, path), headers=headers, body=content, size=len(content))


def check_credentials(request: SimulatedRequest, keys: Collection[str] | None) -> str | None:
    """Check the access token. Return None if it is right, else the provider's sentence."""
    scheme, _, token = request.header("authorization").partition(" ")
    if scheme != "Bearer" or not token:
        return REFUSED
    return None if keys is None or token in keys else REFUSED


def failure(status: int, message: str, behaviour: Behaviour) -> SimulatedResponse:
    """Return an error response in Google's shape."""
    return gemini.failure(status, message, behaviour)
