"""`/v1/batches`: `validating` when created, `completed` at the next request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from wirekey_simulator.exchange import BadRequest, Json, SimulatedResponse, encode, json_response
from wirekey_simulator.openai import files
from wirekey_simulator.openai.parameters import required
from wirekey_simulator.openai.storage import found
from wirekey_simulator.state import CREATED

if TYPE_CHECKING:
    from wirekey_simulator.openai.call import OpenAICall
    from wirekey_simulator.state import State

SHELF = "openai.batches"
A_DAY = 86400
ENDPOINTS = ("/v1/chat/completions", "/v1/responses", "/v1/embeddings", "/v1/completions", "/v1/moderations")


def create(call: OpenAICall) -> SimulatedResponse:
    """Create a batch."""
    body = call.request.json()
    endpoint = required(body, "endpoint", str)
    if endpoint not in ENDPOINTS:
        raise BadRequest(
            f"Invalid value: '{endpoint}'. Supported values are: {', '.join(ENDPOINTS)}.", field="endpoint"
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
    return json_response(batch)


def get(call: OpenAICall) -> SimulatedResponse:
    """Return a batch, and complete it."""
    batch: Json = found(call.state, SHELF, call.key, "Batch")
    if batch["status"] == "validating":
        results = [_result(line, call.state) for line in _lines(call.state, batch["input_file_id"])]
        content = b"".join(encode(result) + b"\n" for result in results)
        batch |= {
            "status": "completed",
            "output_file_id": files.store_file(call.state, "output.jsonl", "batch_output", content)["id"],
            "completed_at": CREATED,
            "request_counts": {"total": len(results), "completed": len(results), "failed": 0},
        }
    return json_response(batch)


def cancel(call: OpenAICall) -> SimulatedResponse:
    """Cancel a batch."""
    batch: Json = found(call.state, SHELF, call.key, "Batch")
    if batch["status"] != "validating":
        raise BadRequest(f"Cannot cancel a batch with status '{batch['status']}'.", status=409)
    batch |= {"status": "cancelled", "cancelled_at": CREATED}
    return json_response(batch)


def _lines(state: State, file: str) -> list[Any]:
    content: bytes = state.shelf(files.CONTENTS).get(file, b"")
    try:
        return [msgspec.json.decode(line) for line in content.splitlines() if line.strip()]
    except msgspec.DecodeError:
        return []


def _result(line: Any, state: State) -> Json:
    """Return the result of one request of the file, with a made-up body."""
    name = line.get("custom_id") if isinstance(line, dict) else None
    response = {"status_code": 200, "request_id": state.new_id("req_"), "body": {"object": "simulated"}}
    return {"id": state.new_id("batch_req_"), "custom_id": name, "response": response, "error": None}
