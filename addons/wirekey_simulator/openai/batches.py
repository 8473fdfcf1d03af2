"""`/v1/batches`: `validating` when created, `completed` at the next request.

A request whose `custom_id` begins with `expired` is not processed, and the batch then ends as `expired`. Of a batch
that is cancelled, the first request has been processed. With the metadata `usage: none`, the batch does not say what
its requests have used, as those of older versions of the API.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from wirekey_simulator.exchange import BadRequest, Json, SimulatedResponse, encode, json_response
from wirekey_simulator.openai import chat, completions, embeddings, files, moderations, responses
from wirekey_simulator.openai.parameters import required
from wirekey_simulator.openai.storage import found
from wirekey_simulator.state import CREATED

if TYPE_CHECKING:
    from wirekey_simulator.openai.call import OpenAICall
    from wirekey_simulator.state import State

SHELF = "openai.batches"
BEHAVIOURS = "openai.batches.behaviours"
A_DAY = 86400
PROCESSED = {
    "/v1/chat/completions": chat.create,
    "/v1/responses": responses.create,
    "/v1/embeddings": embeddings.create,
    "/v1/completions": completions.create,
    "/v1/moderations": moderations.create,
}
"""Endpoint → the function that processes a request."""
OK = 200


def create(call: OpenAICall) -> SimulatedResponse:
    """Create a batch."""
    body = call.request.json()
    endpoint = required(body, "endpoint", str)
    if endpoint not in PROCESSED:
        raise BadRequest(
            f"Invalid value: '{endpoint}'. Supported values are: {', '.join(PROCESSED)}.", field="endpoint"
        )
    file = required(body, "input_file_id", str)
    found(call.state, files.SHELF, file, "File")
    batch: Json = {
        "id": call.state.new_id("batch_"),
        "object": "batch",
        "endpoint": endpoint,
        "errors": None,
        "input_file_id": file,
        "completion_window": required(body, "completion_window", str),
        "status": "validating",
        "output_file_id": None,
        "error_file_id": None,
        "created_at": CREATED,
        "expires_at": CREATED + A_DAY,
        "request_counts": {"total": 0, "completed": 0, "failed": 0},
        "metadata": body.get("metadata"),
    }
    call.state.store(SHELF, batch["id"], batch)
    call.state.store(BEHAVIOURS, batch["id"], call.behaviour)
    return json_response(batch)


def get(call: OpenAICall) -> SimulatedResponse:
    """Return a batch, and complete it."""
    batch: Json = found(call.state, SHELF, call.key, "Batch")
    if batch["status"] == "validating":
        lines = _lines(call.state, batch["input_file_id"])
        _end(batch, "expired" if any(map(_expires, lines)) else "completed", lines, call)
    return json_response(batch)


def cancel(call: OpenAICall) -> SimulatedResponse:
    """Cancel a batch."""
    batch: Json = found(call.state, SHELF, call.key, "Batch")
    if batch["status"] != "validating":
        raise BadRequest(f"Cannot cancel a batch with status '{batch['status']}'.", status=409)
    _end(batch, "cancelled", _lines(call.state, batch["input_file_id"])[:1], call)
    return json_response(batch)


def _end(batch: Json, status: str, lines: list[Any], call: OpenAICall) -> None:
    """Process the requests of a batch, and write their results."""
    behaviour = call.state.shelf(BEHAVIOURS).get(batch["id"], call.behaviour)
    results = [_result(line, batch["endpoint"], replace(call, behaviour=behaviour)) for line in lines]
    done = [result for result in results if result["response"] and result["response"]["status_code"] == OK]
    failed = [result for result in results if result not in done]
    batch |= {
        "status": status,
        "output_file_id": _written(call.state, "output.jsonl", done),
        "error_file_id": _written(call.state, "errors.jsonl", failed),
        f"{status}_at": CREATED,
        "request_counts": {"total": len(results), "completed": len(done), "failed": len(failed)},
    }
    bodies = [result["response"]["body"] for result in done]
    if bodies and (batch["metadata"] or {}).get("usage") != "none":
        batch |= {"model": bodies[0].get("model"), "usage": _usage([body.get("usage") or {} for body in bodies])}


def _written(state: State, name: str, results: list[Json]) -> str | None:
    content = b"".join(encode(result) + b"\n" for result in results)
    return str(files.store_file(state, name, "batch_output", content)["id"]) if results else None


def _usage(each: list[Json]) -> Json:
    """Return the usage of all requests of a batch, in the names of the Responses API."""
    read = sum(int(usage.get("input_tokens") or usage.get("prompt_tokens") or 0) for usage in each)
    written = sum(int(usage.get("output_tokens") or usage.get("completion_tokens") or 0) for usage in each)
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": read + written,
    }


def _lines(state: State, file: str) -> list[Any]:
    content: bytes = state.shelf(files.CONTENTS).get(file, b"")
    try:
        return [msgspec.json.decode(line) for line in content.splitlines() if line.strip()]
    except msgspec.DecodeError:
        return []


def _expires(line: Any) -> bool:
    return isinstance(line, dict) and str(line.get("custom_id")).startswith("expired")


def _result(line: Any, endpoint: str, call: OpenAICall) -> Json:
    """Return the result of one request of the file."""
    name = line.get("custom_id") if isinstance(line, dict) else None
    result: Json = {"id": call.state.new_id("batch_req_"), "custom_id": name, "response": None, "error": None}
    if _expires(line):
        text = "This request could not be executed before the completion window expired."
        return result | {"error": {"code": "batch_expired", "message": text}}
    body = line.get("body") if isinstance(line, dict) else None
    request = replace(call.request, method="POST", target=endpoint, body=encode(body), size=len(encode(body)))
    try:
        response = PROCESSED[endpoint](replace(call, request=request))
        status, content = response.status, msgspec.json.decode(response.body)
    except BadRequest as error:
        status, content = error.status, {"error": {"message": error.message, "type": "invalid_request_error"}}
    return result | {"response": {"status_code": status, "request_id": call.state.new_id("req_"), "body": content}}
