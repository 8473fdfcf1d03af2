"""The responses of Mistral's API: chat, completion in a text (FIM), embeddings and models.

https://docs.mistral.ai/api
"""

from __future__ import annotations

import base64
import re
from array import array
from typing import TYPE_CHECKING, Any

from wirekey_simulator import session, text
from wirekey_simulator.exchange import (
    BadRequest,
    Json,
    SimulatedRequest,
    SimulatedResponse,
    encode,
    json_response,
    rules,
    sse,
    sse_response,
)
from wirekey_simulator.members import child, objects
from wirekey_simulator.openai.embeddings import vector
from wirekey_simulator.state import CREATED

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from wirekey_simulator.behaviour import Behaviour
    from wirekey_simulator.state import State
    from wirekey_simulator.text import TokenCounts

OPTIONS = frozenset(
    [
        *("model", "temperature", "top_p", "max_tokens", "min_tokens", "stream", "stop", "random_seed", "metadata"),
        "prompt_cache_key",
    ]
)
OF_CHATS = frozenset(
    [
        *("messages", "response_format", "tools", "tool_choice", "parallel_tool_calls", "n", "prediction"),
        *("presence_penalty", "frequency_penalty", "repetition_penalty", "top_k", "logprobs", "top_logprobs"),
        *("prompt_logprobs", "top_prompt_logprobs", "guardrails", "reasoning_effort", "prompt_mode", "service_tier"),
        "safe_prompt",
    ]
)
MEMBERS = {
    "/v1/chat/completions": OPTIONS | OF_CHATS,
    "/v1/fim/completions": OPTIONS | {"prompt", "suffix"},
    "/v1/embeddings": frozenset({"model", "input", "metadata", "output_dimension", "output_dtype", "encoding_format"}),
}
"""Path → the members of its requests. Any other is refused."""
OF_MESSAGES = {
    "system": {"role", "content"},
    "user": {"role", "content"},
    "assistant": {"role", "content", "tool_calls", "prefix"},
    "tool": {"role", "content", "tool_call_id", "name"},
}
TYPES: dict[str, tuple[type, str]] = {
    "model": (str, "string"),
    "prompt": (str, "string"),
    "suffix": (str, "string"),
    "messages": (list, "list"),
    "tools": (list, "list"),
    "stream": (bool, "bool"),
    "safe_prompt": (bool, "bool"),
    "max_tokens": (int, "int"),
    "random_seed": (int, "int"),
}
REQUIRED = {
    "/v1/chat/completions": ("model", "messages"),
    "/v1/fim/completions": ("model", "prompt"),
    "/v1/embeddings": ("model", "input"),
}
MODELS = (
    "mistral-large-latest", "mistral-medium-latest", "mistral-small-latest", "magistral-medium-latest",
    "codestral-latest", "devstral-small-latest", "ministral-8b-latest", "mistral-embed", "codestral-embed",
)  # fmt: skip
CALL_ID = re.compile(r"[a-zA-Z0-9]{9}")
DIMENSIONS = 1024
THOUGHT = "The user greets me. I greet back."
FILLING = "a + b"
STREAM_ERROR = sse(
    {
        "object": "error",
        "message": "Service unavailable (simulated).",
        "type": "internal_server_error",
        "param": None,
        "code": "1000",
    }
)
ERRORS = {404: ("invalid_model", "1500"), 429: ("rate_limited", "1300"), 503: ("unreachable_backend", "1100")}


def respond(request: SimulatedRequest, behaviour: Behaviour, state: State) -> SimulatedResponse:
    """Return the response to a request. Never raises BadRequest: the error response needs its field and code."""
    try:
        given = _response(request, behaviour, state)
    except BadRequest as error:
        given = _failure(error)
    given.headers += [("mistral-correlation-id", state.new_id("", 32))]
    given.headers += [("x-ratelimit-limit-req-minute", "300"), ("x-ratelimit-remaining-req-minute", "299")]
    return given


def failure(status: int, message: str, behaviour: Behaviour) -> SimulatedResponse:  # noqa: ARG001  # others need it
    """Return an error in Mistral's shape."""
    return _failure(BadRequest(message, status=status))


def check_credentials(request: SimulatedRequest, keys: Collection[str] | None) -> str | None:
    """Check the bearer token. Return None if it is right, else the sentence of the provider."""
    scheme, _, key = request.header("authorization").partition(" ")
    good = scheme == "Bearer" and key and (keys is None or key in keys)
    return None if good else "Unauthorized"


def _failure(error: BadRequest) -> SimulatedResponse:
    """Return an error: a word for a wrong key, a list for a body that does not fit, and an object for the others."""
    if error.status in (401, 405):
        return json_response({"detail": error.message}, error.status)
    if error.status == 422:
        place = ["body", *(int(part) if part.isdecimal() else part for part in (error.field or "").split(".") if part)]
        detail = {"type": error.code or "value_error", "loc": place, "msg": error.message, "input": None}
        return json_response({"detail": [detail]}, 422)
    usual = "internal_server_error" if error.status >= 500 else "invalid_request_error"
    kind, code = ERRORS.get(error.status, (usual, "3000"))
    written = {"object": "error", "message": error.message, "type": kind, "param": error.field}
    return json_response(written | {"code": error.code or code}, error.status)


def _response(request: SimulatedRequest, behaviour: Behaviour, state: State) -> SimulatedResponse:
    path = request.path
    if path == "/v1/models" or path.startswith("/v1/models/"):
        return _models(path.removeprefix("/v1/models").removeprefix("/"))
    if path not in MEMBERS:
        raise BadRequest("no Route matched with those values", status=404)
    if request.method != "POST":
        raise BadRequest("Method Not Allowed", status=405)
    body = request.json()
    _check_members(path, body)
    if path == "/v1/embeddings":
        return _embeddings(body, behaviour, state)
    if path == "/v1/chat/completions":
        _check_messages(body)
    return _completion(path, body, behaviour, state)


def _check_members(path: str, body: Json) -> None:
    """Check that a request has the members that it needs, and no others. Raises BadRequest."""
    for name in REQUIRED[path]:
        if name not in body:
            raise BadRequest("Field required", status=422, code="missing", field=name)
    for name, value in body.items():
        if name not in MEMBERS[path]:
            raise BadRequest("Extra inputs are not permitted", status=422, code="extra_forbidden", field=name)
        kind, word = TYPES.get(name, (type(value), ""))
        if value is not None and type(value) is not kind:
            message = f"Input should be a valid {word}"
            raise BadRequest(message, status=422, code=f"{word}_type", field=name)


@rules
def _check_messages(body: Json) -> None:
    """Check the messages of a chat: their members, the ids of calls, and who speaks last. Raises BadRequest."""
    messages, waiting = objects(body["messages"]), 0
    for index, message in enumerate(messages):
        role = message.get("role")
        if role not in OF_MESSAGES:
            place = f"messages.{index}"
            raise BadRequest("Input tag 'role' is unknown", status=422, code="union_tag_invalid", field=place)
        for name in message.keys() - OF_MESSAGES[role]:
            place = f"messages.{index}.{role}.{name}"
            raise BadRequest("Extra inputs are not permitted", status=422, code="extra_forbidden", field=place)
        calls = objects(message.get("tool_calls"))
        for name in [call["id"] for call in calls] + ([message["tool_call_id"]] if role == "tool" else []):
            if not CALL_ID.fullmatch(name):
                raise BadRequest(f"Tool call id was {name} but must be a-z, A-Z, 0-9, with a length of 9.", code="3280")
        waiting += len(calls) - (role == "tool")
    last = messages[-1]
    if waiting:
        raise BadRequest("Not the same number of function calls and responses", code="3230")
    if last["role"] not in ("user", "tool") and not last.get("prefix"):
        raise BadRequest(
            "Expected last role User or Tool (or Assistant with prefix True) for serving but got assistant", code="3230"
        )


def _completion(path: str, body: Json, behaviour: Behaviour, state: State) -> SimulatedResponse:
    """Return a chat completion, or what stands between prompt and suffix, whole or streamed."""
    plan = _planned(body) if path == "/v1/chat/completions" else session.Plan(FILLING)
    behaviour, cut = text.limited(behaviour, body.get("max_tokens"))
    calls = [
        {"id": state.new_id("", 9), "type": "function", "index": index, "function": _function(name, given)}
        for index, (name, given) in enumerate(plan.calls)
    ]
    finish = "tool_calls" if calls else "length" if cut else "stop"
    facts = {"id": state.new_id("", 32), "created": CREATED, "model": body["model"]}
    usage = _usage(text.counts(behaviour, body))
    prefix = _prefix(body)
    if body.get("stream"):
        events = _events(facts, behaviour, plan, calls=calls, prefix=prefix, finish=finish, usage=usage)
        return sse_response(events, STREAM_ERROR)
    said = prefix + (text.whole(behaviour, plan.text) if plan.text is not None else "")
    content: Any = [_thinking(plan.thought), {"type": "text", "text": said}] if plan.thought else said
    message = {"role": "assistant", "content": content, "tool_calls": calls or None}
    choices = [{"index": index, "message": message, "finish_reason": finish} for index in range(body.get("n") or 1)]
    return json_response({**facts, "object": "chat.completion", "choices": choices, "usage": usage})


def _events(
    facts: Json,
    behaviour: Behaviour,
    plan: session.Plan,
    *,
    calls: list[Json],
    prefix: str,
    finish: str,
    usage: Json,
) -> Iterator[bytes]:
    def chunk(delta: Json, reason: str | None = None, **more: Json) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return sse({**facts, "object": "chat.completion.chunk", "choices": [choice], **more})

    yield chunk({"role": "assistant", "content": prefix})
    for word in (plan.thought or "").split(" ") if plan.thought else ():
        yield chunk({"content": [_thinking(f"{word} ")]})
    if plan.text is not None:
        before, after = chunk({"content": "@"}).split(b'"@"', 1)
        for word in text.words(behaviour, plan.text):
            yield before + encode(word) + after
    yield chunk({"content": "", **({"tool_calls": calls} if calls else {})}, finish, usage=usage)
    if not behaviour.no_done:
        yield b"data: [DONE]\n\n"


def _planned(body: Json) -> session.Plan:
    """Return what the model says. A model that reasons has a thought before it."""
    offered = [
        (child(tool, "function", "name"), child(tool, "function", "parameters")) for tool in objects(body.get("tools"))
    ]
    form = child(body, "response_format", "type") or "text"
    plan = session.planned(body, offered, structured=form != "text")
    reasons = body["model"].startswith("magistral") or body.get("reasoning_effort") not in (None, "none")
    return session.Plan(plan.text, plan.calls, (plan.thought or THOUGHT) if reasons else None)


def _prefix(body: Json) -> str:
    last = objects(body.get("messages"))[-1:]
    return str(last[0]["content"]) if last and last[0].get("prefix") else ""


def _thinking(thought: str) -> Json:
    return {"type": "thinking", "thinking": [{"type": "text", "text": thought}]}


def _function(name: str, given: Any) -> Json:
    return {"name": name, "arguments": encode(given).decode()}


def _usage(counts: TokenCounts) -> Json:
    usage: Json = {
        "prompt_tokens": counts.input,
        "completion_tokens": counts.output,
        "total_tokens": counts.total,
        "service_tier": "standard",
    }
    if counts.cached:
        usage["prompt_tokens_details"] = {"cached_tokens": counts.cached}
    if counts.reasoning:
        usage["completion_tokens_details"] = {"reasoning_tokens": counts.reasoning}
    return usage


def _embeddings(body: Json, behaviour: Behaviour, state: State) -> SimulatedResponse:
    given = body["input"] if isinstance(body["input"], list) else [body["input"]]
    size = body.get("output_dimension") or DIMENSIONS
    vectors = [vector(encode(item), size) for item in given]
    written: list[Any] = list(vectors)
    if body.get("encoding_format") == "base64":
        written = [base64.b64encode(array("f", numbers).tobytes()).decode() for numbers in vectors]
    data = [{"object": "embedding", "index": index, "embedding": found} for index, found in enumerate(written)]
    tokens = text.counts(behaviour, {"input": given}).input
    usage = {"prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens}
    facts = {"id": state.new_id("", 32), "object": "list", "model": body["model"]}
    return json_response({**facts, "data": data, "usage": usage})


def _models(name: str) -> SimulatedResponse:
    if not name:
        return json_response({"object": "list", "data": [_model(known) for known in MODELS]})
    if name not in MODELS and "sim-" not in name:
        raise BadRequest(f"Invalid model: {name}", status=404)
    return json_response(_model(name))


def _model(name: str) -> Json:
    able = {"completion_chat": "embed" not in name, "completion_fim": name == "codestral-latest"}
    facts = {"id": name, "object": "model", "created": CREATED, "owned_by": "mistralai", "type": "base"}
    return {**facts, "name": name, "capabilities": able, "max_context_length": 131072, "aliases": []}
