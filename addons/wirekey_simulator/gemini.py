"""The responses of the Gemini API: https://ai.google.dev/api."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wirekey_simulator import gemini_batches, gemini_live, openai, text
from wirekey_simulator.exchange import BadRequest, Json, SimulatedRequest, SimulatedResponse, json_response
from wirekey_simulator.gemini_files import files, upload
from wirekey_simulator.gemini_generate import generate, stream_generate
from wirekey_simulator.state import CREATED_TEXT
from wirekey_simulator.vectors import vector

if TYPE_CHECKING:
    from collections.abc import Collection

    from wirekey_simulator.behaviour import Behaviour
    from wirekey_simulator.state import State

STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
WRONG_CREDENTIAL_STATUS = 400
WRONG_KEY = "API key not valid. Please pass a valid API key."
NO_KEY = (
    "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other "
    "form of API consumer identity to call this API."
)
MODELS = {
    "gemini-2.5-pro": "Gemini 2.5 Pro",
    "gemini-2.5-flash": "Gemini 2.5 Flash",
    "gemini-embedding-001": "Gemini Embedding 001",
}
ACTION = re.compile(r"(models|tunedModels|dynamic)/([^/:]+):([A-Za-z]+)")
OPENAI = "/v1beta/openai/"
EMBEDDING_DIMENSIONS = 768
CACHES = "gemini.caches"


def check_credentials(request: SimulatedRequest, keys: Collection[str] | None) -> str | None:
    """Check the key in x-goog-api-key or ?key=, or on the OpenAI path the bearer token.

    Return the provider's sentence if it is wrong, else None. Raises BadRequest(403) if it is missing. The URL of an
    open upload needs no key.
    """
    if request.path.startswith(OPENAI):
        key = request.header("authorization").partition(" ")[2]
    else:
        key = request.header("x-goog-api-key") or request.parameter("key")
    if key:
        return None if keys is None or key in keys else WRONG_KEY
    if request.path.startswith("/upload/") and request.parameter("upload_id"):
        return None
    raise BadRequest(NO_KEY, status=403)


def failure(status: int, message: str, behaviour: Behaviour) -> SimulatedResponse:
    """Return an error response in Google's shape."""
    kind = STATUSES.get(status, "INTERNAL" if status >= 500 else "INVALID_ARGUMENT")
    error: Json = {"code": status, "message": message, "status": kind}
    details: list[Json] = []
    if message.startswith(("API key not valid", "Incorrect API key")):
        info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
        details.append(
            info | {"domain": "googleapis.com", "metadata": {"service": "generativelanguage.googleapis.com"}}
        )
    if behaviour.retry_after is not None:
        delay = f"{behaviour.retry_after:g}s"
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay})
    if details:
        error["details"] = details
    return json_response({"error": error}, status)


def respond(request: SimulatedRequest, behaviour: Behaviour, state: State) -> SimulatedResponse:
    """Return the response to a request. Raises BadRequest if the provider would refuse it."""
    if request.path.startswith("/upload/"):
        return upload(request, state)
    if gemini_live.PATH.fullmatch(request.path):
        return gemini_live.connect(request, behaviour, state)
    if request.path.startswith(OPENAI):
        return openai.respond_at("/v1/" + request.path.removeprefix(OPENAI), request, behaviour, state)
    version, _, resource = request.path.removeprefix("/").partition("/")
    if version not in ("v1", "v1beta", "v1alpha"):
        raise not_found(request)
    if match := ACTION.fullmatch(resource):
        return _act(match[1], match[2], match[3], request, behaviour, state)
    match request.method, *resource.split("/"):
        case "GET", "models":
            return json_response({"models": [_model(name) for name in MODELS]})
        case "GET", "models", name:
            _check_known(name)
            return json_response(_model(name))
        case method, "cachedContents", *rest:
            return _caches(method, rest, request, behaviour, state)
        case method, "files", *rest:
            return files(method, rest, request, state)
        case method, "batches", *rest:
            return gemini_batches.batches(method, rest, request, state)
    raise not_found(request)


def not_found(request: SimulatedRequest) -> BadRequest:
    """Return the error for a path that does not exist."""
    return BadRequest(f"The requested URL {request.path} was not found on this server.", status=404)


def _act(  # noqa: PLR0917  # in the order of a path
    collection: str, model: str, action: str, request: SimulatedRequest, behaviour: Behaviour, state: State
) -> SimulatedResponse:
    is_dynamic = collection == "dynamic"
    if request.method != "POST" or (is_dynamic and action not in ("generateContent", "streamGenerateContent")):
        raise not_found(request)
    if not is_dynamic:
        _check_known(model)
    match action:
        case "generateContent":
            return generate(model, request, behaviour, state)
        case "streamGenerateContent":
            return stream_generate(model, request, behaviour, state)
        case "batchGenerateContent":
            return gemini_batches.create(model, request, behaviour, state)
        case "countTokens":
            return _count_tokens(request, behaviour)
        case "embedContent":
            return json_response({"embedding": _embedding(request.json())})
        case "batchEmbedContents":
            return _batch_embed(model, request)
    raise not_found(request)


def _check_known(model: str) -> None:
    if not model.startswith(("gemini", "gemma", "text-embedding", "embedding", "learnlm")) and "sim-" not in model:
        raise BadRequest(
            f"models/{model} is not found for API version v1beta, or is not supported for generateContent. Call "
            "ListModels to see the list of available models and their supported methods.",
            status=404,
        )


def _model(name: str) -> Json:
    embeds = "embedding" in name
    return {
        "name": f"models/{name}",
        "version": "001",
        "displayName": MODELS.get(name, name),
        "description": "A model of the simulator.",
        "inputTokenLimit": 1_048_576,
        "outputTokenLimit": 65_536,
        "supportedGenerationMethods": ["embedContent"] if embeds else ["generateContent", "countTokens"],
        "temperature": 1,
        "topP": 0.95,
        "topK": 64,
    }


def _count_tokens(request: SimulatedRequest, behaviour: Behaviour) -> SimulatedResponse:
    body = request.json()
    inner = body.get("generateContentRequest", body)
    if not isinstance(inner, dict) or not inner.get("contents"):
        raise BadRequest("* CountTokensRequest.contents: contents is not specified")
    counts = text.counts(behaviour, inner)
    found: Json = {"totalTokens": counts.input}
    if counts.cached:
        found["cachedContentTokenCount"] = counts.cached
    return json_response(found | {"promptTokensDetails": [{"modality": "TEXT", "tokenCount": counts.input}]})


def _batch_embed(model: str, request: SimulatedRequest) -> SimulatedResponse:
    requests = request.json().get("requests")
    if not isinstance(requests, list) or not requests:
        raise BadRequest("* BatchEmbedContentsRequest.requests: requests is not specified")
    for index, one in enumerate(requests):
        if not isinstance(one, dict) or one.get("model") != f"models/{model}":
            raise BadRequest(f"* BatchEmbedContentsRequest.requests[{index}].model: model must match that of the path")
    return json_response({"embeddings": [_embedding(one) for one in requests]})


def _embedding(body: Json) -> Json:
    if not isinstance(body.get("content"), dict):
        raise BadRequest("* EmbedContentRequest.content: content is not specified")
    return {"values": vector(body.get("outputDimensionality") or EMBEDDING_DIMENSIONS)}


def _caches(
    method: str, rest: list[str], request: SimulatedRequest, behaviour: Behaviour, state: State
) -> SimulatedResponse:
    shelf = state.shelf(CACHES)
    if rest and rest[0] not in shelf:
        raise BadRequest("CachedContent not found (or permission denied)", status=403)
    match method, *rest:
        case ["POST"]:
            return json_response(_new_cache(request, behaviour, state))
        case ["GET"]:
            return json_response({"cachedContents": list(shelf.values())} if shelf else {})
        case ["GET", name]:
            return json_response(shelf[name])
        case ["PATCH", name]:
            changes = request.json()
            shelf[name] |= {key: changes[key] for key in ("ttl", "expireTime") if key in changes}
            return json_response(shelf[name])
        case ["DELETE", name]:
            del shelf[name]
            return json_response({})
    raise not_found(request)


def _new_cache(request: SimulatedRequest, behaviour: Behaviour, state: State) -> Json:
    body = request.json()
    if not isinstance(body.get("model"), str):
        raise BadRequest("* CreateCachedContentRequest.cached_content.model: model is required")
    name = state.new_id("sim")
    made = {
        "name": f"cachedContents/{name}",
        "model": body["model"],
        "displayName": body.get("displayName", ""),
        "createTime": CREATED_TEXT,
        "updateTime": CREATED_TEXT,
        "expireTime": "2026-01-01T01:00:00Z",
        "usageMetadata": {"totalTokenCount": text.counts(behaviour, body).input},
    }
    state.store(CACHES, name, made)
    return made
