"""The responses of Code Assist, whose API is not published. It is as strict as what is known of it allows.

The word after `sim-` in an access token says whose it is:

| token | account |
|---|---|
| `sim-known…`, or without the word | has the project `sim-project-1` |
| `sim-new…` | is onboarded by an operation that is done at the first question |
| `sim-slow…` | is onboarded by an operation that is done at the second question |
| `sim-projectless…` | is onboarded by an operation that makes no project |
| `sim-stuck…` | is onboarded by an operation that fails |
| `sim-validation…` | must be verified by its owner first |
| `sim-homeless…` | has a tier, and no project |
| `sim-limited…` | gets 429 for every model, with a delay |
| `sim-exhausted…` | gets 429 for models with `pro` in their name, until the next day |
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from wirekey_simulator import gemini, text
from wirekey_simulator.exchange import BadRequest, Json, SimulatedRequest, SimulatedResponse, encode, json_response
from wirekey_simulator.gemini_generate import generate, stream_generate

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from wirekey_simulator.behaviour import Behaviour
    from wirekey_simulator.state import State

PROJECT = "sim-project-1"
MADE_PROJECT = "sim-made-project-1"
PREFIX = "/v1internal"
MEMBERS = {"model", "project", "user_prompt_id", "request", "enabled_credit_types"}
INNER_MEMBERS = {
    *("contents", "systemInstruction", "cachedContent", "tools", "toolConfig", "labels", "safetySettings"),
    *("generationConfig", "session_id", "system_instruction", "cached_content", "tool_config", "safety_settings"),
    "generation_config",
}
METADATA = {"ideType", "platform", "pluginType", "duetProject"}
KIND = re.compile(r"sim-([a-z]+)")
VERIFY = "Verify your account to continue."
NO_LOGIN = (
    "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
    "authentication credential."
)


def check_credentials(request: SimulatedRequest, keys: Collection[str] | None) -> str | None:
    """Check the access token. Return the sentence with which a wrong one is refused, else None."""
    scheme, _, token = request.header("authorization").partition(" ")
    if scheme != "Bearer" or not token or (keys is not None and token not in keys):
        return NO_LOGIN
    return None


def failure(status: int, message: str, behaviour: Behaviour) -> SimulatedResponse:
    """Return an error response in Google's shape."""
    return gemini.failure(status, message, behaviour)


def respond(request: SimulatedRequest, behaviour: Behaviour, state: State) -> SimulatedResponse:
    """Return the response to a request. Raises BadRequest if Code Assist would refuse it."""
    match request.method, request.path.removeprefix(PREFIX):
        case "POST", ":loadCodeAssist":
            return _load(request)
        case "POST", ":onboardUser":
            return _onboard(request, state)
        case "GET", operation if operation.startswith("/operations/"):
            return _operation(operation.removeprefix("/"), state)
        case "POST", ":generateContent":
            return limited(request) or _wrapped(generate(*_inner(request), behaviour, state))
        case "POST", ":streamGenerateContent":
            if request.parameter("alt") != "sse":
                raise BadRequest("The simulator streams with alt=sse only.")
            return limited(request, in_array=True) or _wrapped_stream(
                stream_generate(*_inner(request), behaviour, state)
            )
        case "POST", ":countTokens":
            return _count(request, behaviour)
        case "POST", ":retrieveUserQuota":
            return json_response({"buckets": []})
        case "POST", ":listExperiments":
            return json_response({"flags": [], "experimentIds": []})
        case "POST", ":recordCodeAssistMetrics" | ":fetchAdminControls":
            return json_response({})
    raise gemini.not_found(request)


# Accounts.


def kind_of(request: SimulatedRequest) -> str:
    """Return the kind of the account whose token the request has."""
    found = KIND.search(request.header("authorization"))
    return found[1] if found else "known"


def _load(request: SimulatedRequest) -> SimulatedResponse:
    body = request.json()
    _check_client(body, {"cloudaicompanionProject", "metadata"})
    kind = kind_of(request)
    free = {"id": "free-tier", "name": "Free", "isDefault": True}
    if kind in ("new", "slow", "stuck", "projectless"):
        return json_response({"allowedTiers": [{"id": "standard-tier"}, free]})
    if kind == "validation":
        info = {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "VALIDATION_REQUIRED",
            "domain": "cloudcode-pa.googleapis.com",
            "metadata": {"validation_url": "https://accounts.google.com/verify"},
        }
        error = {"code": 403, "message": VERIFY, "status": "PERMISSION_DENIED", "details": [info]}
        return json_response({"error": error}, 403)
    if kind == "homeless":
        return json_response({"currentTier": {"id": "standard-tier"}, "ineligibleTiers": []})
    named = body.get("cloudaicompanionProject") or PROJECT
    return json_response({"currentTier": {"id": "standard-tier"}, "cloudaicompanionProject": named})


def _onboard(request: SimulatedRequest, state: State) -> SimulatedResponse:
    body = request.json()
    _check_client(body, {"tierId", "cloudaicompanionProject", "metadata"})
    if body.get("tierId") == "free-tier" and "cloudaicompanionProject" in body:
        error = {"code": 400, "message": "Precondition check failed.", "status": "FAILED_PRECONDITION"}
        return json_response({"error": error}, 400)
    name = f"operations/{state.new_id('sim')}"
    state.store("code_assist.operations", name, {"kind": kind_of(request), "asked": 0})
    return json_response({"name": name, "done": False})


def _operation(name: str, state: State) -> SimulatedResponse:
    operation = state.shelf("code_assist.operations").get(name)
    if operation is None:
        raise BadRequest("Operation not found.", status=404)
    operation["asked"] += 1
    if operation["kind"] == "stuck":
        return json_response({"name": name, "done": True, "error": {"code": 9, "message": "Terms not accepted."}})
    if operation["kind"] == "slow" and operation["asked"] < 2:
        return json_response({"name": name, "done": False})
    if operation["kind"] == "projectless":
        return json_response({"name": name, "done": True, "response": {}})
    made = {"cloudaicompanionProject": {"id": MADE_PROJECT, "name": MADE_PROJECT}}
    return json_response({"name": name, "done": True, "response": made})


def _check_client(body: Json, known: set[str]) -> None:
    _refuse_unknown(body, known)
    metadata = body.get("metadata")
    if not isinstance(metadata, dict) or metadata.get("pluginType") != "GEMINI" or set(metadata) - METADATA:
        raise BadRequest("Invalid value at 'metadata'.")


# Calls.


def limited(request: SimulatedRequest, *, in_array: bool = False) -> SimulatedResponse | None:
    """Return the error of an account that is limited for the model, or None."""
    kind, model = kind_of(request), str(request.json().get("model"))
    domain = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "domain": "cloudcode-pa.googleapis.com"}
    if kind == "limited":
        details = [
            domain | {"reason": "RATE_LIMIT_EXCEEDED"},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"},
        ]
    elif kind == "exhausted" and "pro" in model:
        details = [domain | {"reason": "QUOTA_EXHAUSTED"}]
    else:
        return None
    error = {
        "error": {
            "code": 429,
            "message": "Resource has been exhausted (e.g. check quota).",
            "status": "RESOURCE_EXHAUSTED",
            "details": details,
        }
    }
    return json_response([error] if in_array else error, 429)


def _inner(request: SimulatedRequest) -> tuple[str, SimulatedRequest]:
    """Return the model and the request inside the envelope."""
    body = request.json()
    _refuse_unknown(body, MEMBERS)
    model, project, inner = body.get("model"), body.get("project"), body.get("request")
    if not isinstance(model, str) or model.startswith("models/"):
        raise BadRequest("Invalid value at 'model'.")
    if not isinstance(body.get("user_prompt_id"), str) or not body["user_prompt_id"]:
        raise BadRequest("Invalid value at 'user_prompt_id'.")
    if not isinstance(inner, dict):
        raise BadRequest("request is not specified")
    _refuse_unknown(inner, INNER_MEMBERS)
    if project is not None and (not isinstance(project, str) or "wrong" in project):
        raise BadRequest(f"Permission denied on resource project {project}.", status=403)
    _check_model(model)
    own = {name: value for name, value in inner.items() if name != "session_id"}
    return model, replace(request, body=(data := encode(own)), size=len(data))


def _check_model(model: str) -> None:
    if not model.startswith("gemini") and "sim-" not in model:
        raise BadRequest("Requested entity was not found.", status=404)


def _count(request: SimulatedRequest, behaviour: Behaviour) -> SimulatedResponse:
    body = request.json()
    _refuse_unknown(body, {"request"})
    inner = body.get("request")
    if not isinstance(inner, dict) or not inner.get("contents"):
        raise BadRequest("* CountTokensRequest.contents: contents is not specified")
    _refuse_unknown(inner, {"model", "contents"})
    if not str(inner.get("model", "")).startswith("models/"):
        raise BadRequest("Invalid value at 'request.model'.")
    return json_response({"totalTokens": text.counts(behaviour, inner).input})


def _refuse_unknown(body: Json, known: set[str]) -> None:
    if unknown := next((name for name in body if name not in known), None):
        raise BadRequest(f'Invalid JSON payload received. Unknown name "{unknown}": Cannot find field.')


# Envelopes.


def _wrapped(response: SimulatedResponse) -> SimulatedResponse:
    return replace(response, body=envelope(response.body))


def _wrapped_stream(response: SimulatedResponse) -> SimulatedResponse:
    assert response.pieces is not None
    return replace(response, pieces=_pieces(iter(response.pieces)))


def _pieces(events: Iterator[bytes]) -> Iterator[bytes]:
    for event in events:
        yield b"data: %b\n\n" % envelope(event.removeprefix(b"data: ").rstrip(b"\n"))


def envelope(document: bytes) -> bytes:
    """Return a response of Gemini in Code Assist's envelope."""
    return encode({"response": msgspec.Raw(document), "traceId": "sim-trace-1"})
