"""The responses of Anthropic's API: https://docs.anthropic.com/en/api."""

from __future__ import annotations

from email import message_from_bytes
from typing import TYPE_CHECKING, Any

from wirekey_simulator import reports, text
from wirekey_simulator.anthropic_messages import AnthropicTurn, check, check_messages, events, message, turn_of
from wirekey_simulator.exchange import (
    BadRequest,
    Json,
    SimulatedRequest,
    SimulatedResponse,
    encode,
    json_response,
    sse,
    sse_response,
)
from wirekey_simulator.state import CREATED_TEXT, State

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from wirekey_simulator.behaviour import Behaviour

ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
WRONG_CREDENTIAL_STATUS = 401
LOGIN, LOGIN_BETA = "sk-ant-oat", "oauth-2025-04-20"
MODELS = {
    "claude-opus-4-5": "Claude Opus 4.5",
    "claude-sonnet-4-5": "Claude Sonnet 4.5",
    "claude-haiku-4-5": "Claude Haiku 4.5",
}
MEMBERS = frozenset(
    """anthropic_beta anthropic_version betas billing_policy cache_control compaction container context_management
    diagnostics fallback_credit_token fallbacks inference_geo max_tokens mcp_servers messages metadata model
    output_config output_format service_tier speed stop_sequences stream system temperature thinking thread
    tool_choice tools top_k top_p user_profile_id workspace_id""".split()  # noqa: SIM905 - 33 lines of names otherwise
)
FILES, BATCHES = "anthropic.files", "anthropic.batches"
UNSUCCESSFUL = ("errored", "canceled", "expired")
"""The results of requests of a batch that have no message."""
ENDS = "2026-01-02T00:00:00Z"
MID_STREAM_ERROR = {"type": "error", "error": {"details": None, "type": "overloaded_error", "message": "Overloaded"}}


def check_credentials(request: SimulatedRequest, keys: Collection[str] | None) -> str | None:
    """Check the key in x-api-key or the bearer token. Return None if it is right, else the provider's sentence.

    The token of a login (`sk-ant-oat…`) is a bearer token, and needs a beta of its own.
    """
    if key := request.header("x-api-key"):
        if key.startswith(LOGIN):
            return "invalid x-api-key"
        return None if keys is None or key in keys else "invalid x-api-key"
    scheme, _, key = request.header("authorization").partition(" ")
    if scheme.lower() != "bearer" or not key:
        return "x-api-key header is required"
    if key.startswith(LOGIN) and LOGIN_BETA not in request.header("anthropic-beta"):
        return "OAuth authentication is currently not supported."
    return None if keys is None or key in keys else "Invalid bearer token"


def failure(status: int, message: str, behaviour: Behaviour) -> SimulatedResponse:  # noqa: ARG001 - alike for all providers
    """Return an error response in Anthropic's shape."""
    kind = ERROR_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    headers = [("request-id", "req_simulated")]
    error = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_simulated"}
    return json_response(error, status, headers)


def respond(request: SimulatedRequest, behaviour: Behaviour, state: State) -> SimulatedResponse:
    """Return the response to a request. Raises BadRequest if the provider would refuse it."""
    if not request.header("anthropic-version"):
        raise BadRequest("anthropic-version: header is required", field="anthropic-version")
    made = _route(request, behaviour, state)
    made.headers += [
        ("request-id", state.new_id("req_sim")),
        ("anthropic-organization-id", "00000000-0000-4000-8000-000000000000"),
        ("anthropic-ratelimit-requests-limit", "4000"),
        ("anthropic-ratelimit-requests-remaining", "3999"),
        ("anthropic-ratelimit-requests-reset", "2026-01-01T00:00:00Z"),
    ]
    return made


def _route(request: SimulatedRequest, behaviour: Behaviour, state: State) -> SimulatedResponse:
    match request.method, *request.path.removeprefix("/v1/").split("/"):
        case "POST", "messages":
            return _messages(request, behaviour, state)
        case "POST", "messages", "count_tokens":
            return _count_tokens(request, behaviour)
        case "GET", "organizations", "usage_report", "messages":
            return reports.anthropic_page("usage_report", request, state)
        case "GET", "organizations", "cost_report":
            return reports.anthropic_page("cost_report", request, state)
        case "GET", "models":
            return json_response(_page([_model(name) for name in MODELS]))
        case "GET", "models", name:
            if name not in MODELS and "sim-" not in name:
                raise BadRequest(f"model: {name}", status=404)
            return json_response(_model(name))
        case method, "messages", "batches", *rest:
            return _batches(method, rest, request, behaviour, state)
        case method, "files", *rest:
            return _files(method, rest, request, state)
    raise BadRequest("Not found", status=404)


def _messages(request: SimulatedRequest, behaviour: Behaviour, state: State) -> SimulatedResponse:
    body = request.json()
    _check_message_request(body)
    turn = _turn(body, behaviour, state)
    turn.plan  # noqa: B018 - a refusal comes before the stream
    reports.record("anthropic", request, body["model"], turn.counts, state)
    if not body.get("stream"):
        return json_response(message(turn))
    return sse_response(_stream(turn), sse(MID_STREAM_ERROR, "error"))


def _turn(body: Json, behaviour: Behaviour, state: State) -> AnthropicTurn:
    return turn_of(body, behaviour, body["model"], state.new_id("msg_sim"), state.new_id("toolu_sim"))


def _stream(turn: AnthropicTurn) -> Iterator[bytes]:
    for event in events(turn):
        kind = event["type"]
        if kind == "message_stop" and turn.behaviour.no_done:
            return
        yield sse(event, kind)


def _check_message_request(body: Json) -> None:
    _check_model(body)
    check(body)
    if unknown := next((name for name in body if name not in MEMBERS), None):
        raise BadRequest(f"{unknown}: Extra inputs are not permitted", field=unknown)


def _check_model(body: Json) -> None:
    model = body.get("model")
    if model is None:
        raise BadRequest("model: Field required", field="model")
    if not isinstance(model, str) or not model:
        raise BadRequest("model: Input should be a valid string", field="model")


def _count_tokens(request: SimulatedRequest, behaviour: Behaviour) -> SimulatedResponse:
    body = request.json()
    _check_model(body)
    check_messages(body)
    return json_response({"input_tokens": text.counts(behaviour, body).input})


def _model(name: str) -> Json:
    return {
        "type": "model",
        "id": name,
        "display_name": MODELS.get(name, name),
        "created_at": CREATED_TEXT,
        "max_input_tokens": 200_000,
        "max_tokens": 64_000,
        "lifecycle": "active",
    }


def _page(items: list[Json]) -> Json:
    first, last = (items[0]["id"], items[-1]["id"]) if items else (None, None)
    return {"data": items, "has_more": False, "first_id": first, "last_id": last}


def _stored(state: State, shelf: str, key: str) -> Any:
    try:
        return state.shelf(shelf)[key]
    except KeyError:
        raise BadRequest(f"{shelf.partition('.')[2].title()}: {key} not found", status=404) from None


def _batches(
    method: str, rest: list[str], request: SimulatedRequest, behaviour: Behaviour, state: State
) -> SimulatedResponse:
    match method, *rest:
        case ["POST"]:
            return json_response(_new_batch(request, behaviour, state))
        case ["GET"]:
            return json_response(_page([batch for batch, _ in state.shelf(BATCHES).values()]))
        case ["GET", name]:
            return json_response(_stored(state, BATCHES, name)[0])
        case ["POST", name, "cancel"]:
            return json_response(_stored(state, BATCHES, name)[0] | {"cancel_initiated_at": CREATED_TEXT})
        case ["DELETE", name]:
            _stored(state, BATCHES, name)
            del state.shelf(BATCHES)[name]
            return json_response({"id": name, "type": "message_batch_deleted"})
        case ["GET", name, "results"]:
            lines = b"".join(encode(line) + b"\n" for line in _stored(state, BATCHES, name)[1])
            return SimulatedResponse(200, [("content-type", "application/x-jsonl")], lines)
    raise BadRequest("Not found", status=404)


def _new_batch(request: SimulatedRequest, behaviour: Behaviour, state: State) -> Json:
    """Make a batch that is done at once.

    A request whose `custom_id` begins with `errored`, `canceled` or `expired` ends so, and has no message.
    """
    items = request.json().get("requests")
    if not isinstance(items, list) or not items:
        raise BadRequest("requests: Field required", field="requests")
    results = []
    for index, item in enumerate(items):
        if not isinstance(item, dict) or not isinstance(item.get("params"), dict) or "custom_id" not in item:
            raise BadRequest(f"requests.{index}: custom_id and params are required", field="requests")
        _check_message_request(item["params"])
        results.append({"custom_id": item["custom_id"], "result": _batch_result(item, behaviour, state)})
    name = state.new_id("msgbatch_sim")
    batch = {
        "id": name,
        "type": "message_batch",
        "processing_status": "ended",
        "request_counts": {"processing": 0}
        | {kind: sum(result["result"]["type"] == kind for result in results) for kind in ("succeeded", *UNSUCCESSFUL)},
        "ended_at": CREATED_TEXT,
        "created_at": CREATED_TEXT,
        "expires_at": ENDS,
        "archived_at": None,
        "cancel_initiated_at": None,
        "results_url": f"{request.base_url}/v1/messages/batches/{name}/results",
    }
    state.store(BATCHES, name, (batch, results))
    return batch


def _batch_result(item: Json, behaviour: Behaviour, state: State) -> Json:
    kind = next((kind for kind in UNSUCCESSFUL if str(item["custom_id"]).startswith(kind)), None)
    if kind == "errored":
        error = {"type": "error", "error": {"type": "api_error", "message": "Internal server error (simulated)"}}
        return {"type": kind, "error": error}
    if kind:
        return {"type": kind}
    made = message(_turn(item["params"], behaviour, state))
    made["usage"]["service_tier"] = "batch"
    return {"type": "succeeded", "message": made}


def _files(method: str, rest: list[str], request: SimulatedRequest, state: State) -> SimulatedResponse:
    match method, *rest:
        case ["POST"]:
            return json_response(_new_file(request, state))
        case ["GET"]:
            return json_response(_page([file for file, _ in state.shelf(FILES).values()]))
        case ["GET", name]:
            return json_response(_stored(state, FILES, name)[0])
        case ["GET", name, "content"]:
            file, content = _stored(state, FILES, name)
            return SimulatedResponse(200, [("content-type", file["mime_type"])], content)
        case ["DELETE", name]:
            _stored(state, FILES, name)
            del state.shelf(FILES)[name]
            return json_response({"id": name, "type": "file_deleted"})
    raise BadRequest("Not found", status=404)


def _new_file(request: SimulatedRequest, state: State) -> Json:
    kind = request.header("content-type")
    if not kind.startswith("multipart/form-data"):
        raise BadRequest("file: Field required", field="file")
    form = message_from_bytes(b"content-type: " + kind.encode("latin-1") + b"\r\n\r\n" + request.body)
    parts = form.get_payload()
    part: Any = next((part for part in parts if not isinstance(part, str) and part.get_filename()), None)
    if part is None:
        raise BadRequest("file: Field required", field="file")
    content: bytes = part.get_payload(decode=True) or b""
    file = {
        "id": state.new_id("file_sim"),
        "type": "file",
        "filename": part.get_filename(),
        "mime_type": part.get_content_type(),
        "size_bytes": len(content),
        "created_at": CREATED_TEXT,
        "downloadable": True,
    }
    state.store(FILES, str(file["id"]), (file, content))
    return file
